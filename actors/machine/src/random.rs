//! Seeded randomness: the same seed, the same run.

/// A small fast generator. Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(fastrand::Rng);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(fastrand::Rng::with_seed(seed))
    }

    /// Any number.
    pub fn u64(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// A number under `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.u64(..bound) }
    }

    /// Mixes a slice's order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    #[test]
    fn numbers_reach_all_that_is_under_their_bound() {
        let mut random = Random::new(1);
        assert_eq!(random.below(0), 0);
        let met: BTreeSet<u64> = (0..100).map(|_| random.below(5)).collect();
        assert!(met.into_iter().eq(0..5));
        let many: BTreeSet<u64> = (0..100).map(|_| random.u64()).collect();
        assert_eq!(many.len(), 100);
    }

    #[test]
    fn a_shuffle_changes_the_order_and_nothing_else() {
        let sorted: Vec<u64> = (0..50).collect();
        let mut items = sorted.clone();
        Random::new(1).shuffle(&mut items);
        assert_ne!(items, sorted);
        items.sort_unstable();
        assert_eq!(items, sorted);
    }
}
