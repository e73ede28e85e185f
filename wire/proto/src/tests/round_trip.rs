//! Whatever is sent comes back as it went; the sender is whom the certificate names, and a deadline is time left.

use super::samples::{bodies, envelope, node};
use crate::client::{ClientRequest, ContextArg, PutRequest};
use crate::frame::{self, DATAGRAM_BYTES_MAX, FRAME_VERSION, FrameError, LENGTH_BYTES};
use crate::gossip::{Gossip, Heard, Mark, PeerState, RUMOURS_PER_DATAGRAM_MAX, Rumour, Trust};
use crate::replicate::{Place, ReplicaRequest};
use crate::{Address, Body, Class, Envelope, OpId, Role, Tick};
use anser_model::{
    FolderId, Hlc, Key, KeyspaceId, KeyspaceName, Level, NodeId, PartitionId, Rid, Round, Step,
};
use bytes::BytesMut;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};

fn rumour() -> impl Strategy<Value = Rumour> {
    let state = prop_oneof![Just(PeerState::Alive), Just(PeerState::Suspect), Just(PeerState::Dead)];
    (any::<[u8; 16]>(), any::<IpAddr>(), any::<u16>(), any::<u64>(), state).prop_map(
        |(id, ip, port, incarnation, state)| Rumour {
            node: NodeId(id),
            address: SocketAddr::new(ip, port),
            incarnation,
            state,
        },
    )
}

fn key() -> impl Strategy<Value = Key> {
    prop::collection::vec(any::<u8>(), 1..300).prop_map(|bytes| Key::new(bytes).unwrap())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..2000)
}

fn put() -> impl Strategy<Value = PutRequest> {
    let body = prop_oneof![
        Just(anser_model::Body::Tombstone),
        bytes().prop_map(|value| anser_model::Body::Value(value.into()))
    ];
    let context = prop_oneof![
        Just(ContextArg::Blind),
        Just(ContextArg::Sibling),
        any::<String>().prop_map(ContextArg::Token)
    ];
    let level = prop_oneof![Just(None), any::<u8>().prop_map(|count| Some(Level::Count(count)))];
    let rid = (any::<u128>(), any::<u64>()).prop_map(|(writer, seq)| Rid { writer, seq });
    ("[a-z0-9_-]{1,64}", key(), rid, any::<u64>(), any::<Option<u64>>(), body, context, level, any::<bool>())
        .prop_map(|(keyspace, key, rid, issued, expires, body, context, level, retry)| PutRequest {
            keyspace: KeyspaceName::new(keyspace).unwrap(),
            key,
            rid,
            issued: Hlc(issued),
            expires,
            body,
            context,
            level,
            retry,
        })
}

fn place() -> impl Strategy<Value = Place> {
    (any::<u32>(), any::<u16>(), any::<u64>()).prop_map(|(keyspace, partition, round)| Place {
        keyspace: KeyspaceId(keyspace),
        partition: PartitionId(partition),
        round: Round(round),
    })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        prop::sample::select(bodies()),
        prop::collection::vec(rumour(), 0..40)
            .prop_map(|rumours| Body::Gossip(Gossip::Probe { rumours, mark: Mark::default() })),
        put().prop_map(Body::ForwardPut),
        put().prop_map(|put| Body::Client(ClientRequest::Put(put))),
        (place(), key(), bytes()).prop_map(|(place, key, state)| {
            Body::Replicate(ReplicaRequest::StoreState { place, key, state: state.into() })
        }),
    ]
}

fn address() -> impl Strategy<Value = Address> {
    let role = prop::sample::select(Role::ALL.to_vec());
    (any::<[u8; 16]>(), role, any::<u32>()).prop_map(|(id, role, slot)| Address {
        node: NodeId(id),
        role,
        slot,
    })
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    (address(), address(), any::<(u32, u64)>(), any::<u64>(), any::<u64>(), body()).prop_map(
        |(from, to, (life, seq), step, deadline, body)| Envelope {
            from,
            to,
            op: OpId { life, seq },
            step: Step(step),
            deadline: Tick(deadline),
            body,
        },
    )
}

proptest! {
    #[test]
    fn envelopes_come_back_as_they_went(sent in any_envelope(), now in any::<u64>(), later in any::<u64>()) {
        let mut out = BytesMut::new();
        frame::encode(&sent, Tick(now), &mut out).unwrap();
        let length = u32::from_le_bytes(out[..LENGTH_BYTES].try_into().unwrap());
        prop_assert_eq!(length as usize, out.len() - LENGTH_BYTES);
        let read = frame::decode(&out[LENGTH_BYTES..], sent.from.node, sent.to.node, Tick(later)).unwrap();
        let left_us = sent.deadline.since_us(Tick(now));
        prop_assert_eq!(read, Envelope { deadline: Tick(later).plus_us(left_us), ..sent });
    }

    #[test]
    fn frames_follow_each_other_in_one_buffer(sent in prop::collection::vec(any_envelope(), 1..8)) {
        let mut out = BytesMut::new();
        let mut ends = vec![0];
        for envelope in &sent {
            frame::encode(envelope, Tick(0), &mut out).unwrap();
            ends.push(out.len());
        }
        for (envelope, span) in sent.iter().zip(ends.windows(2)) {
            let content = &out[span[0] + LENGTH_BYTES..span[1]];
            let read = frame::decode(content, envelope.from.node, envelope.to.node, Tick(0)).unwrap();
            prop_assert_eq!(&read, envelope);
        }
    }
}

#[test]
fn the_nodes_are_not_read_from_the_frame() {
    let mut out = BytesMut::new();
    frame::encode(&envelope(bodies().remove(0)), Tick(0), &mut out).unwrap();
    let read = frame::decode(&out[LENGTH_BYTES..], node(8), node(9), Tick(0)).unwrap();
    assert_eq!((read.from.node, read.to.node), (node(8), node(9)));
}

#[test]
fn as_many_rumours_as_go_with_a_probe_fit_a_datagram() {
    let worst = Rumour {
        node: node(255),
        address: "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap(),
        incarnation: u64::MAX,
        state: PeerState::Dead,
    };
    let rumours = vec![worst; RUMOURS_PER_DATAGRAM_MAX];
    let mark = Mark { folder: FolderId([255; 16]), records: u64::MAX, trust: Trust::Old };
    for gossip in [
        Gossip::Probe { rumours: rumours.clone(), mark },
        Gossip::ProbeAck { rumours: rumours.clone(), mark, heard: Heard::Records(u64::MAX) },
        Gossip::ProbeFor { target: node(1), rumours: rumours.clone() },
        Gossip::ProbeForAck { target: node(1), rumours: rumours.clone() },
    ] {
        let body = Body::Gossip(gossip);
        assert_eq!(body.class(), Class::Datagram);
        let worst = Address { node: node(1), role: Role::Session, slot: u32::MAX };
        let sent = Envelope {
            from: worst,
            to: worst,
            op: OpId { life: u32::MAX, seq: u64::MAX },
            step: Step(u64::MAX),
            deadline: Tick(u64::MAX),
            body,
        };
        let mut out = BytesMut::new();
        frame::encode(&sent, Tick(0), &mut out).unwrap();
        assert!(out.len() <= DATAGRAM_BYTES_MAX, "{} bytes", out.len());
    }
    let many = Body::Gossip(Gossip::Probe { rumours: vec![worst; RUMOURS_PER_DATAGRAM_MAX + 1], mark });
    assert_eq!(many.class(), Class::Control);
}

#[test]
fn other_versions_and_leftovers_are_refused() {
    let mut out = BytesMut::new();
    frame::encode(&envelope(bodies().remove(0)), Tick(0), &mut out).unwrap();
    let content = &mut out[LENGTH_BYTES..];
    let decode = |content: &[u8]| frame::decode(content, node(1), node(2), Tick(0)).err();
    content[0] = FRAME_VERSION + 1;
    assert_eq!(decode(content), Some(FrameError::Version(FRAME_VERSION + 1)));
    content[0] = FRAME_VERSION;
    let with_leftover: Vec<u8> = content.iter().copied().chain([0]).collect();
    assert_eq!(decode(&with_leftover), Some(FrameError::Malformed));
    assert_eq!(decode(&content[..content.len() - 1]), Some(FrameError::Malformed));
    assert_eq!(decode(&[]), Some(FrameError::Empty));
}
