//! An actor that panics in a live cluster under load: nothing acknowledged is lost, and the others go on.

use crate::harness::{READY_WITHIN, SOON, TestCluster, TestNode, block_on, http, wait_for};
use crate::ledger::{Load, Plan};

/// Writes that must get through before and after.
const WRITES: u64 = 200;
/// Panics of each actor.
const BLOWS: usize = 3;
const ACTORS: [&str; 3] = ["membership", "coordinator", "replica"];

fn restarts(node: &TestNode, actor: &str) -> f64 {
    node.metric("anser_actor_restarts_total", &[("actor", actor), ("cause", "panic")])
}

fn handled(node: &TestNode, actor: &str) -> f64 {
    node.metric("anser_actor_messages_total", &[("actor", actor)])
}

/// Makes an actor panic, and waits until it was rebuilt while the others went on.
fn blow(node: &TestNode, actor: &str) {
    let before = restarts(node, actor);
    let (status, _) = http(node.http, "POST", &format!("/faults/panic/{actor}/0")).expect("it answers");
    assert_eq!(status, 204, "{actor}");
    wait_for(&format!("{actor} was rebuilt"), SOON, || restarts(node, actor) > before);
    for other in ACTORS {
        let so_far = handled(node, other);
        wait_for(&format!("{other} goes on after {actor} panicked"), SOON, || handled(node, other) > so_far);
    }
    wait_for("it serves again", READY_WITHIN, || node.is_ready());
    let actors = node.page("/api/v1/actors");
    let found = actors.as_array().unwrap().iter().find(|shown| shown["actor"] == actor).unwrap();
    assert_eq!(found["state"], "up", "{actors}");
    assert!(found["restarts"].as_u64().is_some_and(|restarts| restarts > 0), "{actors}");
    assert!(found["last_panic"].is_string(), "{actors}");
}

#[test]
fn any_actor_may_panic_under_load() {
    let cluster = TestCluster::start();
    let load = Load::start(cluster.profile(), "meanwhile", Plan::default());
    let pids: Vec<u32> = cluster.nodes.iter().map(|node| node.pid()).collect();
    for actor in ACTORS {
        for i in 0..BLOWS {
            load.go_on(WRITES);
            blow(&cluster.nodes[i % cluster.nodes.len()], actor);
            load.go_on(WRITES);
        }
    }
    let missing = http(cluster.nodes[0].http, "POST", "/faults/panic/replica/99").unwrap().0;
    assert_eq!(missing, 404);
    cluster.wait_whole();
    let ledger = load.end();
    ledger.sound();
    block_on(async { ledger.check(&cluster.client().await, None).await });
    assert_eq!(pids, cluster.nodes.iter().map(|node| node.pid()).collect::<Vec<_>>(), "no process ended");
    // What was under way in the actor may end unknown; all else succeeds.
    let total = ledger.acknowledged();
    assert!(ledger.failures.len() * 20 < total, "{} failed beside {total}", ledger.failures.len());
    println!("{total} new keys; {} operations failed: {:?}", ledger.failures.len(), ledger.failures.first());
}
