//! Who a message is from and for.

use anser_model::NodeId;
use core::fmt;
use serde::{Deserialize, Serialize};

/// What an actor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Failure detection, gossip, and the ring chain's state.
    Membership,
    /// Quorums of puts, gets and deletes.
    Coordinator,
    /// A shard's copies. The slot is a partition: the receiving node knows which shard has it.
    Replica,
    /// Hinted handoff.
    Hints,
    /// Anti-entropy.
    Syncer,
    /// Compaction of tables.
    Compactor,
    /// A client's or operator's connection; the slot is the session's number.
    Session,
}

impl Role {
    /// Every role, in order.
    pub const ALL: [Role; 7] = [
        Role::Membership,
        Role::Coordinator,
        Role::Replica,
        Role::Hints,
        Role::Syncer,
        Role::Compactor,
        Role::Session,
    ];

    /// The name, as metrics and logs have it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Membership => "membership",
            Role::Coordinator => "coordinator",
            Role::Replica => "replica",
            Role::Hints => "hints",
            Role::Syncer => "syncer",
            Role::Compactor => "compactor",
            Role::Session => "session",
        }
    }
}

/// An actor's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The node it runs on.
    pub node: NodeId,
    /// What it does.
    pub role: Role,
    /// Which one of its role: 0 where there is one, a partition for replicas, a session's number for sessions.
    pub slot: u32,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.node.short(), self.role.name(), self.slot)
    }
}
