//! I-6: for each request the visible effect is that of at most one write, however often it was tried.

use super::shown;
use crate::truth::Truth;

/// Judges the writes that one read shows.
pub(crate) fn check(truth: &Truth, writes: &[usize]) -> Result<(), String> {
    for (at, write) in writes.iter().enumerate() {
        if writes[..at].contains(write) {
            let written = &truth.writes[*write];
            return Err(format!(
                "write {}, tried {} times, is shown twice",
                shown(&written.rid),
                written.attempts
            ));
        }
    }
    Ok(())
}
