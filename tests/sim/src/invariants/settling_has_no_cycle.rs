//! I-4 over retries: a write never settles what had settled it. A retry whose request a copy has forgotten may come back as a
//! sibling; it never takes off what came after it.

use super::shown;
use crate::truth::{Mint, Truth};
use std::collections::BTreeSet;

/// Judges one mint.
pub(crate) fn check(truth: &Truth, mint: &Mint) -> Result<(), String> {
    // Nothing can have settled what was never minted before.
    if mint.took_off.is_empty() || truth.writes[mint.write].dots.len() < 2 {
        return Ok(());
    }
    let heirs = heirs_of(truth, mint.write);
    match mint.took_off.iter().find(|gone| heirs.contains(gone)) {
        None => Ok(()),
        Some(heir) => Err(format!(
            "{}, minted again as {}, takes off {}, which had settled it",
            shown(&truth.writes[mint.write].rid),
            mint.dot,
            shown(&truth.writes[*heir].rid)
        )),
    }
}

/// All that settled a write, directly or through others.
fn heirs_of(truth: &Truth, write: usize) -> BTreeSet<usize> {
    let mut heirs = BTreeSet::new();
    let mut stack = vec![write];
    while let Some(next) = stack.pop() {
        for heir in truth.settlers(next) {
            if heirs.insert(heir) {
                stack.push(heir);
            }
        }
    }
    heirs
}
