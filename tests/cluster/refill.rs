//! Data folders that are deleted or damaged: the node takes its seat again and is refilled, and then holds all that was stored.

use crate::harness::{READY_WITHIN, Setup, TestCluster, TestNode, block_on, wait_for};
use crate::ledger::{keyspace, name, read_all};
use anser_client::{Client, Level, PutOptions};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const KEYS: usize = 300;
const STAY_DOWN: Setup = Setup { words: &["--no-restart"], settings: &[], alone: false };
const VALUE_BYTES: usize = 2000;

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
    let beside = fs::read_dir(&cluster.nodes[2].folder).unwrap();
    let names: Vec<String> = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name == "data.aside-1"), "{names:?}");
    block_on(holds_all_alone(&cluster, 2, 1));
}
