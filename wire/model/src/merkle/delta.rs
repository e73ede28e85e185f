//! Changes of a tree, leaf by leaf: what a table adds to its copy.

use super::{DEPTH_MAX, Tally, coarser_leaf, leaf_of, leaves_at};
use crate::ring::Within;
use alloc::vec::Vec;

/// Leaves that change, in order, at one depth. It can be made coarser, not finer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    depth: u8,
    leaves: Vec<(u32, Tally)>,
}

impl Delta {
    /// No change, at a depth of at most [`DEPTH_MAX`].
    pub fn new(depth: u8) -> Delta {
        Delta { depth: depth.min(DEPTH_MAX), leaves: Vec::new() }
    }

    /// From its parts, if they can be: leaves in order, at this depth.
    pub fn from_parts(depth: u8, leaves: Vec<(u32, Tally)>) -> Option<Delta> {
        let inside = |leaf: u32| usize::try_from(leaf).is_ok_and(|leaf| leaf < leaves_at(depth));
        let last_is_inside = leaves.last().is_none_or(|(leaf, _)| inside(*leaf));
        let in_order = leaves.is_sorted_by(|(a, _), (b, _)| a < b);
        (depth <= DEPTH_MAX && last_is_inside && in_order).then_some(Delta { depth, leaves })
    }

    /// Its depth.
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// The leaves that change, in order.
    pub fn leaves(&self) -> &[(u32, Tally)] {
        &self.leaves
    }

    /// The change of the whole tree.
    pub fn total(&self) -> Tally {
        self.leaves.iter().map(|(_, tally)| *tally).sum()
    }

    /// Adds the change of a key; keys come in the order of their places.
    pub fn push(&mut self, place: Within, by: Tally) {
        self.push_leaf(leaf_of(place, self.depth), by);
    }

    fn push_leaf(&mut self, leaf: u32, by: Tally) {
        match self.leaves.last_mut() {
            Some((last, tally)) if *last == leaf => *tally += by,
            Some(_) | None => self.leaves.push((leaf, by)),
        }
        // What comes to nothing takes no room.
        self.leaves.pop_if(|(_, tally)| tally.is_nothing());
    }

    /// The same change at no finer depth than this.
    #[must_use]
    pub fn coarsened(&self, depth: u8) -> Delta {
        if depth >= self.depth {
            return self.clone();
        }
        let mut coarse = Delta::new(depth);
        for (leaf, tally) in &self.leaves {
            coarse.push_leaf(coarser_leaf(*leaf, self.depth, depth), *tally);
        }
        coarse
    }

    /// Both changes, at the coarser depth of the two.
    #[must_use]
    pub fn plus(&self, other: &Delta) -> Delta {
        let depth = self.depth.min(other.depth);
        let (ours, theirs) = (self.coarsened(depth), other.coarsened(depth));
        let mut sum = Delta::new(depth);
        let (mut ours, mut theirs) = (ours.leaves.iter().peekable(), theirs.leaves.iter().peekable());
        loop {
            let next = match (ours.peek(), theirs.peek()) {
                (Some((a, _)), Some((b, _))) if a <= b => ours.next(),
                (Some(_), None) => ours.next(),
                (_, Some(_)) => theirs.next(),
                (None, None) => return sum,
            };
            if let Some((leaf, tally)) = next {
                sum.push_leaf(*leaf, *tally);
            }
        }
    }
}
