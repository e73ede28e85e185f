//! The catalogue: keyspaces and their properties, the same at every node because the ring chain decides them.

use crate::id::KeyspaceId;
use crate::key::KeyspaceName;
use crate::level::Level;
use crate::ring::roster::DcName;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// How many replicas, where. A distinct setting is a placement profile of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Replicas {
    /// So many in every data centre, or as many as it has members.
    PerDc(u8),
    /// So many in each of these, sorted by name.
    Table(Vec<(DcName, u8)>),
}

/// Whether a fallback may stand in for a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuorumKind {
    /// It may, and the receipt says so.
    Sloppy,
    /// It never counts.
    Strict,
}

/// What concurrent writes leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Conflicts {
    /// All of them, for the client to settle.
    Siblings,
    /// The one with the greatest stamp.
    LastWriteWins,
}

/// When a copy acknowledges a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// Once it is on disk. What a reader is shown is on disk too.
    Fsync,
    /// Once it is in memory; on disk within a second. A crash may take back what was acknowledged or shown since the last
    /// sync. Not with [`QuorumKind::Strict`].
    Interval,
}

/// What a write without context means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blind {
    /// It supersedes what its minting replica holds at that moment.
    Supersede,
    /// It becomes a sibling.
    Sibling,
    /// It is refused.
    Reject,
}

/// One keyspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyspace {
    /// Its identity.
    pub id: KeyspaceId,
    /// Its name.
    pub name: KeyspaceName,
    /// Its replicas.
    pub replicas: Replicas,
    /// The level of reads that name none.
    pub read: Level,
    /// The level of writes that name none.
    pub write: Level,
    /// Sloppy or strict.
    pub quorum: QuorumKind,
    /// Siblings or last write wins.
    pub conflicts: Conflicts,
    /// When a write counts.
    pub durability: Durability,
    /// What a write without context means.
    pub blind: Blind,
}

impl Keyspace {
    /// The keyspace that a cluster begins with.
    pub fn first() -> Keyspace {
        Keyspace {
            id: KeyspaceId(1),
            name: KeyspaceName::default(),
            replicas: Replicas::PerDc(3),
            read: Level::Quorum,
            write: Level::Quorum,
            quorum: QuorumKind::Sloppy,
            conflicts: Conflicts::Siblings,
            durability: Durability::Fsync,
            blind: Blind::Supersede,
        }
    }
}
