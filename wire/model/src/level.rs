//! Quorum arithmetic: what a consistency level needs of a key's replicas, and whether it has it.
//!
//! A level counts the key's own replicas. It is taken on each active placement on its own: members of one never stand
//! in for members of the other.

use crate::id::NodeId;
use crate::ring::DcName;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// A consistency level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Level {
    /// That many replicas, at least 1 (`one`, `two`, `three`, or a plain number by `--w` and `--r`).
    Count(u8),
    /// A majority of all replicas.
    Quorum,
    /// Every replica.
    All,
    /// One replica of the coordinator's data centre.
    LocalOne,
    /// A majority of the replicas of the coordinator's data centre.
    LocalQuorum,
    /// A majority in every data centre that has replicas.
    EachQuorum,
}

/// A text that names no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such consistency level; there are one, two, three, quorum, all, local_one, local_quorum, each_quorum"
)]
pub struct BadLevel;

/// A level that these replicas can never meet. Nothing was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmeetable {
    /// More replicas asked for than there are (or zero).
    #[error("{asked} replicas were asked for; the keyspace has {there}")]
    Count {
        /// Asked for.
        asked: usize,
        /// Replicas of the key.
        there: usize,
    },
    /// A local level in a data centre that holds no replica of the key.
    #[error("the coordinator's data centre holds no replica of this keyspace")]
    NoneLocal,
}

/// A replica, as quorums see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The replica's node.
    pub node: NodeId,
    /// Where it is.
    pub dc: DcName,
}

/// What a level needs of one placement's replicas: so many of each group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    groups: Vec<(Vec<NodeId>, usize)>,
}

impl Level {
    /// What the level needs of these replicas, asked from data centre `local`.
    pub fn need(self, replicas: &[Site], local: &DcName) -> Result<Need, Unmeetable> {
        todo!()
    }
}

impl Need {
    /// Whether these nodes' answers are enough. Each counts once, strangers not at all.
    pub fn met_by(&self, answered: &[NodeId]) -> bool {
        todo!()
    }

    /// Whether it can still be met if these nodes never answer.
    pub fn possible_without(&self, silent: &[NodeId]) -> bool {
        todo!()
    }

    /// How many answers it takes in all.
    pub fn total(&self) -> usize {
        self.groups.iter().map(|(_, count)| count).sum()
    }
}

impl FromStr for Level {
    type Err = BadLevel;

    fn from_str(text: &str) -> Result<Level, BadLevel> {
        todo!()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
