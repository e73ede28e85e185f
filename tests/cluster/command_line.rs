//! Commands that stream, measure and show: `load`, `bench`, `cluster status`, and what all of them have.

use crate::harness::{ANSER, TestCluster, run};
use std::fs;
use std::process::Command;

#[test]
fn commands_stream_measure_and_show() {
    let cluster = TestCluster::start();
    json_lines(&cluster);
    csv(&cluster);
    bench(&cluster);
    status(&cluster);
}

fn get(cluster: &TestCluster, key: &str) -> Vec<u8> {
    cluster.anser(&["get", key]).exits(0).out
}

fn json_lines(cluster: &TestCluster) {
    let lines = "{\"key\":\"text\",\"value\":\"h\\u00e9\"}\n\n{\"key\":\"json\",\"value\":{\"x\" : 1.50}}\n\
                 {\"key\":7,\"value\":null}\n{\"key\":\"bytes\",\"value_base64\":\"/wA=\"}\n";
    let report = cluster.anser_with_input(&["load", "-", "--json"], lines.as_bytes()).exits(0).json();
    assert_eq!((&report["loaded"], &report["failed"]), (&4.into(), &0.into()), "{report}");
    assert!(report["seconds"].is_number(), "{report}");
    assert_eq!(get(cluster, "text"), "hé".as_bytes());
    assert_eq!(get(cluster, "json"), b"{\"x\" : 1.50}", "as it was written");
    assert_eq!(get(cluster, "7"), b"null");
    assert_eq!(get(cluster, "bytes"), [0xff, 0]);

    // What failed is told with its line, the others are stored, and the status says that not all is well.
    let lines = "{\"key\":\"good-1\",\"value\":1}\nnot json\n{\"key\":\"\",\"value\":2}\n{\"key\":\"good-2\",\"value\":3}\n";
    let said = cluster.anser_with_input(&["load", "-", "--json"], lines.as_bytes()).exits(2);
    let report = said.json();
    assert_eq!((&report["loaded"], &report["failed"]), (&2.into(), &2.into()), "{report}");
    assert!(said.err.contains("line 2") && said.err.contains("line 3"), "{}", said.err);
    assert_eq!(get(cluster, "good-2"), b"3");

    // Taken up where it ended.
    let file = cluster.scratch().join("rows.jsonl");
    let rows: Vec<String> = (1..=300).map(|i| format!("{{\"id\":\"row-{i}\",\"n\":{i}}}")).collect();
    fs::write(&file, rows.join("\n")).unwrap();
    let words = ["load", file.to_str().unwrap(), "--key-field", "id", "--from", "201", "--json"];
    assert_eq!(cluster.anser(&words).exits(0).json()["loaded"], 100);
    cluster.anser(&["get", "row-200"]).exits(1);
    assert_eq!(get(cluster, "row-201"), b"{\"id\":\"row-201\",\"n\":201}");
    // Read back and compared: what is there, what never was, and what has changed since.
    let verify = |from: &str| {
        let file = file.to_str().unwrap();
        cluster.anser(&["load", file, "--key-field", "id", "--verify", "--from", from, "--json"])
    };
    let report = verify("201").exits(0).json();
    assert_eq!((&report["verified"], &report["failed"]), (&100.into(), &0.into()), "{report}");
    let said = verify("200").exits(1);
    assert!(said.err.contains("line 200") && said.err.contains("row-200"), "{}", said.err);
    cluster.anser(&["put", "row-300", "another"]).exits(0);
    let report = verify("201").exits(5).json();
    assert_eq!((&report["verified"], &report["resume_from"]), (&99.into(), &300.into()), "{report}");
    cluster.anser(&["load", "/nowhere.jsonl"]).refused(2, &["/nowhere.jsonl"]);
    cluster.anser(&["load", file.to_str().unwrap(), "--key-field", "id", "--keyspace", "nowhere"]).exits(2);
}

fn csv(cluster: &TestCluster) {
    let file = cluster.scratch().join("rows.csv");
    fs::write(&file, "code,name,note\nAW,Aruba,\"a, quoted\"\nAX,Åland,\n").unwrap();
    let said = cluster.anser(&["load", file.to_str().unwrap(), "--json"]).exits(0);
    assert_eq!(said.json()["loaded"], 2);
    assert_eq!(get(cluster, "AW"), r#"{"code":"AW","name":"Aruba","note":"a, quoted"}"#.as_bytes());
    let by_name = ["load", file.to_str().unwrap(), "--key-field", "name"];
    let said = cluster.anser(&by_name).exits(0);
    assert!(said.text().contains("loaded 2 rows"), "{said:?}");
    assert_eq!(get(cluster, "Åland"), r#"{"code":"AX","name":"Åland","note":""}"#.as_bytes());
}

fn bench(cluster: &TestCluster) {
    for workload in ["put", "get", "a", "b", "c", "d", "f"] {
        let words = [
            "bench",
            "--json",
            "--load",
            "--keys",
            "64",
            "--concurrency",
            "8",
            "--seconds",
            "0.3",
            "--workload",
        ];
        let report = cluster.anser(&[&words[..], &[workload]].concat()).exits(0).json();
        assert!(report["ops"].as_u64().is_some_and(|ops| ops > 0), "{workload}: {report}");
        assert_eq!(report["errors"], 0, "{workload}: {report}");
        assert!(report["verified"].as_u64().is_some_and(|verified| verified > 0), "{workload}: {report}");
        for number in ["refused", "seconds", "ops_per_second"] {
            assert!(report[number].is_number(), "{workload}: {report}");
        }
        for latency in ["p50", "p99", "p999", "max"] {
            assert!(report["latency_us"][latency].as_u64().is_some_and(|us| us > 0), "{workload}: {report}");
        }
        assert!(report["by_op"].as_object().is_some_and(|ops| !ops.is_empty()), "{workload}: {report}");
    }
    let open = [
        "bench",
        "--json",
        "--rate",
        "200",
        "--seconds",
        "0.5",
        "--keys",
        "64",
        "--workload",
        "put",
        "--w",
        "3",
    ];
    let report = cluster.anser(&open).exits(0).json();
    assert!(report["ops"].as_u64().is_some_and(|ops| (50..=110).contains(&ops)), "an open loop: {report}");
}

fn status(cluster: &TestCluster) {
    let json = cluster.anser(&["cluster", "status", "--json"]).exits(0).json();
    assert_eq!(
        (&json["name"], &json["step"], &json["partitions"]),
        (&"dev".into(), &1.into(), &256.into()),
        "{json}"
    );
    let members = json["members"].as_array().unwrap();
    for (member, node) in members.iter().zip(&cluster.nodes) {
        assert_eq!(member["name"], node.name.as_str(), "{json}");
        assert_eq!((&member["state"], &member["dc"]), (&"alive".into(), &"dc1".into()), "{json}");
        assert_eq!(member["address"], node.quic.to_string(), "{json}");
        assert_eq!(member["replicas"], 256, "{json}");
    }
    assert_eq!(members.len(), 3);
    let text = cluster.anser(&["cluster", "status"]).exits(0).text();
    assert_eq!(text.lines().count(), 5, "{text}");
}

#[test]
fn every_command_explains_itself() {
    let said = |words: &[&str]| {
        let mut command = Command::new(ANSER);
        command.args(words).env_remove("ANSER_PROFILE");
        run(command, b"")
    };
    let commands = [
        "put",
        "get",
        "del",
        "load",
        "bench",
        "dev",
        "demo",
        "node",
        "init",
        "certs ca",
        "certs node",
        "certs client",
        "cluster status",
        "store check",
        "store stat",
        "completions",
    ];
    for command in commands {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = said(&words).exits(0).text();
        assert!(help.contains("Usage: anser") && help.contains("Example"), "{command}: {help}");
    }
    let version = said(&["--version"]).exits(0).text();
    assert!(["anser", "commit", "protocol", "format"].iter().all(|word| version.contains(word)), "{version}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(said(&["completions", shell]).exits(0).text().contains("anser"), "{shell}");
    }
}
