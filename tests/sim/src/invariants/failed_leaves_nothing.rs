//! I-7: "failed" is never said of a write that any copy holds or will hold.

use super::shown;
use crate::truth::{Fate, Truth};

/// Judges a write when its client hears that it failed, and again whenever it is minted.
pub(crate) fn check(truth: &Truth, write: usize) -> Result<(), String> {
    let written = &truth.writes[write];
    if written.fate == Fate::Failed && !written.dots.is_empty() {
        return Err(format!(
            "write {} was said to have failed, and was minted as {}",
            shown(&written.rid),
            written.dots[0]
        ));
    }
    Ok(())
}
