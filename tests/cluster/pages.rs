//! The operator's pages: health, and metrics whose names and labels dashboards rely on.

use crate::harness::{Sample, TestCluster, http, http_get};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Metrics with their closed label sets. Each combination is there from the start.
type Labels = &'static [(&'static str, &'static [&'static str])];

const ACTORS: &[&str] = &["membership", "coordinator", "replica", "compactor"];
const OPS: &[&str] = &["put", "get", "delete"];
const MESSAGES: &[&str] = &[
    "gossip",
    "replicate",
    "replicated",
    "forward_put",
    "forward_put_reply",
    "client",
    "client_reply",
    "admin",
    "admin_reply",
    "refused",
    "feedback",
    "fact",
    "timeout",
];
const REASONS: &[&str] = &[
    "other authority",
    "no certificate",
    "expired certificate",
    "bad certificate",
    "other cluster",
    "not a node",
    "other node than expected",
    "oneself",
    "other protocol",
    "bad hello",
    "too many sessions",
    "handshake failed",
];
const COUNTERS: &[(&str, Labels)] = &[
    ("anser_actor_messages_total", &[("actor", ACTORS), ("message", MESSAGES)]),
    ("anser_actor_restarts_total", &[("actor", ACTORS), ("cause", &["panic", "build", "effects"])]),
    (
        "anser_requests_total",
        &[
            ("op", OPS),
            ("keyspace", &["default", "unknown"]),
            ("outcome", &["ok", "invalid", "refused", "unknown"]),
        ],
    ),
    ("anser_quorum_shortfalls_total", &[("op", OPS)]),
    ("anser_read_repairs_total", &[]),
    ("anser_bloom_total", &[("result", &["maybe", "ruled_out"])]),
    ("anser_cache_total", &[("result", &["miss", "hit"])]),
    ("anser_compaction_bytes_total", &[]),
    (
        "anser_wire_bytes_total",
        &[
            ("direction", &["received", "sent"]),
            ("class", &["datagram", "control", "data", "bulk", "session"]),
        ],
    ),
    ("anser_wire_rejected_total", &[("reason", REASONS)]),
];
const GAUGES: &[(&str, Labels)] = &[
    ("anser_actor_mailbox_depth", &[("actor", ACTORS)]),
    ("anser_actor_up", &[("actor", ACTORS)]),
    ("anser_members", &[("dc", &["dc1"]), ("state", &["alive", "suspect", "dead"])]),
    ("anser_ring_step", &[]),
    ("anser_partitions", &[("state", &["serving", "joining", "starting"])]),
    ("anser_memtable_bytes", &[("shard", &["0"])]),
    ("anser_tree_bytes", &[("shard", &["0"])]),
    ("anser_sstables", &[("shard", &["0"])]),
    ("anser_disk_bytes", &[]),
    ("anser_disk_free_bytes", &[]),
    ("anser_wire_rtt_seconds", &[("peer", &["n2", "n3"])]),
    ("anser_certificate_expiry_seconds", &[]),
];
const HISTOGRAMS: &[(&str, Labels)] = &[
    ("anser_actor_handle_seconds", &[("actor", ACTORS)]),
    ("anser_actor_drain_seconds", &[("actor", ACTORS)]),
    ("anser_request_seconds", &[("op", OPS)]),
    ("anser_siblings", &[]),
    ("anser_commit_seconds", &[]),
    ("anser_commit_batch", &[]),
];
/// More series than this would mean a label that grows without bound.
const SERIES_MAX: usize = 600;

#[test]
fn pages_show_what_dashboards_rely_on() {
    let cluster = TestCluster::start();
    let node = &cluster.nodes[0];
    for page in ["/live", "/ready"] {
        let (status, text) = http_get(node.http, page).unwrap();
        assert_eq!(status, 200, "{page}: {text}");
    }
    assert_eq!(http_get(node.http, "/nowhere").unwrap().0, 404);
    assert_eq!(http(node.http, "DELETE", "/metrics").unwrap().0, 405);
    cluster.wait_whole();
    let page = http_get(node.http, "/metrics").unwrap().1;
    check_page(&page);
    check_sets(&node.samples());
    check_values(&cluster);
    api(&cluster);
    promtool(&http_get(node.http, "/metrics").unwrap().1);
}

/// Every family has its help and type, once and before its samples, and no series is there twice.
fn check_page(page: &str) {
    let mut helped = BTreeSet::new();
    let mut typed: BTreeMap<&str, &str> = BTreeMap::new();
    let mut series = BTreeSet::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(helped.insert(name) && !help.is_empty(), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(typed.insert(name, kind).is_none(), "{line}");
            assert!(helped.contains(name), "{name} has no help");
        } else {
            let (head, _) = line.rsplit_once(' ').unwrap();
            assert!(series.insert(head), "twice: {head}");
            let name = head.split('{').next().unwrap();
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let kind = typed.get(family).or(typed.get(name)).unwrap_or_else(|| panic!("{name} has no type"));
            assert!(name.starts_with("anser_"), "{name}");
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        }
    }
    for (names, kind) in [(COUNTERS, "counter"), (GAUGES, "gauge"), (HISTOGRAMS, "histogram")] {
        for (name, _) in names {
            assert_eq!(typed.get(name), Some(&kind), "{name}");
        }
    }
    assert!(series.len() < SERIES_MAX, "{} series", series.len());
}

/// Every combination of the labels' values.
fn combinations(labels: Labels) -> Vec<Vec<(&'static str, &'static str)>> {
    labels.iter().fold(vec![Vec::new()], |so_far, (label, values)| {
        let with = |row: &Vec<_>| {
            values.iter().map(|value| [row.clone(), vec![(*label, *value)]].concat()).collect()
        };
        so_far.iter().flat_map(|row| -> Vec<Vec<_>> { with(row) }).collect()
    })
}

fn check_sets(samples: &[Sample]) {
    let families = COUNTERS.iter().chain(GAUGES).map(|(name, labels)| (name.to_string(), labels));
    let counts = HISTOGRAMS.iter().map(|(name, labels)| (format!("{name}_count"), labels));
    for (name, labels) in families.chain(counts) {
        let own: Vec<&Sample> = samples.iter().filter(|sample| sample.name == name).collect();
        for wanted in combinations(labels) {
            let found = own.iter().any(|sample| wanted.iter().all(|(label, value)| sample.is(label, value)));
            assert!(found, "{name} has no {wanted:?}: {own:?}");
        }
        for sample in own {
            let known: BTreeSet<&str> = labels.iter().map(|(label, _)| *label).collect();
            let has: BTreeSet<&str> = sample.labels.keys().map(String::as_str).collect();
            assert_eq!(known, has, "{sample:?}");
        }
    }
    for (name, _) in HISTOGRAMS {
        let buckets = samples.iter().filter(|sample| sample.name == format!("{name}_bucket"));
        assert!(buckets.clone().any(|sample| sample.is("le", "+Inf")), "{name} has its last bucket");
        assert!(buckets.count() > 5, "{name} has buckets");
    }
}

/// The numbers follow what happens, and no key or client is in a label.
fn check_values(cluster: &TestCluster) {
    let sum = |name: &str, labels: &[(&str, &str)]| {
        cluster.nodes.iter().map(|node| node.metric(name, labels)).sum::<f64>()
    };
    let puts = [("op", "put"), ("keyspace", "default"), ("outcome", "ok")];
    let (before, invalid) =
        (sum("anser_requests_total", &puts), sum("anser_requests_total", &[("outcome", "invalid")]));
    for i in 0..5 {
        cluster.anser(&["put", &format!("secret-key-{i}"), "v"]).exits(0);
    }
    cluster.anser(&["get", "nowhere/secret-key"]).exits(2);
    assert_eq!(sum("anser_requests_total", &puts), before + 5.0);
    assert!(sum("anser_requests_total", &[("outcome", "invalid")]) > invalid);
    assert!(sum("anser_commit_seconds_count", &[]) > 0.0 && sum("anser_disk_bytes", &[]) > 0.0);
    for node in &cluster.nodes {
        assert_eq!(node.metric("anser_members", &[("state", "alive")]), 3.0);
        assert_eq!(node.metric("anser_ring_step", &[]), 1.0);
        assert_eq!(node.metric("anser_partitions", &[("state", "serving")]), 256.0);
        let up = |actor| node.metric("anser_actor_up", &[("actor", actor)]);
        assert!(up("membership") == 1.0 && up("coordinator") == 1.0 && up("replica") >= 1.0);
        let page = http_get(node.http, "/metrics").unwrap().1;
        assert!(
            !page.contains("secret") && !page.contains("nowhere"),
            "a key or a stranger's word is in a label"
        );
    }
}

fn api(cluster: &TestCluster) {
    let node = &cluster.nodes[0];
    let page = node.page("/api/v1/cluster");
    assert_eq!(
        (&page["cluster"], &page["step"], &page["partitions"]),
        (&"dev".into(), &1.into(), &256.into()),
        "{page}"
    );
    assert_eq!(page["members"].as_array().unwrap().len(), 3, "{page}");
    let actors = node.page("/api/v1/actors");
    for actor in actors.as_array().unwrap() {
        assert!(ACTORS.contains(&actor["actor"].as_str().unwrap()), "{actor}");
        assert_eq!((&actor["state"], &actor["restarts"]), (&"up".into(), &0.into()), "{actor}");
    }
    assert!(actors.as_array().unwrap().len() >= ACTORS.len(), "{actors}");
}

/// As Prometheus itself judges the page, where its tool is installed.
fn promtool(page: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]);
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("promtool is not installed (Debian's package prometheus): its check is left out");
        return;
    }
    let said = crate::harness::run(command, page.as_bytes()).exits(0);
    assert_eq!((said.text().as_str(), said.err.as_str()), ("", ""), "promtool has something to say");
}
