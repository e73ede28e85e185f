//! The conversation of coordinators with replicas: mint, store, read.
//!
//! A key's state travels as the encoded bytes of [`anser_model::KeyState`]: it is encoded once, where it is minted.

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

/// What a coordinator asks of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaRequest {
    /// Mint a version. Only to a copy on the coordinator's own node. Two answers: `Minted` at once, then `Durable`.
    MintVersion {
        /// Where.
        place: Place,
        /// Which key.
        key: Key,
        /// What to write.
        write: Write,
    },
    /// Merge a state in and make it durable. Answer: `Durable`.
    StoreState {
        /// Where.
        place: Place,
        /// Which key.
        key: Key,
        /// The encoded state.
        state: Bytes,
    },
    /// Read the key's state. Answer: `State` or `Digest`, once what it shows is durable at this copy.
    ReadState {
        /// Where.
        place: Place,
        /// Which key.
        key: Key,
        /// All of it, or only its digest.
        want: Want,
    },
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
    /// The version was minted (or had been, for a retry) in memory; `Durable` follows. Not an acknowledgement.
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
}

impl ReplicaRequest {
    /// Where the key is.
    pub fn place(&self) -> &Place {
        match self {
            ReplicaRequest::MintVersion { place, .. }
            | ReplicaRequest::StoreState { place, .. }
            | ReplicaRequest::ReadState { place, .. } => place,
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
        }
    }
}

impl ReplicaReply {
    /// About how many bytes it holds.
    pub fn payload_bytes(&self) -> usize {
        match self {
            ReplicaReply::Minted { state, .. } | ReplicaReply::State { state, .. } => state.len(),
            ReplicaReply::Durable | ReplicaReply::Digest { .. } => 0,
        }
    }
}
