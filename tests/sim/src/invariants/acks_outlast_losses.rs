//! I-8's ground where copies are lost while a write is under way: when it is acknowledged by a majority, the copies that answer
//! and don't know it are too few for a read of them alone. One that acknowledged it and lost it since does not answer, or
//! knows it again.

use super::shown;
use crate::truth::Truth;

/// Judges a write that has just been acknowledged, at a level of so many replicas.
pub(crate) fn check(truth: &Truth, write: usize, needed: usize) -> Result<(), String> {
    let slot = &truth.slots[truth.writes[write].slot];
    let replicas = slot.nodes.len();
    if 2 * needed <= replicas {
        return Ok(());
    }
    let lacking = || slot.nodes.iter().copied().filter(|node| truth.answers_without(*node, write));
    if lacking().count() + needed <= replicas {
        return Ok(());
    }
    Err(format!(
        "write {} is acknowledged by {needed} of {replicas}, and {:?} answer and do not know it",
        shown(&truth.writes[write].rid),
        lacking().collect::<Vec<_>>()
    ))
}
