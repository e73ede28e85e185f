//! The request ids that a key's writes settled, so that a late retry of one never comes back as a sibling.
//!
//! Keeps I-5 for itself: it is a map with the greater clock winning, cut to the [`SETTLED_MAX`] latest entries by
//! (clock, hash). The latest k of a union don't change if a part of it was cut to its latest k before, so the cut may
//! stand in every merge and mint, in any order; cutting at mints only would let a copy that never mints grow without
//! bound. What the cut loses is the memory of an old request: a late retry of it may be minted again, and then show as a
//! duplicate sibling, or not, depending on the order of merges; two copies that merge each other still end equal. So
//! that no version is lost by it, such a write must not supersede what it meets: see [`Settled::may_have_forgotten`].

use crate::hlc::Hlc;
use alloc::vec::Vec;

/// Most settled request ids kept with a key, the oldest out first.
pub const SETTLED_MAX: usize = 64;

/// Hashes of settled request ids, sorted, each with a clock no earlier than its first attempt's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled(Vec<(u64, Hlc)>);

impl Settled {
    /// Takes entries over; `None` if they are not sorted and distinct, or too many.
    pub fn from_sorted(entries: Vec<(u64, Hlc)>) -> Option<Settled> {
        let sorted = entries.iter().zip(entries.iter().skip(1)).all(|(a, b)| a.0 < b.0);
        (sorted && entries.len() <= SETTLED_MAX).then_some(Settled(entries))
    }

    pub fn entries(&self) -> &[(u64, Hlc)] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, hash: u64) -> bool {
        self.find(hash).is_ok()
    }

    /// A clock later than all.
    pub fn next(&self) -> Hlc {
        let newest = self.0.iter().map(|(_, issued)| issued.0).max();
        Hlc(newest.map_or(0, |newest| newest.saturating_add(1)))
    }

    /// Adds one, the greater clock winning. Uncut: [`Settled::cut`] ends each change.
    pub fn insert(&mut self, hash: u64, issued: Hlc) {
        match self.find(hash) {
            Ok(at) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    *known = (*known).max(issued);
                }
            }
            Err(at) => self.0.insert(at, (hash, issued)),
        }
    }

    /// Adds another's. Uncut.
    pub fn merge(&mut self, other: &Settled) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
        } else if self.0 != other.0 {
            for (hash, issued) in &other.0 {
                self.insert(*hash, *issued);
            }
        }
    }

    /// Keeps the latest.
    pub fn cut(&mut self) {
        let Some(excess @ 1..) = self.0.len().checked_sub(SETTLED_MAX) else { return };
        let mut order: Vec<(Hlc, u64)> = self.0.iter().map(|(hash, issued)| (*issued, *hash)).collect();
        let (_, oldest_kept, _) = order.select_nth_unstable(excess);
        let oldest_kept = *oldest_kept;
        self.0.retain(|(hash, issued)| (*issued, *hash) >= oldest_kept);
    }

    /// Whether a request of this clock may have been settled and forgotten. If it then superseded what is present, that
    /// and the retry itself, which other copies still know as settled, would be gone both.
    pub fn may_have_forgotten(&self, issued: Hlc) -> bool {
        self.0.len() >= SETTLED_MAX && self.0.iter().all(|(_, kept)| issued <= *kept)
    }

    fn find(&self, hash: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&hash, |(known, _)| *known)
    }
}
