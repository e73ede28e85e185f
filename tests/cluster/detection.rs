//! Failure detection: a node that stops answering is found, and so is its return.

use crate::harness::{Setup, Signal, TestCluster, block_on, signal};
use crate::ledger::{Load, Plan};
use std::time::{Duration, Instant};

/// How long the others may take to find that a node is silent.
const FOUND_WITHIN: Duration = Duration::from_secs(3);
/// How long they may take to find that it is back.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// Writes that must get through in each state.
const WRITES: u64 = 200;

/// A process that is stopped, until this is dropped.
struct Stopped(u32);

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, Signal::CONT);
    }
}

/// How long it takes until all others see node `of` as wanted.
fn seen(cluster: &TestCluster, of: usize, within: Duration, wanted: impl Fn(&str) -> bool) -> Duration {
    let begun = Instant::now();
    let name = &cluster.nodes[of].name;
    let mut others: Vec<_> = cluster.nodes.iter().filter(|node| node.name != *name).collect();
    while !others.is_empty() {
        others.retain(|node| !wanted(&node.state_of(name)));
        assert!(begun.elapsed() < within, "{} of the others still see it otherwise", others.len());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    begun.elapsed()
}

#[test]
fn a_silent_node_is_found_and_its_return_too() {
    let cluster = TestCluster::start_as(Setup { alone: true, ..Setup::default() });
    cluster.wait_whole();
    let load = Load::start(cluster.profile(), "meanwhile", Plan { writers: 4, ..Plan::default() });
    load.go_on(WRITES);
    for victim in 0..cluster.nodes.len() {
        let stopped = Stopped(cluster.nodes[victim].pid());
        signal(stopped.0, Signal::STOP);
        let found = seen(&cluster, victim, FOUND_WITHIN, |state| state == "suspect" || state == "dead");
        load.go_on(WRITES);
        drop(stopped);
        let back = seen(&cluster, victim, BACK_WITHIN, |state| state == "alive");
        println!("{}: found in {found:?}, back in {back:?}", cluster.nodes[victim].name);
        cluster.wait_whole();
        load.go_on(WRITES);
    }
    let ledger = load.end();
    ledger.flawless();
    block_on(async { ledger.check(&cluster.client().await, None).await });
}
