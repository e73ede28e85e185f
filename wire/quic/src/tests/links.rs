//! Connections between nodes: who keeps which.

use super::harness::{Authority, Node, Settings};
use crate::Kind;
use anser_proto::hello::Purpose;

#[tokio::test]
async fn two_that_dial_each_other_at_once_keep_one_connection_and_lose_nothing() {
    let authority = Authority::new("prod");
    for _ in 0..5 {
        let (a, b) = (authority.node("a"), authority.node("b"));
        a.knows(&b);
        b.knows(&a);
        tokio::join!(a.ask(b.id, 100), b.ask(a.id, 100));
        for node in [&a, &b] {
            node.told.see(|seen| assert_eq!((seen.up.len(), seen.down.len()), (1, 0)));
        }
        tokio::join!(a.ask(b.id, 100), b.ask(a.id, 100));
        for purpose in [Purpose::Control, Purpose::Data] {
            let (ours, theirs) = (a.kept(b.id, purpose), b.kept(a.id, purpose));
            assert_eq!(ours.is_some(), theirs.is_some());
            assert_eq!(ours, theirs, "both keep that of the same dialler");
        }
    }
}

#[tokio::test]
async fn a_seed_is_learned_and_can_be_talked_to_from_both_sides() {
    let authority = Authority::new("prod");
    let (a, b) = (authority.node("a"), authority.node("b"));
    a.handle.dial_seed(b.address());
    a.handle.dial_seed(a.address());
    a.told.until(|seen| seen.learned == [(b.id, b.address())]).await;
    b.told.until(|seen| seen.learned == [(a.id, a.address())]).await;
    b.ask(a.id, 10).await;
    a.ask(b.id, 10).await;
    a.told.see(|seen| assert!(seen.up == [b.id] && !seen.up.contains(&a.id)));
}

#[tokio::test]
async fn of_two_processes_of_one_node_the_newer_is_talked_to() {
    let authority = Authority::new("prod");
    let a = authority.node("a");
    let credentials = authority.credentials(Kind::Node, "b");
    let first = Node::start(Settings::new(credentials.clone()));
    a.knows(&first);
    a.ask(first.id, 1).await;
    let mut settings = Settings::new(credentials);
    settings.boot = 2;
    let second = Node::start(settings);
    second.knows(&a);
    second.ask(a.id, 1).await;
    first.told.until(|seen| seen.down.len() == 1).await;
    a.knows(&second);
    a.handle.send(vec![a.gossip(second.id)]);
    second.told.until(|seen| seen.gossip == 1).await;
    a.ask(second.id, 10).await;
    assert!(second.told.see(|seen| seen.requests) >= 10, "the newer process answers");
}
