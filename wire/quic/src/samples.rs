//! Messages for this crate's tests.

use anser_model::{Key, KeyspaceId, NodeId, PartitionId, Round, Step};
use anser_proto::gossip::{Gossip, Mark};
use anser_proto::replicate::{Place, ReplicaRequest};
use anser_proto::{Address, Body, Envelope, OpId, Role, Tick};
use bytes::Bytes;

/// A replica's request of about so many bytes, from node 0 to node 0.
pub(crate) fn request(seq: u64, bytes: usize) -> Envelope {
    let place = Place { keyspace: KeyspaceId(1), partition: PartitionId(2), round: Round(3) };
    let state = Bytes::from(vec![7; bytes.saturating_sub(1)]);
    let key = Key::new(&b"k"[..]).unwrap();
    envelope(seq, Body::Replicate(ReplicaRequest::StoreState { place, key, state }))
}

/// A probe.
pub(crate) fn gossip() -> Envelope {
    envelope(1, Body::Gossip(Gossip::Probe { rumours: Vec::new(), mark: Mark::default() }))
}

/// Anything, from node 0 to node 0.
pub(crate) fn envelope(seq: u64, body: Body) -> Envelope {
    let address = Address { node: NodeId([0; 16]), role: Role::Coordinator, slot: 0 };
    Envelope {
        from: address,
        to: Address { role: Role::Replica, ..address },
        op: OpId { life: 1, seq },
        step: Step(1),
        deadline: Tick(u64::MAX),
        body,
    }
}

/// The same message with another body.
pub(crate) fn with(envelope: Envelope, body: Body) -> Envelope {
    Envelope { body, ..envelope }
}
