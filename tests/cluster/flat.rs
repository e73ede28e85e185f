//! Nothing leaks: descriptors, threads and memory of every node stay flat over many requests.
//!
//! `ANSER_SOAK_REQUESTS=1000000 cargo test --test cluster flat` makes it a million.

use crate::harness::{Setup, TestCluster, block_on, proc_entries, resident_bytes};
use crate::ledger::{keyspace, name, scatter};
use anser_client::{Client, GetOptions, PutOptions};
use std::time::Duration;
use tokio::task::JoinSet;

/// Requests unless told.
const REQUESTS: u64 = 60_000;
/// It is looked at what the nodes hold after each of so many parts; the first is the warm-up.
const PARTS: u64 = 5;
/// Long: it is not about time, and the machine may be busy.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// Outstanding at once.
const AT_ONCE: u64 = 64;
/// So many keys are written over and over: they fill the log sooner than a memtable.
const KEYS: u64 = 2_000;
const VALUE_BYTES: usize = 1_500;
/// What each node is told to stay within.
const MEMORY: &str = "256MiB";
const MEMORY_BYTES: u64 = 256 << 20;
/// How much a node may grow after the middle: memtables and the log that they keep fill and are cut off again.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

/// What a node holds.
#[derive(Clone, Copy, Debug)]
struct Holds {
    descriptors: usize,
    threads: usize,
    resident: u64,
}

fn holds(cluster: &TestCluster) -> Vec<Holds> {
    let of = |pid| Holds {
        descriptors: proc_entries(pid, "fd"),
        threads: proc_entries(pid, "task"),
        resident: resident_bytes(pid),
    };
    cluster.nodes.iter().map(|node| of(node.pid())).collect()
}

/// Puts and gets in turn.
async fn requests(client: &Client, count: u64) {
    let mut tasks = JoinSet::new();
    let put = PutOptions { timeout: ANSWERED_WITHIN, ..PutOptions::default() };
    let get = GetOptions { timeout: ANSWERED_WITHIN, ..GetOptions::default() };
    for worker in 0..AT_ONCE {
        let (client, put, get) = (client.clone(), put.clone(), get.clone());
        tasks.spawn(async move {
            for i in (worker..count).step_by(usize::try_from(AT_ONCE).unwrap()) {
                let key = name(&format!("key-{}", scatter(i) % KEYS));
                if i % 2 == 0 {
                    let value = vec![b'v'; VALUE_BYTES];
                    client.put(&keyspace(), &key, value, put.clone()).await.unwrap();
                } else {
                    client.get(&keyspace(), &key, get.clone()).await.unwrap();
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

#[test]
fn descriptors_threads_and_memory_stay_flat() {
    let settings = &[("ANSER_LIMITS_MEMORY", MEMORY)];
    let cluster = TestCluster::start_as(Setup { settings, alone: true, ..Setup::default() });
    let wanted = std::env::var("ANSER_SOAK_REQUESTS").map(|text| text.parse().expect("a number"));
    let count = wanted.unwrap_or(REQUESTS);
    let history: Vec<Vec<Holds>> = block_on(async {
        let client = cluster.client().await;
        let mut history = Vec::new();
        for part in 1..=PARTS {
            requests(&client, count / PARTS).await;
            history.push(holds(&cluster));
            println!("after {} requests: {:?}", count / PARTS * part, history.last());
        }
        history
    });
    let (warm, middle, end) = (&history[0], &history[history.len() / 2], &history[history.len() - 1]);
    for ((warm, middle), end) in warm.iter().zip(middle).zip(end) {
        assert_eq!(warm.descriptors, end.descriptors, "descriptors: {warm:?} {end:?}");
        assert_eq!(warm.threads, end.threads, "threads: {warm:?} {end:?}");
        assert!(end.resident <= MEMORY_BYTES, "memory: {end:?}");
        let growth = end.resident.saturating_sub(middle.resident);
        assert!(growth <= GROWTH_BYTES_MAX, "memory: {middle:?} {end:?}");
    }
    for node in &cluster.nodes {
        assert!(node.metric("anser_sstables", &[]) >= 1.0, "{}: the log was never cut off", node.name);
    }
}
