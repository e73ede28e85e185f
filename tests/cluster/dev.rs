//! `anser dev`: folders, ports and files as promised, an orderly end, no orphans, and data that outlives it.

use crate::harness::{
    ANSER, SOON, STOP_WITHIN, Setup, Signal, TestCluster, free_port, is_alive, run, signal, wait_for,
};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A crashed node is back within a second; its start, on a busy machine, takes some more.
const BACK_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn a_cluster_is_laid_out_as_promised_and_ends_in_order() {
    let mut cluster = TestCluster::start();
    layout(&cluster, 3);
    cluster.anser(&["put", "k", "kept", "--consistency", "all"]).exits(0);

    let second = run(cluster.dev_command(), b"");
    second.refused(2, &["another `anser dev` runs"]);
    let node = &cluster.nodes[1];
    let before = node.kill();
    wait_for("it is started again", BACK_WITHIN, || node.pid() != before && is_alive(node.pid()));
    cluster.wait_whole();

    let pids: Vec<u32> = cluster.nodes.iter().map(|node| node.pid()).collect();
    let (status, took) = cluster.stop();
    assert!(status.success() && took < STOP_WITHIN, "{status} after {took:?}");
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "its nodes have ended with it");

    // On other ports, with the same data.
    cluster.port = free_port(16);
    cluster.run_dev();
    layout(&cluster, 3);
    cluster.wait_whole();
    assert_eq!(cluster.anser(&["get", "k", "--consistency", "all"]).exits(0).out, b"kept");
    // Another shape is refused; a new beginning is not.
    cluster.stop();
    let mut other = cluster.dev_command();
    other.args(["--nodes", "4"]);
    run(other, b"").refused(2, &["--fresh"]);
    table_for_people(&cluster);
}

/// What the contract says of folders, ports and files.
fn layout(cluster: &TestCluster, nodes: u16) {
    assert_eq!(cluster.nodes.len(), usize::from(nodes), "{}", cluster.table);
    for (node, i) in cluster.nodes.iter().zip(0..) {
        let port = cluster.port + 2 * i;
        assert_eq!((node.quic.port(), node.http.port()), (port, port + 1), "{}", node.name);
        let row = &cluster.table["nodes"][usize::from(i)];
        assert_eq!(row["pid"], node.pid(), "{row}");
        assert!(is_alive(node.pid()), "{row}");
        for file in ["node.toml", "pid", "log", "data"] {
            assert!(node.folder.join(file).exists(), "{} has {file}", node.name);
        }
    }
    let mut names: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    let sorted = names.clone();
    names.sort_unstable();
    assert_eq!(names, sorted, "folders sort in the order of ports");
    assert!(cluster.profile_path().exists());
}

/// Without --json: a table, what to try next, and `ready` on a line of its own. With --fresh, all is gone.
fn table_for_people(cluster: &TestCluster) {
    let mut command = Command::new(ANSER);
    command.args(["dev", "--fresh", "--port", &cluster.port.to_string(), "--dir"]).arg(&cluster.dir);
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = piped.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let seen: Vec<String> = lines.by_ref().take_while(|line| line != "ready").collect();
    let text = seen.join("\n");
    for node in &cluster.nodes {
        let words =
            [&node.name, "dc1", &node.pid().to_string(), &node.quic.to_string(), &node.http.to_string()];
        assert!(seen.iter().any(|line| words.iter().all(|word| line.contains(word))), "{words:?}: {text}");
    }
    assert!(text.contains("anser get") && text.contains("anser put"), "{text}");
    cluster.anser(&["get", "k"]).refused(1, &["does not exist"]);
    signal(child.id(), Signal::INT);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_killed_dev_leaves_no_orphans() {
    let mut cluster = TestCluster::start();
    cluster.anser(&["put", "k", "kept"]).exits(0);
    let pids: Vec<u32> = cluster.nodes.iter().map(|node| node.pid()).collect();
    cluster.kill_dev();
    // Nothing that it left is in the way of the next one, not even nodes that have not ended yet.
    cluster.run_dev();
    wait_for("its nodes have ended", SOON, || !pids.iter().any(|pid| is_alive(*pid)));
    assert_eq!(cluster.anser(&["get", "k"]).exits(0).out, b"kept");
}

#[test]
fn a_cluster_may_span_data_centres() {
    let cluster = TestCluster::start_as(Setup { words: &["--dcs", "2", "--nodes", "2"], ..Setup::default() });
    layout(&cluster, 4);
    let dcs: Vec<&str> = (0..4).map(|i| cluster.table["nodes"][i]["dc"].as_str().unwrap()).collect();
    assert_eq!(dcs, ["dc1", "dc1", "dc2", "dc2"]);
    // Three replicas a data centre, or as many as there are nodes.
    for level in ["each_quorum", "local_quorum", "quorum", "all"] {
        let put = cluster.anser(&["put", level, "v", "--consistency", level, "--json"]).exits(0).json();
        assert_eq!(
            (&put["receipt"]["replicas"], &put["receipt"]["consistency"]),
            (&4.into(), &level.into()),
            "{put}"
        );
        assert_eq!(cluster.anser(&["get", level, "--consistency", level]).exits(0).out, b"v");
    }
    let status = cluster.anser(&["cluster", "status", "--json"]).exits(0).json();
    assert_eq!(status["members"].as_array().unwrap().len(), 4, "{status}");
}
