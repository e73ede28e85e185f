//! A killed node: what was stored reads back byte for byte, and nothing fails that the others can serve.

use crate::harness::{READY_WITHIN, Setup, TestCluster, block_on, wait_for};
use crate::ledger::{Load, Plan, first, keyspace, name, read_all};
use crate::samples::{self, Rows};
use anser_client::{Client, GetOptions, Level, PutOptions};
use std::collections::BTreeMap;

/// Writes that must get through after each blow.
const WRITES: u64 = 300;

/// Loads a table by the command line, and files by the SDK.
async fn fill(cluster: &TestCluster, client: &Client) -> BTreeMap<String, Vec<u8>> {
    let table = cluster.scratch().join("table.json");
    let rows = samples::write_table(&table);
    let words = ["load", table.to_str().unwrap(), "--key-field", "code", "--json"];
    let report = cluster.anser(&words).exits(0).json();
    assert_eq!((&report["loaded"], &report["failed"]), (&rows.len().into(), &0.into()), "{report}");
    let files: Rows = samples::files();
    for (path, content) in &files {
        client.put(&keyspace(), &name(path), content.clone(), PutOptions::default()).await.unwrap();
    }
    rows.into_iter().chain(files).collect()
}

async fn reads_back(client: &Client, stored: &BTreeMap<String, Vec<u8>>, level: Option<Level>) {
    let read = read_all(client, stored.keys().cloned().collect(), level).await;
    let wrong: Vec<String> = read
        .into_iter()
        .filter_map(|(key, found)| match found {
            Ok(found)
                if found.value().is_some_and(|value| stored.get(&key).is_some_and(|is| value == is)) =>
            {
                None
            }
            Ok(found) => Some(format!("{key}: {} versions, or another content", found.versions.len())),
            Err(why) => Some(format!("{key}: {why}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} keys: {}", wrong.len(), stored.len(), first(&wrong));
}

#[test]
fn nothing_fails_while_a_node_is_down() {
    let cluster = TestCluster::start_as(Setup { words: &["--no-restart"], ..Setup::default() });
    block_on(async {
        let client = cluster.client().await;
        let stored = fill(&cluster, &client).await;
        let load = Load::start(cluster.profile(), "down", Plan::default());
        load.go_on(WRITES);
        cluster.nodes[1].kill();
        load.go_on(WRITES);
        reads_back(&client, &stored, None).await;
        load.go_on(WRITES);
        let ledger = load.end();
        ledger.flawless();
        ledger.check(&client, None).await;
        assert!(cluster.nodes[1].states()[0].1 == "silent", "the killed node stays down");
        // A client that comes now finds its way, too.
        let late = cluster.client().await;
        reads_back(&late, &stored.into_iter().take(100).collect(), None).await;
    });
}

#[test]
fn a_killed_node_comes_back_with_its_data() {
    let cluster = TestCluster::start();
    block_on(async {
        let client = cluster.client().await;
        let stored = fill(&cluster, &client).await;
        for victim in 0..cluster.nodes.len() {
            let load = Load::start(cluster.profile(), &format!("round-{victim}"), Plan::default());
            load.go_on(WRITES);
            let node = &cluster.nodes[victim];
            let killed = node.kill();
            load.go_on(WRITES);
            wait_for("the killed node is started again", READY_WITHIN, || node.pid() != killed);
            cluster.wait_whole();
            let ledger = load.end();
            ledger.flawless();
            ledger.check(&client, Some(Level::All)).await;
        }
        reads_back(&client, &stored, Some(Level::All)).await;
        let options = GetOptions { level: Some(Level::Count(3)), ..GetOptions::default() };
        let found = client.get(&keyspace(), &name("x-00000"), options).await.unwrap();
        assert_eq!(found.receipt.answered, 3);
    });
}
