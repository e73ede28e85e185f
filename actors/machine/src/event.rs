//! What happens to a machine.

use crate::disk::{Feedback, Group, TableId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use anser_model::ring::Record;
use anser_model::{NodeId, PartitionId};
use anser_proto::Envelope;
use anser_proto::gossip::PeerState;
use core::net::SocketAddr;

/// What happens to a machine.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are envelopes, and boxing each would cost more than it saves"
)]
#[derive(Clone, Debug)]
pub enum Event {
    /// Another actor, of this node or of another, or a client says something.
    Message(Envelope),
    /// One of its own effects was carried out, or failed.
    Own(Feedback),
    /// Something became true at this node.
    Fact(Fact),
}

/// What became true at this node. Each fact (but [`Fact::PeerSeen`]) is a whole: the newest of a kind is all there is to
/// know, so a rebuilt machine is handed the newest of each.
#[derive(Clone, Debug)]
pub enum Fact {
    /// The node adopted a ring record; it is durable.
    RingAdopted(Arc<Record>),
    /// Whom this node knows, and how they seem.
    PeersChanged(Arc<Peers>),
    /// A shard's copies began to answer, or ceased to.
    ShardChanged {
        /// Which shard.
        shard: u32,
        /// Whether it answers.
        serving: bool,
    },
    /// Other copies of a shard are being refilled than before.
    CopiesChanged {
        /// Which shard.
        shard: u32,
        /// How its copies are.
        copies: Arc<CopiesSummary>,
    },
    /// A shard has other tables than before.
    TablesChanged {
        /// Which shard.
        shard: u32,
        /// All of them.
        tables: Arc<[TableSummary]>,
    },
    /// The node's disk has more or less room than before.
    RoomChanged(Room),
    /// A shard's log has so many records durably, since its folder was made. Not told for each.
    LogGrown {
        /// Which shard.
        shard: u32,
        /// How many; none if it can't be read back.
        records: Option<u64>,
    },
    /// How far the node may trust its data folder, by what other members remember of it.
    FolderJudged(FolderTrust),
    /// A node said hello on a connection that this one dialled to an address (a seed's, say). An event, not a whole: hosts
    /// hand it on once and never replay it.
    PeerSeen {
        /// Who answered.
        node: NodeId,
        /// Where.
        address: SocketAddr,
    },
}

/// How far a node may trust its data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderTrust {
    /// Nobody remembers it to have been further than it is: what was acknowledged is in it.
    Sound,
    /// It is an old copy: others remember more of it than it holds, or another one in its place. Nothing of it may be shown.
    Old {
        /// Whether it may be set aside and refilled: every other member is sound.
        replaceable: bool,
    },
}

/// How much room a node's disk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What it allows.
    pub level: RoomLevel,
    /// Bytes beyond the reserve.
    pub free_bytes: u64,
}

/// What the room on a disk allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoomLevel {
    /// Nothing: even deletes would take the last of the reserve, or the disk can't be written.
    Full,
    /// Deletes, so that room can be made.
    Low,
    /// Everything.
    Enough,
}

impl Default for Room {
    /// Until the disk is known: enough.
    fn default() -> Room {
        Room { level: RoomLevel::Enough, free_bytes: u64::MAX }
    }
}

/// How a shard's copies are, by the ring record that the node is at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiesSummary {
    /// How many partitions answer.
    pub serving: u32,
    /// The partitions that are being refilled. They take writes and answer nothing; what they held before is void.
    pub joining: BTreeSet<PartitionId>,
    /// How many of those have no other replica to be refilled from.
    pub alone: u32,
    /// How many of them wait for another replica that has not given its copy for long.
    pub waiting: u32,
    /// By node, how many of them wait for its copy: it can't be reached, or it does not answer for that copy either. Two that
    /// lost the same partition wait for each other.
    pub awaited: BTreeMap<NodeId, u32>,
    /// How often each group lost what it held, since the machine was built; a loss that an earlier one had not yet come to
    /// the end of counts too.
    pub losses: BTreeMap<Group, u32>,
}

/// What there is to know of a table for whoever decides what to merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSummary {
    /// Its id.
    pub id: TableId,
    /// The partitions that it holds.
    pub group: Group,
    /// How new it is: see [`StoredTable`](crate::StoredTable).
    pub age: u64,
    /// Bytes of it on disk.
    pub bytes: u64,
    /// How many entries it has.
    pub entries: u64,
    /// About how many entries of older tables of its group it makes void.
    pub voids: u64,
    /// Whether a hash tree should be deeper than its changes are told here.
    pub coarse: bool,
}

/// All peers but oneself.
pub type Peers = BTreeMap<NodeId, PeerView>;

/// How a peer seems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it seems alive.
    pub state: PeerState,
    /// Its incarnation.
    pub incarnation: u64,
}
