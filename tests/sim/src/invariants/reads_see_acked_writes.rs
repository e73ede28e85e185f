//! I-8: a get that starts after a put was acknowledged, when the quorums of both meet, returns that version or one that
//! settled it. With it: a session reads its own writes.

use super::{Read, is_known, shown};
use crate::truth::{Fate, Truth};

/// Judges one read.
pub(crate) fn check(truth: &Truth, read: &Read<'_>) -> Result<(), String> {
    let start = read.start;
    let slot = &truth.slots[start.slot];
    // The long way: a context may lack a dot of a write that was minted twice, or settled where the reader did not look.
    let doubtful = if read.context.covers(&start.acked) { &slot.acked_twice } else { &slot.writes };
    for write in doubtful.iter().copied() {
        let Fate::Acked { needed, at } = truth.writes[write].fate else { continue };
        let before = at <= start.at && needed + start.needed > slot.sites.len();
        if before && !is_known(truth, read, write) {
            let rid = shown(&truth.writes[write].rid);
            return Err(format!(
                "a read from {} us on shows {:?} and does not know of write {rid} (number {write}), acknowledged at {at} us",
                start.at, read.shown
            ));
        }
    }
    Ok(())
}
