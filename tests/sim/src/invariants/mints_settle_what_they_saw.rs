//! I-4 where versions are made: what a write's token had seen is not live beside its version, at the copy that mints it. (As
//! long as the key has had fewer writes than a copy remembers the ids of.)

use super::shown;
use crate::truth::{Mint, Truth};

/// Judges one mint.
pub(crate) fn check(truth: &Truth, mint: &Mint) -> Result<(), String> {
    let seen = |beside: &&usize| {
        let written = &truth.writes[**beside];
        written.seen_by.binary_search(&mint.write).is_ok() && !truth.may_be_forgotten(**beside)
    };
    match mint.beside.iter().find(seen) {
        None => Ok(()),
        Some(old) => Err(format!(
            "{}, minted as {}, leaves {}, which its token had seen",
            shown(&truth.writes[mint.write].rid),
            mint.dot,
            shown(&truth.writes[*old].rid)
        )),
    }
}
