//! I-8: a get that starts after a put was acknowledged, when the quorums of both meet, returns that version or knows what
//! settled it. With it: a session reads its own writes.

use super::{Read, shown};
use crate::truth::{Fate, Truth};

/// Judges one read.
pub(crate) fn check(truth: &Truth, read: &Read<'_>) -> Result<(), String> {
    let start = read.start;
    if !read.context.covers(&start.acked) {
        let missing =
            start.acked.entries().iter().find(|(actor, counter)| read.context.get(actor) < *counter);
        let missing = missing.map(|(actor, counter)| anser_model::Dot { actor: *actor, counter: *counter });
        let write = missing.and_then(|dot| truth.dots.get(&dot));
        return Err(format!(
            "a read from {} us on does not know of dot {missing:?} of write {write:?}, acknowledged before",
            start.at
        ));
    }
    let slot = &truth.slots[start.slot];
    for write in &slot.acked_twice {
        let written = &truth.writes[*write];
        let Fate::Acked { needed, at } = written.fate else { continue };
        let before = at <= start.at && needed + start.needed > slot.sites.len();
        let known = read.rids.contains(&written.rid.hash64())
            || written.dots.iter().any(|dot| read.context.contains(dot));
        if before && !known {
            return Err(format!(
                "a read from {} us on does not know of write {}, acknowledged before",
                start.at,
                shown(&written.rid)
            ));
        }
    }
    Ok(())
}
