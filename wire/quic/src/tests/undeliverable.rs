//! What can't be sent comes back, and nothing grows meanwhile.

use super::harness::{Authority, Node, Settings, now};
use crate::{Kind, Limits, Source};
use anser_model::NodeId;
use anser_proto::{Body, Envelope, Refusal};
use std::time::{Duration, Instant};

fn refused(node: &Node, why: Refusal) -> usize {
    node.told.see(|seen| {
        let own = |(source, answer): &&(Source, Envelope)| {
            *source == Source::Own && answer.body == Body::Refused(why) && answer.to.node == node.id
        };
        seen.answers.iter().filter(own).count()
    })
}

#[tokio::test]
async fn a_request_to_an_unknown_node_comes_back_at_once() {
    let node = Authority::new("prod").node("a");
    let nobody = NodeId([9; 16]);
    node.handle.send(vec![node.request(nobody, 7, 10), node.gossip(nobody)]);
    assert_eq!(refused(&node, Refusal::NotSent), 1);
    node.told.see(|seen| {
        let (_, answer) = &seen.answers[0];
        assert_eq!((answer.op.seq, answer.from.node), (7, nobody));
    });
    assert_eq!((node.handle.stats().refused(), node.handle.stats().dropped()), (1, 1));
}

#[tokio::test]
async fn a_request_to_a_silent_node_waits_a_little_then_comes_back() {
    let authority = Authority::new("prod");
    let node = authority.node("a");
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = NodeId([9; 16]);
    node.handle.set_address(nobody, silent.local_addr().unwrap());
    let begun = Instant::now();
    let short = Envelope { deadline: now().plus_ms(50), ..node.request(nobody, 1, 10) };
    node.handle.send(vec![short, node.request(nobody, 2, 10), node.request(nobody, 3, 1 << 20)]);
    node.told.until(|seen| seen.answers.len() == 3).await;
    assert!(begun.elapsed() > Duration::from_millis(450));
    assert_eq!(node.told.see(|seen| seen.answers[0].1.op.seq), 1, "its deadline was sooner");
    assert_eq!(refused(&node, Refusal::NotSent), 3);
}

#[tokio::test]
async fn a_full_queue_refuses_as_busy_and_never_grows() {
    let authority = Authority::new("prod");
    let mut settings = Settings::new(authority.credentials(Kind::Node, "a"));
    settings.limits = Limits { lane_messages_max: 10, ..Limits::default() };
    let node = Node::start(settings);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = NodeId([9; 16]);
    node.handle.set_address(nobody, silent.local_addr().unwrap());
    node.handle.send((0..30).map(|seq| node.request(nobody, seq, 10)).collect());
    assert_eq!(refused(&node, Refusal::Busy), 20);
    node.handle.send((0..100).map(|_| node.gossip(nobody)).collect());
    assert_eq!(node.handle.stats().dropped(), 60);
    node.told.until(|seen| seen.answers.len() == 30).await;
    assert_eq!(refused(&node, Refusal::NotSent), 10);
    assert_eq!(node.handle.stats().dropped(), 100);
}

#[tokio::test]
async fn what_waits_for_a_node_is_sent_once_it_is_up() {
    let authority = Authority::new("prod");
    let node = authority.node("a");
    let late = authority.credentials(Kind::Node, "b");
    let address = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let id = late.identity().node;
    node.handle.set_address(id, address);
    node.handle.send(vec![node.request(id, 1, 10)]);
    let mut settings = Settings::new(late);
    settings.quic = address;
    let late = Node::start(settings);
    node.told.until(|seen| seen.answers.len() == 1).await;
    node.told.see(|seen| assert_eq!(seen.answers[0].0, Source::Node(late.id)));
}
