//! I-9: in a strict keyspace, with 2R > N, what one read showed every later read shows, or shows what settled it.

use super::{Read, is_known, shown};
use crate::truth::Truth;

/// Judges a read of a strict keyspace.
pub(crate) fn check(truth: &Truth, read: &Read<'_>) -> Result<(), String> {
    if read.context.covers(&read.start.shown) {
        return Ok(());
    }
    for (write, at) in &truth.slots[read.start.slot].shown_writes {
        if *at <= read.start.at && !is_known(truth, read, *write) {
            let rid = shown(&truth.writes[*write].rid);
            return Err(format!(
                "a read from {} us on does not know of {rid}, which one before showed",
                read.start.at
            ));
        }
    }
    Ok(())
}
