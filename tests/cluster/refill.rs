//! Data folders that are deleted, damaged, or put back from an old copy: the node takes its seat again and is refilled, and then holds all that was stored.

use crate::harness::{READY_WITHIN, Setup, TestCluster, TestNode, block_on, wait_for};
use crate::ledger::{keyspace, name, read_all};
use anser_client::{Client, Level, PutOptions};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const KEYS: usize = 300;
const STAY_DOWN: Setup = Setup { words: &["--no-restart"], settings: &[], alone: false };
const VALUE_BYTES: usize = 2000;
/// How long it takes at most until others remember, durably, how far a folder is.
const TOLD_WITHIN: Duration = Duration::from_secs(8);

fn value(key: usize, round: u8) -> Vec<u8> {
    let mut value = format!("{round}:{key:05}:").into_bytes();
    value.resize(VALUE_BYTES, round);
    value
}

fn key(number: usize) -> String {
    format!("key-{number:05}")
}

/// Writes all keys on all nodes.
async fn write_all(client: &Client, round: u8) {
    let options = PutOptions { level: Some(Level::All), ..PutOptions::default() };
    for number in 0..KEYS {
        client.put(&keyspace(), &name(&key(number)), value(number, round), options.clone()).await.unwrap();
    }
}

/// Waits until a node has all that the others hold.
fn wait_refilled(cluster: &TestCluster, node: usize) {
    cluster.wait_whole();
    let node = &cluster.nodes[node];
    let in_state = |state| node.metric("anser_partitions", &[("state", state)]);
    wait_for("all copies are refilled", READY_WITHIN, || {
        in_state("serving") > 0.0 && in_state("joining") == 0.0 && in_state("starting") == 0.0
    });
}

/// What one node alone answers, all others being down.
async fn holds_all_alone(cluster: &TestCluster, node: usize, round: u8) {
    for other in (0..cluster.nodes.len()).filter(|other| *other != node) {
        cluster.nodes[other].kill();
    }
    let client = cluster.client().await;
    let keys = (0..KEYS).map(key).collect();
    let mut found: BTreeMap<_, _> =
        read_all(&client, keys, Some(Level::Count(1))).await.into_iter().collect();
    for number in 0..KEYS {
        let key = key(number);
        let found = found.remove(&key).unwrap().unwrap_or_else(|why| panic!("{key}: {why}"));
        assert_eq!(found.value().map(|found| found.to_vec()), Some(value(number, round)), "{key}");
    }
}

fn data(node: &TestNode) -> PathBuf {
    node.folder.join("data")
}

/// The largest file below a folder.
fn largest(dir: &Path) -> (u64, PathBuf) {
    let below = |entry: fs::DirEntry| {
        let path = entry.path();
        if path.is_dir() { largest(&path) } else { (entry.metadata().unwrap().len(), path) }
    };
    fs::read_dir(dir).unwrap().map(|entry| below(entry.unwrap())).max().unwrap_or_default()
}

#[test]
fn a_node_whose_folder_was_deleted_is_refilled() {
    let mut cluster = TestCluster::start_as(STAY_DOWN);
    block_on(async { write_all(&cluster.client().await, 1).await });
    cluster.stop();
    fs::remove_dir_all(data(&cluster.nodes[1])).unwrap();
    cluster.run_dev();
    wait_refilled(&cluster, 1);
    block_on(holds_all_alone(&cluster, 1, 1));
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy_dir(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// What lies beside a node's data folder.
fn beside(node: &TestNode) -> Vec<String> {
    let entries = fs::read_dir(&node.folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn an_old_copy_of_a_folder_is_recognised_set_aside_and_refilled() {
    let mut cluster = TestCluster::start_as(STAY_DOWN);
    block_on(async { write_all(&cluster.client().await, 1).await });
    cluster.stop();
    let folder = data(&cluster.nodes[0]);
    let copy = cluster.scratch().join("copy");
    copy_dir(&folder, &copy);

    cluster.run_dev();
    cluster.wait_whole();
    block_on(async { write_all(&cluster.client().await, 2).await });
    // The others remember how far it was once they were told.
    std::thread::park_timeout(TOLD_WITHIN);
    cluster.stop();
    fs::remove_dir_all(&folder).unwrap();
    copy_dir(&copy, &folder);
    cluster.run_dev();
    wait_refilled(&cluster, 0);
    let aside = fs::canonicalize(&cluster.nodes[0].folder).unwrap().join("data.aside-1");
    assert!(aside.is_dir());
    // The process that set it aside is another than the one that tells.
    let told = &cluster.nodes[0].page("/ready")["notes"]["set_aside"];
    assert_eq!(*told, serde_json::json!([aside]));
    block_on(holds_all_alone(&cluster, 0, 2));
}

#[test]
fn a_damaged_folder_is_set_aside_and_refilled() {
    let mut cluster = TestCluster::start_as(STAY_DOWN);
    block_on(async { write_all(&cluster.client().await, 1).await });
    cluster.stop();
    let folder = data(&cluster.nodes[2]);
    let (bytes, file) = largest(&folder.join("store/log"));
    let mut file = OpenOptions::new().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&vec![0; usize::try_from(bytes).unwrap()]).unwrap();
    drop(file);
    cluster.run_dev();
    wait_refilled(&cluster, 2);
    assert!(beside(&cluster.nodes[2]).iter().any(|name| name == "data.aside-1"));
    block_on(holds_all_alone(&cluster, 2, 1));
}
