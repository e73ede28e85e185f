//! A reader never sees what a power cut could take back: each version shown is durable on a replica (in a keyspace of
//! durability `interval`, has been in the memory of one); in a strict keyspace on
//! max(R, N - R + 1) of them, so that every later read meets it (I-9).

use super::{ReadStart, shown};
use crate::truth::Truth;

/// Judges one write that a read shows.
pub(crate) fn check(truth: &Truth, start: &ReadStart, write: usize, holders: usize) -> Result<(), String> {
    let slot = &truth.slots[start.slot];
    let replicas = slot.sites.len();
    let needed = if slot.strict { start.needed.max(replicas + 1 - start.needed) } else { 1 };
    if holders >= needed {
        return Ok(());
    }
    let rid = shown(&truth.writes[write].rid);
    Err(format!(
        "write {rid} (number {write}) is shown, and {holders} replicas hold it as they should, where {needed} should"
    ))
}
