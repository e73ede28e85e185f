//! I-22, as far as it goes without forgetting: once a put that had seen a version was acknowledged, no read whose quorum
//! meets that put's shows the version again. (Deleted data never comes back.)

use super::{Read, shown};
use crate::truth::{Fate, Truth};

/// Judges one read.
pub(crate) fn check(truth: &Truth, read: &Read<'_>) -> Result<(), String> {
    let replicas = truth.slots[read.start.slot].sites.len();
    for old in &read.shown {
        if truth.may_be_forgotten(*old) {
            continue;
        }
        let written = &truth.writes[*old];
        for newer in &written.seen_by {
            let Fate::Acked { needed, at } = truth.writes[*newer].fate else { continue };
            if at <= read.start.at && needed + read.start.needed > replicas {
                return Err(format!(
                    "{} is shown, and {}, acknowledged at {at} us, had settled it",
                    shown(&written.rid),
                    shown(&truth.writes[*newer].rid)
                ));
            }
        }
    }
    Ok(())
}
