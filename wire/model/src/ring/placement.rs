//! Placement: for each replication profile, the members of every partition.
//!
//! Keeps: a row's members are distinct nodes, in distinct zones where there are enough, N in each data centre. It is the
//! table itself that nodes agree on, not its inputs: another version of this code may compute another.

use crate::id::{Member, PartitionId};
use crate::ring::catalogue::Replicas;
use crate::ring::roster::RosterEntry;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The placement of one epoch. (Fields are the placement module's own business.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Grows with each placement of the cluster.
    pub epoch: u64,
}

/// Why there is no placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Nobody to place on.
    #[error("no member can hold data")]
    NoMembers,
    /// Not a power of two from 1 to 32,768.
    #[error("the number of partitions is a power of two from 1 to 32768, not {0}")]
    Partitions(u32),
}

impl Placement {
    /// Places `partitions` partitions of each profile on the roster, moving as little as balance allows from `before`.
    /// Deterministic: the same arguments give the same table.
    pub fn compute(
        epoch: u64,
        partitions: u16,
        profiles: &[Replicas],
        roster: &[RosterEntry],
        before: Option<&Placement>,
    ) -> Result<Placement, PlacementError> {
        todo!()
    }

    /// The members that hold a partition of a profile, in preference order; empty for an unknown profile.
    pub fn replicas(&self, profile: &Replicas, partition: PartitionId) -> impl Iterator<Item = Member> + '_ {
        core::iter::empty()
    }

    /// The members that stand in, in order, when replicas are away.
    pub fn fallbacks(&self, profile: &Replicas, partition: PartitionId) -> impl Iterator<Item = Member> + '_ {
        core::iter::empty()
    }
}
