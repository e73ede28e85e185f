//! Requests that are refused: the right exit status, one clear line, and nothing stored.

use crate::harness::{ANSER, Said, Setup, TestCluster, free_port, run};
use crate::ledger::scatter;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const KEY_BYTES_MAX: usize = 16 * 1024;
const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

#[test]
fn bad_requests_are_refused() {
    let cluster = TestCluster::start();
    keys(&cluster);
    values(&cluster);
    keyspaces_and_levels(&cluster);
    contexts(&cluster);
    certificates(&cluster);
    addresses(&cluster);
}

fn absent(cluster: &TestCluster, key: &str) {
    cluster.anser(&["get", key, "--consistency", "all"]).refused(1, &["does not exist"]);
}

fn keys(cluster: &TestCluster) {
    for command in [&["put", "", "v"][..], &["get", ""], &["del", ""], &["put", "default/", "v"]] {
        cluster.anser(command).refused(2, &["empty"]);
    }
    let longest = "k".repeat(KEY_BYTES_MAX);
    cluster.anser(&["put", &longest, "v"]).exits(0);
    assert_eq!(cluster.anser(&["get", &longest]).exits(0).out, b"v");
    let longer = format!("{longest}k");
    for command in [&["put", &longer, "v"][..], &["get", &longer], &["del", &longer]] {
        cluster.anser(command).refused(2, &["16384"]);
    }
}

fn values(cluster: &TestCluster) {
    let file = |bytes: usize| {
        let path = cluster.scratch().join(format!("{bytes}"));
        let content: Vec<u8> = (0..bytes).map(|i| scatter(i as u64).to_le_bytes()[0]).collect();
        fs::write(&path, &content).unwrap();
        (path, content)
    };
    for bytes in [0, 1, 64 * 1024, 1024 * 1024, VALUE_BYTES_MAX] {
        let (path, content) = file(bytes);
        let path = path.to_str().unwrap();
        let put = ["put", "big", "--timeout", "30s", "--consistency", "all", "--allow-empty", "--file", path];
        cluster.anser(&put).exits(0);
        let said = cluster.anser(&["get", "big", "--timeout", "30s", "--consistency", "all"]).exits(0);
        assert!(said.out == content, "{bytes} bytes read back otherwise: {} bytes", said.out.len());
    }
    let (path, content) = file(VALUE_BYTES_MAX + 1);
    let put = ["put", "too-big", "--file", path.to_str().unwrap()];
    cluster.anser(&put).refused(2, &["too large", "16777216"]);
    cluster.anser_with_input(&["put", "too-big", "-"], &content).refused(2, &["too large", "16777216"]);
    absent(cluster, "too-big");
    for command in [&["put", "none", ""][..], &["put", "none", "--file", "/dev/null"]] {
        cluster.anser(command).refused(2, &["empty", "--allow-empty"]);
    }
    cluster.anser_with_input(&["put", "none", "-"], b"").refused(2, &["empty", "--allow-empty"]);
    absent(cluster, "none");
}

#[test]
fn a_node_refuses_what_is_past_its_own_limit() {
    let settings = &[("ANSER_LIMITS_MAX_VALUE", "1KiB")];
    let cluster = TestCluster::start_as(Setup { settings, ..Setup::default() });
    cluster.anser(&["put", "k", &"v".repeat(1024)]).exits(0);
    cluster.anser(&["put", "too-big", &"v".repeat(1025)]).refused(2, &["too large", "1024"]);
    absent(&cluster, "too-big");
}

fn keyspaces_and_levels(cluster: &TestCluster) {
    for command in [&["put", "nowhere/k", "v"][..], &["get", "nowhere/k"], &["del", "nowhere/k"]] {
        cluster.anser(command).refused(2, &["keyspace"]);
    }
    cluster.anser(&["put", "No Such/k", "v"]).refused(2, &["keyspace"]);
    for command in [["put", "k", "v", "--consistency", "most"], ["put", "k", "v", "--w", "0"]] {
        cluster.anser(&command).refused(2, &[command[4]]);
    }
    cluster.anser(&["put", "k", "v", "--w", "4"]).refused(2, &["4", "3"]);
    cluster.anser(&["get", "k", "--r", "4"]).refused(2, &["4", "3"]);
    cluster.anser(&["put", "k", "v", "--consistency", "three", "--w", "3"]).refused(2, &["--w"]);
    cluster.anser(&["get"]).refused(2, &["KEY"]);
    cluster.anser(&["got", "k"]).refused(2, &["got"]);
    absent(cluster, "k");
}

fn contexts(cluster: &TestCluster) {
    let context = |key: &str| {
        let said = cluster.anser(&["put", key, "v", "--consistency", "all", "--json"]).exits(0);
        said.json()["context"].as_str().unwrap().to_owned()
    };
    let (own, foreign) = (context("own"), context("foreign"));
    let put = |key: &str, token: &str| cluster.anser(&["put", key, "new", "--context", token]);
    put("own", &foreign).refused(2, &["context"]);
    put("own", "nonsense").refused(2, &["context"]);
    put("own", "").refused(2, &["context"]);
    let torn = &own[..own.len() - 4];
    put("own", torn).refused(2, &["context"]);
    // One bit of one character in the middle.
    let mut altered = own.clone().into_bytes();
    let middle = altered.len() / 2;
    altered[middle] = if altered[middle] == b'A' { b'B' } else { b'A' };
    put("own", std::str::from_utf8(&altered).unwrap()).refused(2, &["context"]);
    cluster.anser(&["del", "own", "--context", &foreign]).refused(2, &["context"]);
    assert_eq!(
        cluster.anser(&["get", "own", "--consistency", "all"]).exits(0).out,
        b"v",
        "nothing was stored"
    );
}

/// A profile with this certificate, in a folder of the test's.
fn profile(cluster: &TestCluster, ca: &Path, leaf: &Path, name: &str, addresses: &[String]) -> PathBuf {
    let path = cluster.scratch().join("profile.toml");
    let text = format!(
        "[cluster]\naddresses = {addresses:?}\n\n[tls]\nca = {:?}\ncert = {:?}\nkey = {:?}\n",
        ca.join("ca.pem"),
        leaf.join(format!("{name}.pem")),
        leaf.join(format!("{name}.key")),
    );
    fs::write(&path, text).unwrap();
    path
}

fn with_profile(profile: &Path, words: &[&str]) -> Said {
    let mut command = Command::new(ANSER);
    command.args(words).arg("--profile").arg(profile);
    run(command, b"")
}

fn certificates(cluster: &TestCluster) {
    let (own, other) = (cluster.certs(), cluster.scratch().join("other"));
    let folder = other.to_str().unwrap();
    cluster.anser(&["certs", "ca", "--cluster", "dev", "--dir", folder]).exits(0);
    cluster.anser(&["certs", "client", "client", "--ca", folder, "--dir", folder]).exits(0);
    cluster.anser(&["certs", "ca", "--cluster", "dev", "--dir", folder]).refused(2, &["never overwritten"]);
    let addresses: Vec<String> = cluster.nodes.iter().map(|node| node.quic.to_string()).collect();

    // The nodes refuse it; then it refuses the nodes; then both.
    let put = ["put", "intruder", "v"];
    for (ca, leaf) in [(&own, &other), (&other, &own), (&other, &other)] {
        let profile = profile(cluster, ca, leaf, "client", &addresses);
        with_profile(&profile, &put).refused(6, &["not allowed", "authority"]);
    }
    // A node's certificate is no client's, and a client founds no cluster.
    let node = &cluster.nodes[0].name;
    let as_client = with_profile(&profile(cluster, &own, &own, node, &addresses), &put);
    assert_ne!(as_client.code, 70, "{as_client:?}");
    let member = format!("{node}={}", cluster.nodes[0].quic);
    let client = cluster.profile_path();
    with_profile(&client, &["init", "--member", &member]).refused(6, &["operator"]);
    let stranger = profile(cluster, &own, &other, "client", &addresses);
    with_profile(&stranger, &["init", "--member", &member]).refused(6, &["authority"]);
    // Without a readable certificate nothing is even tried.
    let missing = profile(cluster, &own, cluster.scratch(), "client", &addresses);
    with_profile(&missing, &put).refused(2, &["client.pem"]);
    absent(cluster, "intruder");
    let rejected: f64 = cluster.nodes.iter().map(|node| node.metric("anser_wire_rejected_total", &[])).sum();
    assert!(rejected >= 1.0, "the refusals are counted");
}

fn addresses(cluster: &TestCluster) {
    let port = free_port(2);
    let nobody: Vec<String> = [port, port + 1].map(|port| format!("127.0.0.1:{port}")).into();
    let certs = cluster.certs();
    let profile_of = |addresses: &[String]| profile(cluster, &certs, &certs, "client", addresses);
    for words in [&["get", "k"][..], &["put", "k", "v"], &["del", "k"], &["cluster", "status"]] {
        let said = with_profile(&profile_of(&nobody), words);
        said.refused(7, &["cannot be reached", &nobody[0], &nobody[1]]);
    }
    with_profile(&profile_of(&[]), &["get", "k"]).refused(2, &["no address"]);
    // One that answers is enough.
    let one = [nobody[0].clone(), cluster.nodes[2].quic.to_string()];
    with_profile(&profile_of(&one), &["put", "reached", "v"]).exits(0);

    let empty = cluster.scratch().join("empty");
    fs::create_dir_all(&empty).unwrap();
    let mut command = Command::new(ANSER);
    command.args(["get", "k"]).current_dir(&empty).env_remove("ANSER_PROFILE");
    command.env("HOME", &empty).env("XDG_CONFIG_HOME", &empty);
    run(command, b"").refused(2, &["profile", "anser dev"]);
}
