//! The tree over one copy of a partition of a keyspace.

use super::{DEPTH_MAX, Delta, Tally, WAY, WAY_BITS, coarser_leaf, leaf_of, leaves_at};
use crate::ring::Within;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// All leaves, and their sum. The nodes between are summed up when they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    depth: u8,
    leaves: Vec<Tally>,
    root: Tally,
}

impl Tree {
    /// Of no keys, at a depth of at most [`DEPTH_MAX`].
    pub fn new(depth: u8) -> Tree {
        let depth = depth.min(DEPTH_MAX);
        Tree { depth, leaves: alloc::vec![Tally::default(); leaves_at(depth)], root: Tally::default() }
    }

    /// Its depth: the level of its leaves; the root's is 0.
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// The sum of all keys: equal for equal sets, whatever the depths.
    pub fn root(&self) -> Tally {
        self.root
    }

    /// Its leaves, in the order of their places.
    pub fn leaves(&self) -> &[Tally] {
        &self.leaves
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Tree>() + self.leaves.len() * size_of::<Tally>()
    }

    /// The `index`-th node of a level, of which there are `16^level`; nothing below the leaves or past the last.
    pub fn node(&self, level: u8, index: u32) -> Tally {
        let Some(below) = self.depth.checked_sub(level) else { return Tally::default() };
        let width = leaves_at(below);
        let from = usize::try_from(index).ok().and_then(|index| index.checked_mul(width));
        let range = from.and_then(|from| Some(from..from.checked_add(width)?));
        let leaves = range.and_then(|range| self.leaves.get(range));
        leaves.unwrap_or_default().iter().copied().sum()
    }

    /// The children of a node, with their indices on the next level; none of a leaf.
    pub fn children(&self, level: u8, index: u32) -> Vec<(u32, Tally)> {
        if level >= self.depth {
            return Vec::new();
        }
        let first = index << WAY_BITS;
        (first..).take(WAY).map(|child| (child, self.node(level + 1, child))).collect()
    }

    /// A key of this place changes.
    pub fn change(&mut self, place: Within, by: Tally) {
        self.change_leaf(leaf_of(place, self.depth), by);
    }

    fn change_leaf(&mut self, leaf: u32, by: Tally) {
        if let Some(tally) = usize::try_from(leaf).ok().and_then(|leaf| self.leaves.get_mut(leaf)) {
            *tally += by;
            self.root += by;
        }
    }

    /// Adds a change that is at least as fine. Whether it was; else nothing is done.
    pub fn apply(&mut self, delta: &Delta) -> bool {
        let fine = delta.depth() >= self.depth;
        for (leaf, by) in delta.leaves().iter().filter(|_| fine) {
            self.change_leaf(coarser_leaf(*leaf, delta.depth(), self.depth), *by);
        }
        fine
    }

    /// The same tree at no finer depth than this.
    #[must_use]
    pub fn coarsened(&self, depth: u8) -> Tree {
        if depth >= self.depth {
            return self.clone();
        }
        let mut coarse = Tree::new(depth);
        for (leaf, tally) in (0..).zip(&self.leaves) {
            coarse.change_leaf(coarser_leaf(leaf, self.depth, depth), *tally);
        }
        coarse
    }

    /// The leaves in which two trees differ, at the coarser depth of the two. Level by level, as two nodes would find out.
    pub fn diff(&self, other: &Tree) -> Vec<u32> {
        let depth = self.depth.min(other.depth);
        let mut differing = alloc::vec![0];
        if self.root == other.root {
            return Vec::new();
        }
        for level in 1..=depth {
            let children = differing.iter().flat_map(|index| {
                let first = index << WAY_BITS;
                (first..).take(WAY)
            });
            differing =
                children.filter(|index| self.node(level, *index) != other.node(level, *index)).collect();
        }
        differing
    }

    /// The places of a leaf of a tree of this depth.
    pub fn places(depth: u8, leaf: u32) -> RangeInclusive<Within> {
        let bits = u32::BITS - WAY_BITS * u32::from(depth.min(DEPTH_MAX));
        let from = leaf.checked_shl(bits).unwrap_or(0);
        Within(from)..=Within(from | u32::MAX.checked_shr(u32::BITS - bits).unwrap_or(0))
    }
}
