//! A power cut: all processes end at once in the middle of writing, again and again.

use crate::harness::{READY_WITHIN, Signal, TestCluster, block_on, is_alive, signal, wait_for};
use crate::ledger::{Ledger, Load, Plan};
use std::time::Duration;

const ROUNDS: usize = 10;
/// Writes that are acknowledged before each blow, at least.
const WRITES: u64 = 400;
/// Short, since nobody answers after the blow.
const PLAN: Plan = Plan { writers: 16, timeout: Duration::from_millis(500) };

/// Ends every node at once; in every other round `anser dev` too, which is then started anew.
fn cut(cluster: &mut TestCluster, dev_too: bool) {
    let pids: Vec<u32> = cluster.nodes.iter().map(|node| node.pid()).collect();
    if dev_too {
        // First, so that it starts none of them again; they would end with it, in good order, but get no time to.
        cluster.kill_dev();
    }
    for pid in &pids {
        signal(*pid, Signal::KILL);
    }
    wait_for("every process is gone", READY_WITHIN, || !pids.iter().any(|pid| is_alive(*pid)));
    if dev_too {
        cluster.run_dev();
    } else {
        let again = |cluster: &TestCluster| {
            cluster.nodes.iter().zip(&pids).all(|(node, before)| node.pid() != *before && node.is_ready())
        };
        wait_for("every node serves again", READY_WITHIN, || again(cluster));
    }
    cluster.wait_whole();
}

#[test]
fn every_acknowledged_write_is_there_after_a_power_cut() {
    let mut cluster = TestCluster::start();
    let mut all = Ledger::default();
    for round in 0..ROUNDS {
        let load = Load::start(cluster.profile(), &format!("round-{round}"), PLAN);
        load.go_on(WRITES);
        cut(&mut cluster, round % 2 == 1);
        let ledger = load.end();
        ledger.sound();
        block_on(async {
            let client = cluster.client().await;
            ledger.check(&client, None).await;
            client.close().await;
        });
        all.take_in(ledger);
    }
    block_on(async { all.check(&cluster.client().await, None).await });
    assert!(all.acknowledged() > ROUNDS * 100, "only {} new keys were written", all.acknowledged());
    println!(
        "{} new keys, {} reads, {} operations cut off",
        all.acknowledged(),
        all.reads,
        all.failures.len()
    );
}
