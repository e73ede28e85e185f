//! The leaves of hash trees that are kept with the data: which tree a stored key is in, what its state counts as there, and
//! what a table changes of them.
//!
//! Keeps: a table's changes are part of its metadata, so they are there exactly as long as the table is. Deliberately
//! absent: the trees themselves, which are sums of these ([`anser_model::merkle`]).
//!
//! Laid out: how many trees; for each, in order: partition, keyspace, depth, how many leaves, then for each leaf its number
//! (as the difference to the one before), hash (16 bytes), keys (zigzag). LEB128 where nothing else is said.

use crate::cursor::{Cursor, put_length, put_varint};
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;
use anser_model::merkle::{Delta, Fingerprint, LEAF_KEYS_MAX, Tally, TreeId, depth_for};
use anser_model::ring::Within;
use anser_model::state::BadState;
use anser_model::{KeyState, KeyspaceId, PartitionId};

/// A tree is too coarse when its leaves have more than so many times the keys that they should have: then all the trees of
/// a group, which grow alike, are due at about the same time.
const COARSE_TIMES: u64 = 2;
/// Fewest bytes of a tree that is laid out, and of a leaf.
const TREE_BYTES_MIN: usize = 4;
const LEAF_BYTES_MIN: usize = 1 + 16 + 1;

/// The tree that a stored key is in, and its place there; none for bytes that are no store key.
pub(crate) fn tree_of(key: &[u8]) -> Option<(TreeId, Within)> {
    let mut cursor = Cursor(key);
    let partition = PartitionId(cursor.array().map(u16::from_be_bytes)?);
    let keyspace = KeyspaceId(cursor.array().map(u32::from_be_bytes)?);
    let within = Within(cursor.array().map(u32::from_be_bytes)?);
    Some((TreeId { partition, keyspace }, within))
}

/// The beginning of all stored keys of a tree.
pub(crate) fn prefix_of(tree: TreeId) -> Vec<u8> {
    [&tree.partition.0.to_be_bytes()[..], &tree.keyspace.0.to_be_bytes()].concat()
}

/// What a stored key counts as, with its encoded state.
pub fn fingerprint_of(key: &[u8], state: &[u8]) -> Result<Fingerprint, BadState> {
    Ok(Fingerprint::of(key, &KeyState::decode(state)?))
}

/// Whether a tree over so many keys should be deeper than it can be with a table of this depth.
pub(crate) fn is_too_coarse(depth: u8, keys: u64) -> bool {
    depth < depth_for(keys / COARSE_TIMES)
}

/// How many keys a tree of this depth has at most before it is to be deeper.
pub(crate) fn keys_at(depth: u8) -> i64 {
    let leaves = 1_u64.checked_shl(4 * u32::from(depth)).unwrap_or(u64::MAX);
    i64::try_from(LEAF_KEYS_MAX.saturating_mul(leaves)).unwrap_or(i64::MAX)
}

/// As many as there are, or none: for sums that can't be negative.
pub(crate) fn count(keys: i64) -> u64 {
    u64::try_from(keys).unwrap_or(0)
}

/// Changes of several trees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaves(BTreeMap<TreeId, Delta>);

impl Leaves {
    /// Adds the change of a key, at this depth if it is the tree's first. Keys come in order.
    pub fn push(&mut self, tree: TreeId, depth: u8, within: Within, by: Tally) {
        self.0.entry(tree).or_insert_with(|| Delta::new(depth)).push(within, by);
    }

    /// Adds a tree's changes.
    pub fn add(&mut self, tree: TreeId, delta: Delta) {
        match self.0.entry(tree) {
            Entry::Vacant(vacant) => {
                vacant.insert(delta);
            }
            Entry::Occupied(mut known) => {
                let sum = known.get().plus(&delta);
                known.insert(sum);
            }
        }
    }

    /// A tree's changes, if there are any.
    pub fn of(&self, tree: TreeId) -> Option<&Delta> {
        self.0.get(&tree)
    }

    /// The changes of each tree.
    pub fn iter(&self) -> impl Iterator<Item = (TreeId, &Delta)> {
        self.0.iter().map(|(tree, delta)| (*tree, delta))
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        let bytes = |delta: &Delta| size_of::<(TreeId, Delta)>() + size_of_val(delta.leaves());
        self.0.values().map(bytes).sum()
    }

    /// Keeps those that are wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(TreeId, &Delta) -> bool) {
        self.0.retain(|tree, delta| wanted(*tree, delta));
    }

    /// Takes those of the trees before `end` out; all of them if there is none.
    pub fn take_before(&mut self, end: Option<TreeId>) -> Leaves {
        let rest = end.map(|end| self.0.split_off(&end)).unwrap_or_default();
        Leaves(core::mem::replace(&mut self.0, rest))
    }

    /// Lays them out. Trees without a change are left out.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let changed = || self.iter().filter(|(_, delta)| !delta.leaves().is_empty());
        put_length(&mut out, changed().count());
        for (tree, delta) in changed() {
            put_varint(&mut out, u64::from(tree.partition.0));
            put_varint(&mut out, u64::from(tree.keyspace.0));
            out.push(delta.depth());
            put_length(&mut out, delta.leaves().len());
            let mut before = 0;
            for (leaf, tally) in delta.leaves() {
                put_varint(&mut out, u64::from(leaf.saturating_sub(before)));
                out.extend_from_slice(&tally.hash.to_le_bytes());
                put_varint(&mut out, zigzag(tally.keys));
                before = *leaf;
            }
        }
        out
    }

    /// Reads them back; in memory bounded by the input.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Leaves> {
        let mut cursor = Cursor(bytes);
        let trees = cursor.varint()?;
        if trees > u64::try_from(bytes.len() / TREE_BYTES_MIN).ok()? {
            return None;
        }
        let mut leaves = Leaves::default();
        for _ in 0..trees {
            let partition = PartitionId(u16::try_from(cursor.varint()?).ok()?);
            let keyspace = KeyspaceId(u32::try_from(cursor.varint()?).ok()?);
            let tree = TreeId { partition, keyspace };
            let delta = decode_delta(&mut cursor)?;
            let in_order = leaves.0.last_key_value().is_none_or(|(last, _)| *last < tree);
            if !in_order || delta.leaves().is_empty() {
                return None;
            }
            leaves.0.insert(tree, delta);
        }
        cursor.0.is_empty().then_some(leaves)
    }
}

fn decode_delta(cursor: &mut Cursor<'_>) -> Option<Delta> {
    let depth = cursor.byte()?;
    let count = usize::try_from(cursor.varint()?).ok()?;
    if count > cursor.0.len() / LEAF_BYTES_MIN {
        return None;
    }
    let mut leaves = Vec::with_capacity(count);
    let mut leaf = 0_u32;
    for _ in 0..count {
        leaf = leaf.checked_add(u32::try_from(cursor.varint()?).ok()?)?;
        let hash = u128::from_le_bytes(cursor.array()?);
        leaves.push((leaf, Tally { hash, keys: unzigzag(cursor.varint()?) }));
    }
    Delta::from_parts(depth, leaves)
}

/// Small numbers of either sign as small numbers.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(partition: u16, keyspace: u32) -> TreeId {
        TreeId { partition: PartitionId(partition), keyspace: KeyspaceId(keyspace) }
    }

    #[test]
    fn they_have_their_golden_bytes() {
        let mut leaves = Leaves::default();
        leaves.push(tree(1, 2), 1, Within(0x3000_0000), Tally { hash: 5, keys: 1 });
        leaves.push(tree(1, 2), 1, Within(0xf000_0000), Tally { hash: 6, keys: -2 });
        leaves.push(tree(1, 300), 0, Within(9), Tally { hash: 7, keys: 0 });
        leaves.push(tree(2, 1), 0, Within(9), Tally::default());
        let mut expected = b"\x02\x01\x02\x01\x02\x03\x05".to_vec();
        expected.extend([0; 15]);
        expected.extend(b"\x02\x0c\x06");
        expected.extend([0; 15]);
        expected.extend(b"\x03\x01\xac\x02\x00\x01\x00\x07");
        expected.extend([0; 16]);
        assert_eq!(leaves.encode(), expected);
    }

    #[test]
    fn a_tree_is_a_range_of_keys() {
        let key = b"\x00\x01\x00\x00\x00\x02\x03\x04\x05\x06k";
        assert_eq!(tree_of(key), Some((tree(1, 2), Within(0x0304_0506))));
        assert_eq!(prefix_of(tree(1, 2)), key[..6]);
        assert_eq!(tree_of(&key[..9]), None);
    }

    #[test]
    fn leaves_may_have_twice_the_keys_before_a_merge_is_due() {
        assert!(!is_too_coarse(0, 2 * LEAF_KEYS_MAX + 1));
        assert!(is_too_coarse(0, 2 * LEAF_KEYS_MAX + 2));
        assert!(!is_too_coarse(1, 32 * LEAF_KEYS_MAX));
        assert_eq!([keys_at(0), keys_at(1), keys_at(6)], [64, 1024, 64 << 24]);
    }

    #[test]
    fn they_are_taken_up_to_a_tree() {
        let mut leaves = Leaves::default();
        for keyspace in 0..4 {
            leaves.push(tree(1, keyspace), 0, Within(0), Tally { hash: 1, keys: 1 });
        }
        let trees = |leaves: &Leaves| leaves.iter().map(|(tree, _)| tree.keyspace.0).collect::<Vec<_>>();
        assert_eq!(trees(&leaves.take_before(Some(tree(1, 2)))), [0, 1]);
        assert_eq!(trees(&leaves.take_before(None)), [2, 3]);
        assert_eq!(leaves, Leaves::default());
    }

    #[test]
    fn their_memory_is_counted_by_tree_and_by_leaf() {
        let bytes = |trees: u32, leaves: u32| {
            let mut all = Leaves::default();
            for (keyspace, leaf) in (0..trees).flat_map(|tree| (0..leaves).map(move |leaf| (tree, leaf))) {
                all.push(tree(1, keyspace), 2, Within(leaf << 24), Tally { hash: 1, keys: 1 });
            }
            all.bytes()
        };
        assert_eq!((bytes(0, 0), bytes(3, 5)), (0, 3 * bytes(1, 5)));
        let of_leaf = (bytes(1, 9) - bytes(1, 1)) / 8;
        // A number, a hash and a count.
        assert!((4 + 16 + 8..=64).contains(&of_leaf), "{of_leaf}");
        assert!(bytes(1, 1) > of_leaf, "the tree's own");
    }

    fn any_leaves() -> impl Strategy<Value = Leaves> {
        let change = any::<(u32, u128, i64)>();
        let delta = (0..=6_u8, prop::collection::btree_map(any::<u32>(), change, 1..9));
        prop::collection::btree_map((0..4_u16, 0..300_u32), delta, 0..5).prop_map(|trees| {
            let mut leaves = Leaves::default();
            for ((partition, keyspace), (depth, changes)) in trees {
                for (within, (_, hash, keys)) in changes {
                    leaves.push(tree(partition, keyspace), depth, Within(within), Tally { hash, keys });
                }
            }
            leaves
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn they_come_back(leaves in any_leaves(), cut in any::<prop::sample::Index>()) {
            let bytes = leaves.encode();
            let back = Leaves::decode(&bytes).unwrap();
            prop_assert_eq!(back.encode(), bytes.clone());
            for (tree, delta) in leaves.iter().filter(|(_, delta)| !delta.leaves().is_empty()) {
                prop_assert_eq!(back.of(tree), Some(delta));
            }
            prop_assert_eq!(Leaves::decode(&bytes[..cut.index(bytes.len())]), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(leaves) = Leaves::decode(&bytes) {
                prop_assert_eq!(Leaves::decode(&leaves.encode()), Some(leaves));
            }
        }
    }
}
