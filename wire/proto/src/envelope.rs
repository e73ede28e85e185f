//! The envelope: one message between two actors.
//!
//! Keeps: `from` is stamped by the receiver from the sender's certificate, never believed from a frame.

use crate::address::Address;
use crate::{admin, client, gossip, replicate};
use anser_model::{Round, Step};
use serde::{Deserialize, Serialize};

/// Monotonic time of one process, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick so many microseconds later.
    #[must_use]
    pub fn plus_us(self, us: u64) -> Tick {
        Tick(self.0.saturating_add(us))
    }

    /// The tick so many milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Tick {
        self.plus_us(ms.saturating_mul(1000))
    }

    /// Microseconds since `earlier`; 0 if that is later.
    pub fn since_us(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Which operation of the asking machine a message belongs to; a reply carries the request's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpId {
    /// How often the asking machine was rebuilt: late answers to a predecessor are dropped.
    pub life: u32,
    /// Its own count.
    pub seq: u64,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who sent it.
    pub from: Address,
    /// Who it is for.
    pub to: Address,
    /// The operation it belongs to.
    pub op: OpId,
    /// The sender's step in the ring chain.
    pub step: Step,
    /// When the asker stops waiting.
    pub deadline: Tick,
    /// What it says.
    pub body: Body,
}

/// What a message says: one variant a conversation and direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Failure detection and rumours.
    Gossip(gossip::Gossip),
    /// Asks a replica.
    Replicate(replicate::ReplicaRequest),
    /// A replica answers.
    Replicated(replicate::ReplicaReply),
    /// A coordinator passes a client's write on to the coordinator beside the minting copy.
    ForwardPut(client::PutRequest),
    /// Its answer.
    ForwardPutReply(client::ClientReply),
    /// A client asks.
    Client(client::ClientRequest),
    /// A client is answered.
    ClientReply(client::ClientReply),
    /// An operator asks.
    Admin(admin::AdminRequest),
    /// An operator is answered.
    AdminReply(admin::AdminReply),
    /// The answer to any request that was not carried out.
    Refused(Refusal),
}

/// Why a request was not carried out (or, for `Crashed` only, may not have been).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No room to take it in. Nothing happened.
    Busy,
    /// It never left this node. Nothing happened.
    NotSent,
    /// Not allowed to this sender. Nothing happened.
    NotAllowed,
    /// The receiver is at this later step: fetch the records and ask again. Nothing happened.
    StaleStep(Step),
    /// The receiver has not adopted the sender's step yet; it does so, ask again. Nothing happened.
    FutureStep(Step),
    /// The partition is at this later round: reload and ask again. Nothing happened.
    StaleRound(Round),
    /// The copy does not answer yet (it is being read back or refilled), or never was one. Nothing happened.
    NotServing,
    /// The write's clock is at or below the partition's floor. Nothing happened.
    TooOld,
    /// The write's clock is too far ahead of the receiver's. Nothing happened.
    BadClock,
    /// The key has as many siblings as it may. Nothing happened.
    TooManySiblings,
    /// The disk failed and the store stopped, or a stored block failed its checksum. Nothing is acknowledged.
    DiskFailed,
    /// The actor was rebuilt while it worked on this: it may or may not have happened.
    Crashed,
    /// The copy's disk is nearly full, and takes no more of this. Nothing happened.
    DiskFull,
}

/// How a message travels between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// In a datagram; its loss is a signal.
    Datagram,
    /// On the control connection's lane.
    Control,
    /// On a data lane; over [`crate::frame::LANE_FRAME_BYTES_MAX`], on the bulk endpoint.
    Data,
}

impl Body {
    /// How it travels.
    pub fn class(&self) -> Class {
        match self {
            Body::Gossip(gossip) if gossip.fits_datagram() => Class::Datagram,
            Body::Gossip(_) | Body::Admin(_) | Body::AdminReply(_) => Class::Control,
            Body::Replicate(_)
            | Body::Replicated(_)
            | Body::ForwardPut(_)
            | Body::ForwardPutReply(_)
            | Body::Client(_)
            | Body::ClientReply(_)
            | Body::Refused(_) => Class::Data,
        }
    }

    /// Whether it asks for an answer. Requests need admission; everything else is never refused.
    pub fn is_request(&self) -> bool {
        match self {
            Body::Replicate(_) | Body::ForwardPut(_) | Body::Client(_) | Body::Admin(_) => true,
            Body::Gossip(_)
            | Body::Replicated(_)
            | Body::ForwardPutReply(_)
            | Body::ClientReply(_)
            | Body::AdminReply(_)
            | Body::Refused(_) => false,
        }
    }

    /// Its kind, as metrics have it: a closed set.
    pub fn name(&self) -> &'static str {
        match self {
            Body::Gossip(_) => "gossip",
            Body::Replicate(_) => "replicate",
            Body::Replicated(_) => "replicated",
            Body::ForwardPut(_) => "forward_put",
            Body::ForwardPutReply(_) => "forward_put_reply",
            Body::Client(_) => "client",
            Body::ClientReply(_) => "client_reply",
            Body::Admin(_) => "admin",
            Body::AdminReply(_) => "admin_reply",
            Body::Refused(_) => "refused",
        }
    }

    /// About how many bytes it holds in memory beyond its own size: what admission counts.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Body::Replicate(request) => request.payload_bytes(),
            Body::Replicated(reply) => reply.payload_bytes(),
            Body::ForwardPut(put) => put.payload_bytes(),
            Body::Client(request) => request.payload_bytes(),
            Body::ClientReply(reply) | Body::ForwardPutReply(reply) => reply.payload_bytes(),
            Body::Gossip(_) | Body::Admin(_) | Body::AdminReply(_) | Body::Refused(_) => 0,
        }
    }
}
