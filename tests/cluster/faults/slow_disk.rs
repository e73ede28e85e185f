//! A disk that takes seconds for everything, in one node of three that is written to: nobody waits for it but who needs it.
//!
//! The delay is felt beneath the disk's own threads, so that an actor that read, wrote or synced by itself would be held up
//! as they are. Every limit here is a part of that delay: what takes longer than that has waited for the disk.

use crate::harness::{Setup, TestCluster, TestNode, block_on, http, wait_for};
use crate::ledger::{Load, Plan, keyspace, name};
use anser_client::{Client, GetOptions, Level, PutOptions};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What each read, write and sync of the slow disk takes more. More than a peer waits for a probe's answer.
const DELAY: Duration = Duration::from_millis(1_000);
/// An actor that held its thread for longer has waited for something. (It is a bucket of the histogram.)
const HELD_MAX: &str = "0.5";
const SLOW: usize = 1;
/// At most one look in so many may find somebody suspected.
const ALIVE_PARTS: usize = 50;
const MEMORY: &str = "128MiB";
/// Keys that go into tables: a few memtables full of them.
const COLD: usize = 400;
const COLD_BYTES: usize = 60_000;
/// Keys that stay in the memtable.
const WARM: usize = 40;
/// Of the cold ones, so many are read while the disk is slow.
const COLD_READS: usize = 6;
/// Writes that must get through on the way.
const WRITES: u64 = 100;
/// How long a thing may take that waits for the slow disk a few times.
const PATIENCE: Duration = Duration::from_secs(30);
const FLUSHED_WITHIN: Duration = Duration::from_secs(60);

/// Makes a node's disk slow until this is dropped.
struct Slowed<'a>(&'a TestNode);

impl Slowed<'_> {
    fn begin(node: &TestNode) -> Slowed<'_> {
        set_delay(node, DELAY);
        Slowed(node)
    }
}

impl Drop for Slowed<'_> {
    fn drop(&mut self) {
        set_delay(self.0, Duration::ZERO);
    }
}

fn set_delay(node: &TestNode, delay: Duration) {
    let said = http(node.http, "POST", &format!("/faults/slow-disk/{}", delay.as_millis()));
    assert_eq!(said.map(|(status, _)| status), Some(204));
}

/// What the slow node is to the others, and they to it.
fn all_known(cluster: &TestCluster) -> Vec<(String, String)> {
    let slow = &cluster.nodes[SLOW];
    let others = cluster.nodes.iter().filter(|node| node.name != slow.name);
    let pairs = others.flat_map(|other| [(other, slow), (slow, other)]);
    pairs.map(|(by, of)| (format!("{} to {}", of.name, by.name), by.state_of(&of.name))).collect()
}

/// How often an actor of a node held its thread for longer than [`HELD_MAX`].
fn long_drains(node: &TestNode) -> f64 {
    // Of one page, since the counts go on.
    let samples = node.samples();
    let within = |limit: &str| {
        let buckets = samples.iter().filter(|sample| sample.name == "anser_actor_drain_seconds_bucket");
        buckets.filter(|sample| sample.is("le", limit)).map(|sample| sample.value).sum::<f64>()
    };
    within("+Inf") - within(HELD_MAX)
}

async fn write(client: &Client, kind: &str, count: usize, bytes: usize) {
    let options = PutOptions { level: Some(Level::All), timeout: PATIENCE, ..PutOptions::default() };
    let mut puts = JoinSet::new();
    for number in 0..count {
        let (client, options) = (client.clone(), options.clone());
        let key = name(&format!("{kind}-{number}"));
        puts.spawn(async move { client.put(&keyspace(), &key, vec![b'v'; bytes], options).await });
        if puts.len() >= 8 {
            puts.join_next().await.expect("one is under way").expect("it ends").expect("it is written");
        }
    }
    puts.join_all().await.into_iter().for_each(|put| drop(put.expect("it is written")));
}

/// How long a read of a key takes that the slow node has part in: its answer is one of all, or it is the one that is asked.
async fn read(client: &Client, kind: &str, number: usize, level: Level) -> Duration {
    let options = GetOptions { level: Some(level), timeout: PATIENCE };
    let begun = Instant::now();
    let found =
        client.get(&keyspace(), &name(&format!("{kind}-{number}")), options).await.expect("an answer");
    assert_eq!(found.versions.len(), 1, "{kind}-{number}");
    begun.elapsed()
}

/// The slowest of reads from the memtable, at each of the levels.
async fn read_warm(client: &Client, levels: &[Level]) -> Duration {
    let mut slowest = Duration::ZERO;
    for number in 0..WARM {
        for level in levels {
            slowest = slowest.max(read(client, "warm", number, *level).await);
        }
    }
    slowest
}

/// Reads from the memtable while the disk is slow, alone and beside reads from the disk, which have to wait for it.
async fn read_beside(client: &Client) {
    let alone = read_warm(client, &[Level::All, Level::Count(1)]).await;
    assert!(alone < DELAY, "a read from the memtable took {alone:?}");
    let mut reads = JoinSet::new();
    for number in 0..COLD_READS {
        let client = client.clone();
        reads.spawn(async move { read(&client, "cold", number, Level::All).await });
    }
    let warm = read_warm(client, &[Level::All, Level::Count(1)]).await;
    assert!(warm < DELAY, "a read from the memtable took {warm:?} beside those from the disk");
    let cold = reads.join_all().await;
    // Not all: a filter that let pass what is not there may have brought a block into the cache before.
    let waited = cold.iter().filter(|took| **took >= DELAY).count();
    assert!(waited * 2 > COLD_READS, "reads from the slow disk took {cold:?}");
    println!(
        "from the memtable at most {alone:?}, and {warm:?} beside reads from the disk, which took {cold:?}"
    );
}

/// Looks at who is what to whom, until it is told to end.
fn watch(cluster: &TestCluster, ended: &AtomicBool) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        seen.extend(all_known(cluster));
        std::thread::park_timeout(Duration::from_millis(50));
    }
    seen
}

/// Ends the watch, also when the test fails meanwhile.
struct Watched<'a>(&'a AtomicBool);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_slow_disk_holds_up_only_who_needs_it() {
    let settings = &[("ANSER_LIMITS_MEMORY", MEMORY)];
    let cluster = TestCluster::start_as(Setup { settings, alone: true, ..Setup::default() });
    cluster.wait_whole();
    let slow = &cluster.nodes[SLOW];
    let mut profile = cluster.profile();
    profile.addresses = vec![slow.quic];
    block_on(async {
        let client = cluster.client().await;
        write(&client, "cold", COLD, COLD_BYTES).await;
        wait_for("cold keys are in tables", FLUSHED_WITHIN, || slow.metric("anser_sstables", &[]) >= 2.0);
        write(&client, "warm", WARM, 100).await;
    });
    let load = Load::start(cluster.profile(), "meanwhile", Plan { writers: 4, timeout: PATIENCE });
    load.go_on(WRITES);
    let held = long_drains(slow);
    let ended = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(&cluster, &ended));
        let watched = Watched(&ended);
        let slowed = Slowed::begin(slow);
        load.go_on(WRITES);
        block_on(async {
            read_beside(&Client::connect(profile).await.expect("the slow node answers")).await
        });
        load.go_on(WRITES);
        drop(slowed);
        drop(watched);
        watch.join().expect("the watch ends")
    });
    let not_alive: Vec<_> = seen.iter().filter(|(_, state)| state != "alive").collect();
    // A machine that is busy with other things may delay a probe; whoever waits for this disk misses each.
    assert!(not_alive.len() * ALIVE_PARTS <= seen.len(), "of {} looks: {not_alive:?}", seen.len());
    assert!(not_alive.iter().all(|(_, state)| state == "suspect"), "{not_alive:?}");
    assert_eq!(long_drains(slow), held, "an actor held its thread for longer than {HELD_MAX} s");
    let ledger = load.end();
    ledger.flawless();
    block_on(async { ledger.check(&cluster.client().await, None).await });
    println!("{} of {} looks found somebody suspected", not_alive.len(), seen.len());
    println!("{} new keys meanwhile, {} reads", ledger.acknowledged(), ledger.reads);
}
