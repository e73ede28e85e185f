//! What travels between two nodes, and how.

use super::harness::{Authority, Node, PATIENCE};
use crate::stats::{Direction, Traffic};
use anser_proto::{Body, Refusal, Role};

async fn pair() -> (Node, Node) {
    let authority = Authority::new("prod");
    let (a, b) = (authority.node("a"), authority.node("b"));
    a.knows(&b);
    (a, b)
}

#[tokio::test]
async fn ten_thousand_pipelined_requests_are_each_answered_once() {
    let (a, b) = pair().await;
    a.ask(b.id, 1).await;
    for _ in 0..5 {
        a.ask(b.id, 2000).await;
    }
    let batches = b.told.see(|seen| (seen.requests, seen.batches));
    assert_eq!(batches.0, 10_001);
    assert!(batches.1 < 2000, "one call for all that a wakeup brings: {batches:?}");
    assert_eq!(a.handle.stats().messages(Traffic::Data, Direction::Sent), 10_001);
    assert_eq!(a.handle.stats().messages(Traffic::Data, Direction::Received), 10_001);
    assert!(!a.handle.rtts().is_empty());
}

#[tokio::test]
async fn large_messages_go_by_the_bulk_connection_and_arrive_whole() {
    let (a, b) = pair().await;
    let sizes = [31 * 1024, 32 * 1024, 33 * 1024, 1 << 20, 16 << 20];
    let batch = sizes.iter().zip(0..).map(|(bytes, seq)| a.request(b.id, seq, *bytes)).collect();
    a.handle.send(batch);
    a.told.until(|seen| seen.answers.len() == sizes.len()).await;
    assert!(b.handle.stats().messages(Traffic::Bulk, Direction::Received) >= 3);
    assert!(b.handle.stats().bytes(Traffic::Bulk, Direction::Received) > 17 << 20);
    assert!(b.handle.stats().messages(Traffic::Data, Direction::Received) >= 1);
}

#[tokio::test]
async fn gossip_waits_for_the_connection_once_then_goes_in_datagrams() {
    let (a, b) = pair().await;
    a.handle.send(vec![a.gossip(b.id)]);
    b.told.until(|seen| seen.gossip == 1).await;
    a.told.until(|seen| seen.up == [b.id]).await;
    for _ in 0..20 {
        a.handle.send(vec![a.gossip(b.id)]);
    }
    b.told.until(|seen| seen.gossip == 21).await;
    assert_eq!(b.handle.stats().messages(Traffic::Datagram, Direction::Received), 20);
    assert_eq!(b.told.see(|seen| seen.learned[0]), (a.id, a.address()));
    b.handle.send(vec![b.gossip(a.id)]);
    a.told.until(|seen| seen.gossip == 1).await;
}

#[tokio::test]
async fn a_node_may_not_speak_as_a_client_or_to_one() {
    let (a, b) = pair().await;
    let client = super::harness::put(b"v".to_vec());
    let mut to_session = a.request(b.id, 2, 10);
    to_session.to.role = Role::Session;
    a.handle.send(vec![crate::samples::with(a.request(b.id, 1, 10), client), to_session]);
    a.told.until(|seen| seen.answers.len() == 2).await;
    a.told.see(|seen| {
        assert!(seen.answers.iter().all(|(_, answer)| answer.body == Body::Refused(Refusal::NotAllowed)));
    });
    assert_eq!(b.told.see(|seen| seen.requests), 0);
}

#[tokio::test]
async fn a_frame_says_nothing_about_who_sent_it() {
    let (a, b) = pair().await;
    let mut forged = a.request(b.id, 1, 10);
    forged.from.node = b.id;
    a.handle.send(vec![forged]);
    a.told.until(|seen| seen.answers.len() == 1).await;
    assert_eq!(a.told.see(|seen| seen.answers[0].1.to.node), a.id, "answered to the sender's certificate");
}

#[tokio::test]
async fn closing_sends_what_is_queued_and_tells_the_peers() {
    let (a, b) = pair().await;
    a.ask(b.id, 1).await;
    a.handle.send((0..5000).map(|seq| a.request(b.id, seq, 200)).collect());
    tokio::time::timeout(PATIENCE, a.network.close()).await.unwrap();
    b.told.until(|seen| seen.requests == 5001).await;
    b.told.until(|seen| seen.down == [a.id]).await;
}
