//! A node that is told to stop finishes what it has begun: nobody notices.

use crate::harness::{READY_WITHIN, STOP_WITHIN, Signal, TestCluster, block_on, is_alive, signal, wait_for};
use crate::ledger::{Load, Plan};

/// Writes that must get through before and after.
const WRITES: u64 = 300;

#[test]
fn a_node_that_is_told_to_stop_fails_nobody() {
    let cluster = TestCluster::start();
    let load = Load::start(cluster.profile(), "meanwhile", Plan { writers: 16, ..Plan::default() });
    for node in &cluster.nodes {
        load.go_on(WRITES);
        let pid = node.pid();
        signal(pid, Signal::TERM);
        wait_for("it has stopped", STOP_WITHIN, || !is_alive(pid));
        load.go_on(WRITES);
        // `anser dev` starts it again.
        wait_for("it serves again", READY_WITHIN, || node.pid() != pid && node.is_ready());
        cluster.wait_whole();
    }
    load.go_on(WRITES);
    let ledger = load.end();
    ledger.flawless();
    block_on(async { ledger.check(&cluster.client().await, None).await });
}
