//! Writers that did not see each other: nothing is hidden, and a write with the joint context settles it.

use crate::harness::{Said, TestCluster};
use serde_json::Value;

/// A cluster and one key of it, on the command line.
struct OneKey<'a> {
    cluster: &'a TestCluster,
    key: &'a str,
}

impl OneKey<'_> {
    /// Puts, and gives the context back. On all replicas, so that which one mints next makes no difference.
    fn put(&self, value: &str, more: &[&str]) -> String {
        let words = [&["put", self.key, value, "--consistency", "all", "--json"], more].concat();
        let json = self.cluster.anser(&words).exits(0).json();
        assert_eq!(json["receipt"]["durable"], 3, "{json}");
        json["context"].as_str().unwrap().to_owned()
    }

    fn get(&self) -> Said {
        self.cluster.anser(&["get", self.key, "--json"])
    }

    /// The values it has, sorted, and their context; the exit status is checked against how many.
    fn values(&self) -> (Vec<String>, String) {
        let said = self.get();
        let json = said.json();
        let versions = json["versions"].as_array().unwrap();
        let code = match versions.len() {
            0 => 1,
            1 => 0,
            _ => 5,
        };
        said.exits(code);
        let text = |version: &Value| version["value"].as_str().unwrap().to_owned();
        let mut values: Vec<String> = versions.iter().map(text).collect();
        values.sort();
        (values, json["context"].as_str().unwrap().to_owned())
    }
}

#[test]
fn writers_that_did_not_see_each_other_leave_siblings() {
    let cluster = TestCluster::start();
    two_writers_with_the_same_context(&OneKey { cluster: &cluster, key: "cart" });
    a_stale_context(&OneKey { cluster: &cluster, key: "stale" });
    without_context(&OneKey { cluster: &cluster, key: "blind" });
    deletes(&OneKey { cluster: &cluster, key: "gone" });
    documents(&cluster);
}

fn two_writers_with_the_same_context(key: &OneKey<'_>) {
    let seen = key.put("bread", &[]);
    key.put("bread, milk", &["--context", &seen]);
    key.put("bread, eggs", &["--context", &seen]);
    let (values, both) = key.values();
    assert_eq!(values, ["bread, eggs", "bread, milk"]);

    // Without --json the versions are listed on stderr, and with --all printed.
    let listed = key.cluster.anser(&["get", key.key]).exits(5);
    assert_eq!(listed.text(), "");
    assert!(listed.err.contains("bread, eggs") && listed.err.contains("bread, milk"), "{}", listed.err);
    let all = key.cluster.anser(&["get", key.key, "--all"]).exits(5).text();
    let mut lines: Vec<&str> = all.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["bread, eggs", "bread, milk"]);

    key.put("bread, milk, eggs", &["--context", &both]);
    assert_eq!(key.values().0, ["bread, milk, eggs"]);
}

fn a_stale_context(key: &OneKey<'_>) {
    let first = key.put("1", &[]);
    let second = key.put("2", &["--context", &first]);
    assert_eq!(key.values().0, ["2"]);
    // Of somebody who saw 1 only: it must not hide 2.
    key.put("3", &["--context", &first]);
    assert_eq!(key.values().0, ["2", "3"]);
    // Of somebody who saw 2 only: it must not hide 3.
    key.put("4", &["--context", &second]);
    let (values, all) = key.values();
    assert_eq!(values, ["3", "4"]);
    key.put("5", &["--context", &all]);
    assert_eq!(key.values().0, ["5"]);
    // Used once more, the joint context settles nothing that came after it.
    key.put("6", &["--context", &all]);
    assert_eq!(key.values().0, ["5", "6"]);
}

fn without_context(key: &OneKey<'_>) {
    key.put("1", &[]);
    key.put("2", &[]);
    assert_eq!(key.values().0, ["2"], "a write without context supersedes");
    key.put("3", &["--context", "none"]);
    assert_eq!(key.values().0, ["2", "3"], "`none` asks for a sibling");
    key.put("4", &[]);
    assert_eq!(key.values().0, ["4"], "and one without context supersedes both");
}

fn deletes(key: &OneKey<'_>) {
    let delete = |more: &[&str]| {
        let words = [&["del", key.key, "--consistency", "all", "--json"], more].concat();
        key.cluster.anser(&words).exits(0).json()
    };
    assert_eq!(delete(&[])["receipt"]["durable"], 3, "deleting what isn't there is done, too");
    let first = key.put("1", &[]);
    delete(&[]);
    assert_eq!(key.values().0, [] as [&str; 0]);
    let missing = key.cluster.anser(&["get", key.key]);
    missing.refused(1, &["does not exist"]);
    // A delete by somebody who saw 1 only does not delete what came after.
    key.put("2", &[]);
    delete(&["--context", &first]);
    assert_eq!(key.values().0, ["2"]);
    delete(&["--context", &key.values().1]);
    assert_eq!(key.values().0, [] as [&str; 0]);
    // The context of a key that isn't there may be written with.
    let context = key.values().1;
    key.put("3", &["--context", &context]);
    assert_eq!(key.values().0, ["3"]);
}

/// What scripts rely on.
fn documents(cluster: &TestCluster) {
    let path = "default/shape/of/it";
    let put = cluster.anser(&["put", path, "hé", "--json"]).exits(0).json();
    let receipt = &put["receipt"];
    assert_eq!((&receipt["replicas"], &receipt["fallbacks"]), (&3.into(), &0.into()), "{put}");
    assert!(receipt["durable"].as_u64().is_some_and(|durable| durable >= 2), "{put}");
    assert_eq!((&receipt["step"], &receipt["consistency"]), (&1.into(), &"quorum".into()), "{put}");
    let get = cluster.anser(&["get", path, "--json"]).exits(0).json();
    assert_eq!(
        (&get["keyspace"], &get["key"], &get["found"]),
        (&"default".into(), &"shape/of/it".into(), &true.into())
    );
    let version = &get["versions"][0];
    assert_eq!((&version["value"], &version["value_base64"]), (&"hé".into(), &"aMOp".into()), "{get}");
    assert_eq!(version["content_type"], "text/plain");
    assert!(version["written_at_ms"].as_u64().is_some_and(|ms| ms > 1_700_000_000_000), "{get}");
    assert!(version["dot"].is_string() && get["context"].is_string(), "{get}");
    assert!(get["receipt"]["answered"].as_u64().is_some_and(|answered| answered >= 2), "{get}");
    let bytes = [0xff, 0x00, b'\n'];
    cluster.anser_with_input(&["put", "bytes", "-"], &bytes).exits(0);
    assert_eq!(cluster.anser(&["get", "bytes"]).exits(0).out, bytes, "bytes are printed as they are");
    let get = cluster.anser(&["get", "bytes", "--json"]).exits(0).json();
    assert_eq!(
        (&get["versions"][0]["value"], &get["versions"][0]["value_base64"]),
        (&Value::Null, &"/wAK".into())
    );
}
