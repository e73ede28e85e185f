//! I-8's ground: in a strict keyspace, where a write's and a read's level leave no room for two quorums that don't meet,
//! the replicas that hold the write and those that answered the read are more than there are replicas.

use super::{Read, shown};
use crate::truth::{Fate, Truth};

/// Judges a read against the last write that was acknowledged before it began.
pub(crate) fn check(truth: &Truth, read: &Read<'_>) -> Result<(), String> {
    let slot = &truth.slots[read.start.slot];
    let meets = |write: &usize| match truth.writes[*write].fate {
        Fate::Acked { needed, at } => at <= read.start.at && needed + read.start.needed > slot.nodes.len(),
        Fate::Open | Fate::Failed | Fate::Unknown => false,
    };
    let Some(write) = slot.writes.iter().rev().find(|write| slot.strict && meets(write)) else {
        return Ok(());
    };
    let written = &truth.writes[*write];
    let (held, answered) = (written.held_by.len(), usize::from(read.reply.receipt.answered));
    if held + answered > slot.nodes.len() {
        return Ok(());
    }
    Err(format!(
        "{} was acknowledged by {held} replicas, a read answered by {answered}, of {}: they need not meet",
        shown(&written.rid),
        slot.nodes.len()
    ))
}
