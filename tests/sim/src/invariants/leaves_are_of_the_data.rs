//! The leaves that are kept with the data are those of the data: the hash tree of each copy of a partition's keyspace is
//! that which its keys sum up to from nothing, over flushes, merges, crashes and losses. And copies of equal live versions
//! have equal roots, whatever became of each.

use anser_model::merkle::{Fingerprint, Tally, Tree};
use anser_model::ring::Within;

/// Judges one copy's tree.
pub(crate) fn check(
    kept: Option<&Tree>,
    keys: impl Iterator<Item = (Within, Fingerprint)>,
) -> Result<(), String> {
    let mut summed_up = Tree::new(kept.map_or(0, Tree::depth));
    keys.for_each(|(within, counts)| summed_up.change(within, Tally::of(counts)));
    let nothing = Tree::new(0);
    let kept = kept.unwrap_or(&nothing);
    match kept.diff(&summed_up).first() {
        None if kept.root() == summed_up.root() => Ok(()),
        None => Err("its root is not the sum of its leaves".to_owned()),
        Some(leaf) => Err(format!(
            "leaf {leaf} of depth {} is kept as {:x?}, and sums up to {:x?}",
            kept.depth(),
            kept.node(kept.depth(), *leaf),
            summed_up.node(kept.depth(), *leaf)
        )),
    }
}

/// Judges the roots of copies that hold equal live versions.
pub(crate) fn check_roots(roots: &[(usize, Tally)]) -> Result<(), String> {
    match roots.windows(2).find(|pair| pair[0].1 != pair[1].1) {
        None => Ok(()),
        Some(pair) => Err(format!("of equal live versions, two nodes have unequal roots: {pair:x?}")),
    }
}
