//! I-1: no dot is ever attached to two requests.

use crate::truth::{Mint, Truth};

/// Judges one mint.
pub(crate) fn check(truth: &Truth, mint: &Mint) -> Result<(), String> {
    match mint.reused {
        None => Ok(()),
        Some(other) => {
            let (dot, rid, before) = (mint.dot, truth.writes[mint.write].rid, truth.writes[other].rid);
            Err(format!("dot {dot} was given to {rid:?} and before to {before:?}"))
        }
    }
}
