//! Hash trees by which copies of a partition of a keyspace are compared: what a key counts as ([`Fingerprint`]), what a set
//! of keys sums up to ([`Tally`]), the tree over a copy ([`Tree`]) and changes of it ([`Delta`]).
//!
//! A leaf is a range of places ([`Within`](crate::ring::Within)), and its hash the sum of its keys' fingerprints. Sums make
//! a commutative group, so a change of a key is added to its leaf, changes can be summed up before they are, and a node's
//! hash is the sum of its leaves' however deep the tree is: trees of unlike depth are compared as far as both go. That sums
//! can be steered to collide by whoever chooses the summands is no concern here: fingerprints are over dots, which nodes
//! draw, not clients.
//!
//! Keeps: equal sets of live versions have equal hashes at every node, in whatever order they came. Deliberately absent:
//! where trees are kept, and the exchange between copies.

mod delta;
mod tree;

#[cfg(test)]
mod tests;

use crate::id::{Dot, KeyspaceId, PartitionId};
use crate::state::{Body, KeyState};
use alloc::vec::Vec;
use core::ops::{Add, AddAssign, Neg, Sub};
pub use delta::Delta;
pub use tree::Tree;
use xxhash_rust::xxh3::xxh3_128;

/// The version of what is hashed, hashed with it.
const VERSION: u8 = 1;
/// Bytes of a dot with its flag.
const DOT_BYTES: usize = 33;
/// Children of a node, as a power of two.
const WAY_BITS: u32 = 4;
/// Children of a node.
pub const WAY: usize = 1 << WAY_BITS;
/// Most levels below the root: 16,777,216 leaves.
pub const DEPTH_MAX: u8 = 6;
/// About so many keys are in a leaf at most.
pub const LEAF_KEYS_MAX: u64 = 64;

/// Which tree of a copy: there is one for each keyspace of a partition. Ordered as stored keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeId {
    /// The partition.
    pub partition: PartitionId,
    /// The keyspace.
    pub keyspace: KeyspaceId,
}

/// The depth that a tree over so many keys should have.
pub fn depth_for(keys: u64) -> u8 {
    let holds = |depth: &u8| keys <= LEAF_KEYS_MAX << (WAY_BITS * u32::from(*depth));
    (0..DEPTH_MAX).find(holds).unwrap_or(DEPTH_MAX)
}

/// How many leaves a tree of this depth has.
pub(crate) fn leaves_at(depth: u8) -> usize {
    1 << (WAY_BITS * u32::from(depth.min(DEPTH_MAX)))
}

/// What a key with its live versions counts as. Kept in logs and tables: its value never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// Of a key that has no live version: it counts as if it were not there. A reader is shown the same, and as soon as any
    /// copy shows something that its context has settled, that is a difference of its own.
    pub const NONE: Fingerprint = Fingerprint(0);

    /// xxh3-128 over the version, the key as it is stored, and the sorted live dots with their tombstone flags. Never over
    /// values, contexts, clocks or what is settled: copies remember those unlike.
    pub fn of(store_key: &[u8], state: &KeyState) -> Fingerprint {
        if state.live().is_empty() {
            return Fingerprint::NONE;
        }
        let mut dots: Vec<(Dot, bool)> = Vec::with_capacity(state.live().len());
        for (_, version) in state.live() {
            let tombstone = version.body == Body::Tombstone;
            dots.extend(version.dots.iter().map(|dot| (*dot, tombstone)));
        }
        dots.sort_unstable();
        let mut bytes = Vec::with_capacity(1 + store_key.len() + DOT_BYTES * dots.len());
        bytes.push(VERSION);
        for (dot, tombstone) in dots {
            bytes.extend_from_slice(&dot.actor.node.0);
            bytes.extend_from_slice(&dot.actor.life.0.to_le_bytes());
            bytes.extend_from_slice(&dot.counter.to_le_bytes());
            bytes.push(u8::from(tombstone));
        }
        // Behind the dots, which are all of one length: nothing else reads the same.
        bytes.extend_from_slice(store_key);
        Fingerprint(xxh3_128(&bytes))
    }
}

/// What a set of keys sums up to, or a change of that. Packed, since a node keeps millions of them: with a leaf's number one takes
/// 28 bytes, not 48.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, packed(4))]
pub struct Tally {
    /// The sum of the fingerprints; it wraps.
    pub hash: u128,
    /// How many keys.
    pub keys: i64,
}

impl Tally {
    /// Of one key.
    pub fn of(fingerprint: Fingerprint) -> Tally {
        Tally { hash: fingerprint.0, keys: i64::from(fingerprint != Fingerprint::NONE) }
    }

    /// What changes when a key counts as `new`, and did as `old`.
    pub fn change(old: Fingerprint, new: Fingerprint) -> Tally {
        Tally::of(new) - Tally::of(old)
    }

    /// Whether it is that of no keys, or no change.
    pub fn is_nothing(&self) -> bool {
        *self == Tally::default()
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally { hash: self.hash.wrapping_add(other.hash), keys: self.keys.wrapping_add(other.keys) }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        *self = *self + other;
    }
}

impl Neg for Tally {
    type Output = Tally;

    fn neg(self) -> Tally {
        Tally { hash: self.hash.wrapping_neg(), keys: self.keys.wrapping_neg() }
    }
}

impl Sub for Tally {
    type Output = Tally;

    fn sub(self, other: Tally) -> Tally {
        self + -other
    }
}

impl core::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Tally>>(tallies: I) -> Tally {
        tallies.fold(Tally::default(), Tally::add)
    }
}

/// The leaf that a place is in, in a tree of this depth.
pub(crate) fn leaf_of(place: crate::ring::Within, depth: u8) -> u32 {
    let bits = WAY_BITS * u32::from(depth.min(DEPTH_MAX));
    place.0.checked_shr(u32::BITS - bits).unwrap_or(0)
}

/// The leaf of a coarser tree that a leaf is in.
pub(crate) fn coarser_leaf(leaf: u32, depth: u8, coarser: u8) -> u32 {
    leaf >> (WAY_BITS * u32::from(depth.saturating_sub(coarser)))
}
