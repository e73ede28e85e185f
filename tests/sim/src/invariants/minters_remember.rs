//! I-2 at its root: a copy that mints a dot has seen all earlier dots of the same name for the same key. A context that holds
//! a dot claims those before it, so a copy that lost something must go on under another Life.

use super::shown;
use crate::truth::{Mint, Truth};

/// Judges one mint.
pub(crate) fn check(truth: &Truth, mint: &Mint) -> Result<(), String> {
    match mint.forgot {
        None => Ok(()),
        Some(before) => Err(format!(
            "{} was minted as {} at a copy that does not know {before}",
            shown(&truth.writes[mint.write].rid),
            mint.dot
        )),
    }
}
