//! The client against nodes that are gone, silent, full, or of another opinion, over the real transport.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // Clippy knows no test in helpers of an integration test.

mod nodes;

use anser_client::{Certainty, Client, ConnectError, Key, KeyspaceName, PutError, PutOptions, Written};
use anser_proto::client::{Failure, Outcome};
use nodes::{Nodes, stored};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

async fn put(client: &Client, timeout: Duration) -> Result<Written, PutError> {
    let (keyspace, key) = (KeyspaceName::new("default").unwrap(), Key::new("k").unwrap());
    client.put(&keyspace, &key, "v", PutOptions { timeout, ..PutOptions::default() }).await
}

const SHORT: Duration = Duration::from_secs(1);

/// A count of the writes that all nodes together were asked.
fn turns() -> (Arc<AtomicUsize>, impl Fn() -> usize + Clone + Send + Sync) {
    let turns = Arc::new(AtomicUsize::new(0));
    let next = Arc::clone(&turns);
    (turns, move || next.fetch_add(1, Ordering::Relaxed))
}

#[tokio::test]
async fn a_silent_node_is_passed_over_within_one_call_with_the_same_request() {
    let nodes = Nodes::start(3);
    let (_turns, turn) = turns();
    nodes.script(move |_, _| if turn() == 0 { None } else { stored() });
    let client = nodes.client("client").await.unwrap();
    let written = put(&client, SHORT).await.unwrap();
    assert_eq!(written.receipt.durable, 2);
    let writes = nodes.writes();
    let (first, again) = match writes.as_slice() {
        [(one, first), (other, again)] if one != other && !first.retry => (first, again),
        [(one, again), (other, first)] if one != other && !first.retry => (first, again),
        other => panic!("{other:?}"),
    };
    assert!(again.retry);
    assert_eq!((first.rid, first.issued), (again.rid, again.issued));
}

#[tokio::test]
async fn a_node_that_is_not_ready_costs_no_certainty() {
    let nodes = Nodes::start(3);
    let (_turns, turn) = turns();
    nodes.script(move |_, _| match turn() {
        0 => Some(Outcome::Failed(Failure::NotReady)),
        1 => Some(Outcome::Failed(Failure::Overloaded)),
        _ => stored(),
    });
    let client = nodes.client("client").await.unwrap();
    put(&client, SHORT).await.unwrap();
    let writes = nodes.writes();
    assert_eq!(writes.len(), 3);
    assert!(writes.iter().all(|(_, write)| !write.retry && write.rid == writes[0].1.rid));
    assert_eq!(client.counts().refused, 2);
}

#[tokio::test]
async fn silence_to_the_end_is_unknown_and_ends_in_time() {
    let nodes = Nodes::start(3);
    nodes.script(|_, _| None);
    let client = nodes.client("client").await.unwrap();
    let begun = Instant::now();
    let error = put(&client, SHORT).await.unwrap_err();
    assert_eq!(error.certainty(), Certainty::Unknown, "{error}");
    assert!(begun.elapsed() < SHORT + SHORT / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_refusal_after_a_silent_attempt_is_still_unknown() {
    let nodes = Nodes::start(3);
    let (_turns, turn) = turns();
    nodes.script(move |_, _| (turn() > 0).then_some(Outcome::Failed(Failure::TooManySiblings)));
    let client = nodes.client("client").await.unwrap();
    let error = put(&client, SHORT).await.unwrap_err();
    assert_eq!(error.certainty(), Certainty::Unknown, "{error}");
}

#[tokio::test]
async fn a_refusal_is_not_asked_for_twice() {
    let nodes = Nodes::start(3);
    let (turns, turn) = turns();
    nodes.script(move |_, _| {
        turn();
        Some(Outcome::Failed(Failure::UnmeetableLevel { asked: 9, there: 3 }))
    });
    let client = nodes.client("client").await.unwrap();
    let error = put(&client, SHORT).await.unwrap_err();
    assert_eq!(error, PutError::UnmeetableLevel { asked: 9, there: 3 });
    assert_eq!(turns.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_wrong_clock_here_is_corrected_by_the_node_s() {
    const NODE_MS: u64 = 1_000_000;
    let nodes = Nodes::start(1);
    nodes.script(|_, put| {
        let near = put.issued.ms().abs_diff(NODE_MS) < 1000;
        if near { stored() } else { Some(Outcome::Failed(Failure::BadClock { node_ms: NODE_MS })) }
    });
    let client = nodes.client("client").await.unwrap();
    put(&client, SHORT).await.unwrap();
    let writes = nodes.writes();
    assert_ne!(writes[0].1.rid, writes[1].1.rid);
    put(&client, SHORT).await.unwrap();
    assert_eq!(nodes.writes().len(), 3);
}

#[tokio::test]
async fn a_killed_node_is_survived_and_its_address_is_named_when_all_are_gone() {
    let mut nodes = Nodes::start(3);
    let client = nodes.client("client").await.unwrap();
    for _ in 0..20 {
        put(&client, SHORT).await.unwrap();
    }
    nodes.kill(1);
    for _ in 0..20 {
        put(&client, SHORT * 2).await.unwrap();
    }
    let addresses = nodes.addresses();
    let profile = nodes.profile("client", addresses.clone());
    nodes.kill(1);
    nodes.kill(0);
    match Client::connect(profile).await {
        Err(ConnectError::Unreachable { tried }) => {
            assert_eq!(tried.iter().map(|tried| tried.address).collect::<Vec<_>>(), addresses);
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("nobody is there"),
    }
}

#[tokio::test]
async fn a_client_of_another_authority_is_told_so() {
    let nodes = Nodes::start(2);
    let error = nodes.client("stranger").await.err().unwrap();
    assert!(matches!(error, ConnectError::NotAllowed { .. }), "{error}");
    assert!(nodes.writes().is_empty());
}
