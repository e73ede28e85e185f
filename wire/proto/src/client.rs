//! The conversation of clients with coordinators (and, for the ring and the status, with membership).

use crate::gossip::PeerState;
use alloc::string::String;
use alloc::vec::Vec;
use anser_model::ring::{DcName, NodeName, ZoneName};
use anser_model::{Body, Dot, Hlc, Key, KeyspaceName, Level, NodeId, Rid, Step};
use bytes::Bytes;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientRequest {
    /// Put or delete. To a coordinator.
    Put(PutRequest),
    /// Get. To a coordinator.
    Get(GetRequest),
    /// The ring record and the members' addresses. To membership.
    DescribeRing,
    /// The cluster as this node sees it. To membership.
    DescribeCluster,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutRequest {
    /// Into which keyspace.
    pub keyspace: KeyspaceName,
    /// Which key.
    pub key: Key,
    /// The request's identity, the same in all attempts.
    pub rid: Rid,
    /// The client's clock at the first attempt.
    pub issued: Hlc,
    /// Milliseconds since 1970 from which it is not shown; computed once.
    pub expires: Option<u64>,
    /// The value, or a tombstone to delete.
    pub body: Body,
    /// What it settles.
    pub context: ContextArg,
    /// The level; the keyspace's own if none.
    pub level: Option<Level>,
    /// Whether an earlier attempt may have been carried out.
    pub retry: bool,
}

/// The context that a write comes with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContextArg {
    /// None given: the keyspace says what that means.
    Blind,
    /// `none`: the write asks to be a sibling.
    Sibling,
    /// A token's text.
    Token(String),
}

/// One read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetRequest {
    /// From which keyspace.
    pub keyspace: KeyspaceName,
    /// Which key.
    pub key: Key,
    /// The level; the keyspace's own if none.
    pub level: Option<Level>,
}

/// What a client is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientReply {
    /// The answering node's clock; the client's follows it.
    pub clock: Hlc,
    /// What came of the request.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The write met its level.
    Put(PutReply),
    /// The read met its level.
    Get(GetReply),
    /// The ring.
    Ring(RingReply),
    /// The cluster.
    Cluster(ClusterReply),
    /// It did not succeed; whether anything happened, the failure says.
    Failed(Failure),
}

/// A write that met its level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutReply {
    /// A token of the write: writing with it settles this write and what it settled, and no version beside it that the
    /// writer was not shown.
    pub context: String,
    /// Who holds it.
    pub receipt: PutReceipt,
}

/// Who holds a write. It claims no replica that did not acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutReceipt {
    /// The key's replicas.
    pub replicas: u8,
    /// Replicas that hold it durably. In a keyspace of durability `interval` the level may have been met by more, from
    /// memory.
    pub durable: u8,
    /// Fallbacks that hold it for a replica, apart from `durable`.
    pub fallbacks: u8,
    /// The ring step it was done at.
    pub step: Step,
    /// The level it met.
    pub level: Level,
}

/// A read that met its level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetReply {
    /// The versions shown: none (not found), one, or several that conflict.
    pub versions: Vec<ShownVersion>,
    /// A token of what was shown.
    pub context: String,
    /// Who answered.
    pub receipt: GetReceipt,
}

/// One version, as a reader is shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownVersion {
    /// Its value.
    pub value: Bytes,
    /// The dot of its write.
    pub dot: Dot,
    /// The writer's clock at the first attempt, in milliseconds since 1970.
    pub written_at_ms: u64,
    /// When it stops being shown, in milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
}

/// Who answered a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetReceipt {
    /// The key's replicas.
    pub replicas: u8,
    /// Replicas that answered before the reply was made.
    pub answered: u8,
    /// Fallbacks that answered, apart from `answered`.
    pub fallbacks: u8,
    /// The ring step it was done at.
    pub step: Step,
    /// The level it met.
    pub level: Level,
}

/// The ring, for clients that go straight to a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingReply {
    /// The newest ring record, encoded, its MAC keys blanked out: clients are not to have those.
    pub record: Bytes,
    /// Where the members listen.
    pub addresses: Vec<(NodeId, SocketAddr)>,
}

/// The cluster, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterReply {
    /// The cluster's name.
    pub name: String,
    /// Its id, as text.
    pub id: String,
    /// The answering node.
    pub seen_by: NodeId,
    /// The newest ring step.
    pub step: Step,
    /// How many partitions.
    pub partitions: u16,
    /// The members, sorted by name.
    pub members: Vec<MemberView>,
}

/// One member, as another sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its identity.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Its data centre.
    pub dc: DcName,
    /// Its zone.
    pub zone: ZoneName,
    /// Its strength.
    pub weight: u16,
    /// Where it listens, if known.
    pub address: Option<SocketAddr>,
    /// Whether it seems alive.
    pub state: PeerState,
    /// How often it has refuted rumours about itself.
    pub incarnation: u64,
    /// Partition replicas it holds by the ring.
    pub replicas: u32,
}

/// Why a request did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// No such keyspace. Nothing happened.
    UnknownKeyspace,
    /// The level can't be met by this keyspace's replicas, whoever is up. Nothing happened.
    UnmeetableLevel {
        /// Replicas asked for.
        asked: u32,
        /// Replicas of the key.
        there: u32,
    },
    /// The context token was refused; the text says why. Nothing happened.
    BadContext(String),
    /// The keyspace refuses writes without context. Nothing happened.
    ContextNeeded,
    /// Past the value limit. Nothing happened.
    ValueTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// As many siblings as a key may have. Nothing happened.
    TooManySiblings,
    /// The write's clock is too far off the node's. Nothing happened, unless at a retry.
    BadClock {
        /// The node's clock, in milliseconds since 1970.
        node_ms: u64,
    },
    /// The write is so old that its retries can no longer be told from new writes. At a first attempt nothing happened.
    TooOld,
    /// No room. Nothing happened; trying again later is safe.
    Overloaded,
    /// The node does not serve yet, or no more. Nothing happened.
    NotReady,
    /// Too few replicas are up; none was asked. Nothing happened.
    Unavailable {
        /// Answers the level needs.
        needed: u32,
        /// Replicas that seem alive.
        alive: u32,
    },
    /// The certificate does not allow it. Nothing happened.
    NotAllowed,
    /// Some replica was asked, and the level was not met in time. A write may or may not have been applied.
    Unknown {
        /// Answers so far.
        acked: u32,
        /// Answers the level needs.
        needed: u32,
    },
    /// The disks of the key's replicas are nearly full. Nothing happened.
    DiskFull,
}

/// How many bytes a body's value has.
pub fn body_bytes(body: &Body) -> usize {
    match body {
        Body::Value(value) => value.len(),
        Body::Tombstone => 0,
    }
}

impl PutRequest {
    /// About how many bytes it holds.
    pub fn payload_bytes(&self) -> usize {
        self.key.as_bytes().len() + body_bytes(&self.body)
    }
}

impl ClientRequest {
    /// About how many bytes it holds.
    pub fn payload_bytes(&self) -> usize {
        match self {
            ClientRequest::Put(put) => put.payload_bytes(),
            ClientRequest::Get(get) => get.key.as_bytes().len(),
            ClientRequest::DescribeRing | ClientRequest::DescribeCluster => 0,
        }
    }
}

impl ClientReply {
    /// About how many bytes it holds.
    pub fn payload_bytes(&self) -> usize {
        match &self.outcome {
            Outcome::Put(put) => put.context.len(),
            Outcome::Get(get) => {
                get.context.len() + get.versions.iter().map(|version| version.value.len()).sum::<usize>()
            }
            Outcome::Ring(ring) => ring.record.len(),
            Outcome::Cluster(_) | Outcome::Failed(_) => 0,
        }
    }
}

impl Failure {
    /// Whether something may have happened all the same.
    pub fn is_unknown(&self) -> bool {
        match self {
            Failure::Unknown { .. } => true,
            Failure::UnknownKeyspace
            | Failure::UnmeetableLevel { .. }
            | Failure::BadContext(_)
            | Failure::ContextNeeded
            | Failure::ValueTooLarge { .. }
            | Failure::TooManySiblings
            | Failure::DiskFull
            | Failure::BadClock { .. }
            | Failure::TooOld
            | Failure::Overloaded
            | Failure::NotReady
            | Failure::Unavailable { .. }
            | Failure::NotAllowed => false,
        }
    }
}
