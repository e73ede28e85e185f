//! I-8's ground where copies are lost: a copy that says that it is refilled knows of every write that it had acknowledged
//! among a majority, or of one that settled it.

use super::shown;
use crate::truth::Truth;

/// Judges a copy that has just been refilled; `unknown` are the writes that it had acknowledged and does not know.
pub(crate) fn check(truth: &Truth, unknown: &[usize]) -> Result<(), String> {
    match unknown.first() {
        None => Ok(()),
        Some(write) => {
            let written = &truth.writes[*write];
            Err(format!(
                "refilled, and it does not know write {} (number {write}), which it had acknowledged with {:?}",
                shown(&written.rid),
                written.held_by
            ))
        }
    }
}
