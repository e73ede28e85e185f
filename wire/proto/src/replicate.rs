//! The conversation of coordinators with replicas: mint, store, read; and of a copy that is being refilled with the others.
//!
//! A key's state travels as the encoded bytes of [`anser_model::KeyState`]: it is encoded once, where it is minted.

use alloc::vec::Vec;
use anser_model::state::Write;
use anser_model::{Key, KeyspaceId, PartitionId, Round};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Where a key is, and the round its operation began in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The key's keyspace.
    pub keyspace: KeyspaceId,
    /// The key's partition.
    pub partition: PartitionId,
    /// The partition's round, as the sender's node had it when the operation began.
    pub round: Round,
}

/// What a coordinator, or another copy, asks of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaRequest {
    /// Mint a version. Only to a copy on the coordinator's own node. Two answers: `Minted` at once, then `Durable`
    /// or `Held`.
    MintVersion {
        /// Where.
        place: Place,
        /// Which key.
        key: Key,
        /// What to write.
        write: Write,
    },
    /// Merge a state in and make it durable. Answer: `Durable` or `Held`.
    StoreState {
        /// Where.
        place: Place,
        /// Which key.
        key: Key,
        /// The encoded state.
        state: Bytes,
    },
    /// Read the key's state. Answer: `State` or `Digest`, once what it shows is durable at this copy; at once in a
    /// keyspace of durability `interval`.
    ReadState {
        /// Where.
        place: Place,
        /// Which key.
        key: Key,
        /// All of it, or only its digest.
        want: Want,
    },
    /// Read a part of a partition, in order. Of a copy only that is being refilled. Answer: `Page`, once what it shows is
    /// durable at this copy.
    ReadPage {
        /// Which partition, of all keyspaces.
        partition: PartitionId,
        /// Its round, as the asking copy has it.
        round: Round,
        /// Where the part before it ended; none for the first one.
        after: Option<PagePlace>,
    },
}

/// A place in a partition's order: by keyspace, then the key's hash, then key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagePlace {
    /// The keyspace.
    pub keyspace: KeyspaceId,
    /// The key.
    pub key: Key,
}

/// A key of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageEntry {
    /// Which key.
    pub place: PagePlace,
    /// Its encoded state.
    pub state: Bytes,
}

/// How much of a state is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// The whole state.
    Full,
    /// The hash of its sorted live dots.
    Digest,
}

/// What a copy answers. Refusals come as [`crate::Refusal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaReply {
    /// The version was minted (or had been, for a retry) in memory; `Durable` or `Held` follows. Not an acknowledgement.
    Minted {
        /// The key's whole state, to be replicated.
        state: Bytes,
        /// The partition's round at the copy.
        round: Round,
    },
    /// What was minted or stored is durable.
    Durable,
    /// The key's state; that of a key never seen is the empty state.
    State {
        /// The encoded state.
        state: Bytes,
        /// The partition's round at the copy.
        round: Round,
    },
    /// The state's digest.
    Digest {
        /// As [`anser_model::KeyState::digest`].
        digest: u64,
        /// The partition's round at the copy.
        round: Round,
    },
    /// A part of a partition.
    Page {
        /// Its keys, in order.
        entries: Vec<PageEntry>,
        /// Whether the partition has more behind the last of them.
        more: bool,
    },
    /// What was minted or stored is in the copy's memory, and its sync has not ended. It acknowledges in a keyspace of
    /// durability `interval` alone, and nobody says it elsewhere.
    Held,
}

impl PagePlace {
    /// About how many bytes it holds.
    fn bytes(&self) -> usize {
        size_of::<KeyspaceId>() + self.key.as_bytes().len()
    }
}

impl ReplicaRequest {
    /// The partition that it is about.
    pub fn partition(&self) -> PartitionId {
        match self {
            ReplicaRequest::MintVersion { place, .. }
            | ReplicaRequest::StoreState { place, .. }
            | ReplicaRequest::ReadState { place, .. } => place.partition,
            ReplicaRequest::ReadPage { partition, .. } => *partition,
        }
    }

    /// About how many bytes it holds.
    pub fn payload_bytes(&self) -> usize {
        match self {
            ReplicaRequest::MintVersion { key, write, .. } => {
                key.as_bytes().len() + crate::client::body_bytes(&write.body)
            }
            ReplicaRequest::StoreState { key, state, .. } => key.as_bytes().len() + state.len(),
            ReplicaRequest::ReadState { key, .. } => key.as_bytes().len(),
            ReplicaRequest::ReadPage { after, .. } => after.as_ref().map_or(0, PagePlace::bytes),
        }
    }
}

impl ReplicaReply {
    /// About how many bytes it holds.
    pub fn payload_bytes(&self) -> usize {
        match self {
            ReplicaReply::Minted { state, .. } | ReplicaReply::State { state, .. } => state.len(),
            ReplicaReply::Durable | ReplicaReply::Held | ReplicaReply::Digest { .. } => 0,
            ReplicaReply::Page { entries, .. } => {
                entries.iter().map(|entry| entry.place.bytes() + entry.state.len()).sum()
            }
        }
    }
}
