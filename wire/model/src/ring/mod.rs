//! The ring: which partition a key is in, and which members hold a partition.
//!
//! Placement is the ring chain's business, never liveness': rumours move no data.

mod catalogue;
mod hash;
mod placement;
mod record;
mod roster;

pub use crate::minter::minter_order;
pub use catalogue::{Blind, Conflicts, Durability, Keyspace, QuorumKind, Replicas};
pub use hash::{Within, place_of};
pub use placement::{Placement, PlacementError};
pub use record::{BadRecord, Founding, Record, RecordKind, Side};
pub use roster::{BadName, DcName, MemberState, NodeName, RosterEntry, Weight, ZoneName};
