//! Nothing grows with what others say.

use super::harness::{Cluster, address, addresses_slot, config, member, membership, probe};
use super::steps::{Alone, rumour, said};
use crate::chatter::RUMOURS_PER_EXCHANGE_MAX;
use crate::detector::PROBES_MAX;
use crate::peers::STRANGERS_MAX;
use anser_machine::Effect;
use anser_model::{NodeId, Step};
use anser_proto::frame::{self, DATAGRAM_BYTES_MAX, LANE_FRAME_BYTES_MAX};
use anser_proto::gossip::{Gossip, PeerState, RUMOURS_PER_DATAGRAM_MAX, Rumour};
use anser_proto::{Body, Class, Envelope, Tick};
use bytes::BytesMut;
use std::net::SocketAddr;

/// The largest rumour there is.
fn large(n: u32) -> Rumour {
    let mut node = [0xff; 16];
    node[..4].copy_from_slice(&n.to_be_bytes());
    let address = SocketAddr::from(([0xffff; 8], 0xffff));
    Rumour { node: NodeId(node), address, incarnation: u64::MAX / 2, state: PeerState::Suspect }
}

fn assert_fits(effects: &[Effect]) {
    for effect in effects {
        let Effect::Send(envelope) = effect else { continue };
        let mut frame = BytesMut::new();
        frame::encode(envelope, Tick(0), &mut frame).unwrap();
        let limit = match envelope.body.class() {
            Class::Datagram => DATAGRAM_BYTES_MAX,
            Class::Control | Class::Data => LANE_FRAME_BYTES_MAX,
        };
        assert!(frame.len() <= limit, "{} bytes of {}", frame.len(), envelope.body.name());
    }
}

#[test]
fn a_flood_of_rumours_fills_no_table() {
    let mut alone = Alone::speaking(0);
    for i in 0..200 {
        let rumours: Vec<_> = (i * 100..i * 100 + 800).map(large).collect();
        let effects = alone.hear(1, Gossip::PushPull { rumours });
        assert!(effects.len() <= 10, "{} effects of one message", effects.len());
        assert_fits(&effects);
        assert_fits(&alone.run_ms(20));
    }
    assert_eq!(alone.machine.peers.len(), STRANGERS_MAX);
    assert!(alone.hear(2, probe(vec![])).is_empty(), "no room for one more");
    let effects = alone.run_ms(5000);
    assert_fits(&effects);
    let fullest = said(&effects).into_iter().filter_map(|(_, _, gossip)| match gossip {
        Gossip::Probe { rumours, .. } => Some(rumours.len()),
        _ => None,
    });
    assert_eq!(fullest.max(), Some(RUMOURS_PER_DATAGRAM_MAX));
}

#[test]
fn rumours_of_strangers_and_of_nowhere_are_nothing() {
    let mut alone = Alone::speaking(3);
    let nowhere = Rumour { address: SocketAddr::from(([0; 4], 80)), ..rumour(2, 9, PeerState::Alive) };
    let no_port = Rumour { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..nowhere };
    let beyond = Rumour { incarnation: u64::MAX, ..rumour(2, 1, PeerState::Dead) };
    let of_me = Rumour { incarnation: u64::MAX, ..rumour(0, 1, PeerState::Dead) };
    let rumours = vec![large(1), nowhere, no_port, beyond, of_me, rumour(7, 3, PeerState::Alive)];
    let effects = alone.hear(1, probe(rumours));
    assert_eq!(effects.len(), 1, "its answer");
    assert!(alone.hear(7, probe(vec![])).is_empty());
}

#[test]
fn a_flood_of_relayed_probes_ends_at_the_limit() {
    let mut alone = Alone::speaking(3);
    let target = member(2).node;
    let passed_on = |alone: &mut Alone| {
        let relays =
            (0..10 * PROBES_MAX).map(|_| alone.hear(1, Gossip::ProbeFor { target, rumours: vec![] }));
        relays.map(|effects| said(&effects).len()).sum::<usize>()
    };
    assert!(passed_on(&mut alone) <= PROBES_MAX);
    alone.run_ms(1000);
    assert!(passed_on(&mut alone) > 0, "and is over when they are");
}

#[test]
fn an_exchange_in_a_large_cluster_fits_a_lane() {
    let mut alone = Alone { machine: crate::Membership::new(config(0, 1)), now_ms: 1000 };
    alone.timeout();
    let ring = crate::slots::encode_ring(&[super::harness::genesis(700).encode()]);
    let peers: Vec<_> = (1..700).map(|n| (member(n).node, large(0).address)).collect();
    use anser_machine::{Feedback, SlotName};
    alone.own(Feedback::Loaded { slot: SlotName::Ring, bytes: Some(ring) });
    alone.own(Feedback::Loaded { slot: SlotName::Incarnation, bytes: None });
    let bytes = Some(addresses_slot(&peers));
    alone.own(Feedback::Loaded { slot: SlotName::Peers, bytes });
    alone.own(Feedback::Saved { slot: SlotName::Incarnation });
    let effects = alone.hear_at(1, Step(1), Gossip::PushPull { rumours: vec![] });
    assert_fits(&effects);
    let Gossip::PushPullReply { rumours } = &said(&effects)[0].2 else { panic!("no reply") };
    assert_eq!(rumours.len(), RUMOURS_PER_EXCHANGE_MAX);
}

#[test]
fn a_liar_in_the_cluster_kills_nobody_who_speaks_up() {
    let mut cluster = Cluster::founded(5, 11);
    let liar = cluster.ids[4];
    for round in 0..200 {
        let to = cluster.ids[round % 4];
        let victims = cluster.ids[..4].iter().enumerate().filter(|(_, id)| **id != to);
        let lie = |(n, id): (usize, &NodeId)| Rumour {
            node: *id,
            address: address(n),
            incarnation: cluster.hosts[&to].peers[id].incarnation,
            state: PeerState::Dead,
        };
        let rumours = victims.map(lie).collect();
        let envelope = Envelope {
            from: membership(liar),
            to: membership(to),
            op: Default::default(),
            step: Step(1),
            deadline: Tick(u64::MAX),
            body: Body::Gossip(probe(rumours)),
        };
        cluster.step(to, Some(anser_machine::Event::Message(envelope)));
        cluster.run_ms(100);
    }
    assert_eq!(cluster.turns_to(PeerState::Dead, 0), 0);
}
