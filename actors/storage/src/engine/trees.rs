//! The hash trees of a shard's copies, in memory: sums of what the tables and the memtables change.
//!
//! A tree is as deep as its keys want and its tables allow: their changes can be made coarser, not finer. So what a table
//! tells finer than the tree is today is kept beside it until the tree is as deep, and all else that it tells is forgotten.
//! Keeps: a tree is that of what look-ups find, at every moment. Deliberately absent: building a tree from a table's keys.

use super::tables::Tables;
use super::{Engine, Waiting};
use crate::leaves::{count, keys_at, prefix_of, tree_of};
use crate::store_key::{StoreKey, group_of, group_of_key, partitions_of};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use anser_machine::{Depths, Entries, Group, Headed, Stored};
use anser_model::merkle::{Fingerprint, Tally, Tree, TreeId, depth_for};
use anser_model::{KeyspaceId, PartitionId};
use bytes::Bytes;

/// A tree, and when it is to be deeper.
#[derive(Debug)]
struct Grown {
    tree: Tree,
    /// With more keys than this it is looked at whether it can be.
    keys_max: i64,
}

impl Grown {
    fn new(depth: u8) -> Grown {
        Grown { tree: Tree::new(depth), keys_max: keys_at(depth) }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Trees {
    trees: BTreeMap<TreeId, Grown>,
}

impl Trees {
    /// A key counts as `new`, and did as `old`. The tree, if it is to be looked at whether it can be deeper.
    fn change(&mut self, key: &[u8], old: Fingerprint, new: Fingerprint) -> Option<TreeId> {
        let (id, within) = tree_of(key)?;
        let grown = self.trees.entry(id).or_insert_with(|| Grown::new(0));
        grown.tree.change(within, Tally::change(old, new));
        (grown.tree.root().keys > grown.keys_max).then_some(id)
    }

    /// How deep each tree should be.
    pub fn depths(&self) -> Depths {
        let depth = |grown: &Grown| depth_for(count(grown.tree.root().keys));
        self.trees.iter().map(|(id, grown)| (*id, depth(grown))).collect()
    }

    /// How deep a tree is; none if there is none.
    pub fn depth(&self, id: TreeId) -> Option<u8> {
        self.trees.get(&id).map(|grown| grown.tree.depth())
    }

    /// With more keys than this it is looked at whether a tree can be deeper; none if there is none.
    #[cfg(test)]
    pub fn keys_max(&self, id: TreeId) -> Option<i64> {
        self.trees.get(&id).map(|grown| grown.keys_max)
    }

    /// Those of a group.
    fn of(&self, group: Group) -> Vec<TreeId> {
        self.trees.keys().copied().filter(|id| group_of(id.partition) == group).collect()
    }

    fn bytes(&self) -> usize {
        self.trees.values().map(|grown| grown.tree.bytes()).sum()
    }
}

/// The entries of a memtable from a beginning of keys on, as far as they begin so.
fn beginning<'a>(entries: &'a Entries, prefix: &'a [u8]) -> impl Iterator<Item = (&'a Bytes, &'a Stored)> {
    let from = Headed::from(Bytes::copy_from_slice(prefix));
    let entries = entries.range(from..).map(|(key, stored)| (key.as_bytes(), stored));
    entries.take_while(move |(key, _)| key.starts_with(prefix))
}

impl Engine {
    /// The hash tree of a copy of a partition's keyspace: the keys that are here now, on their way to the disk or on it. None
    /// if there never was one since the start.
    pub fn leaves(&self, partition: PartitionId, keyspace: KeyspaceId) -> Option<&Tree> {
        self.trees.trees.get(&TreeId { partition, keyspace }).map(|grown| &grown.tree)
    }

    /// Bytes of hash trees, and of what tables tell that is finer than they are.
    pub fn tree_bytes(&self) -> usize {
        self.trees.bytes() + self.tables.leaf_bytes()
    }

    /// A key counts as `new`, and did as `old`.
    pub(super) fn count(&mut self, key: &StoreKey, old: Fingerprint, new: Fingerprint) {
        if let Some(outgrown) = self.trees.change(key.as_bytes(), old, new) {
            self.deepen(outgrown);
            self.tables.forget_leaves(group_of(outgrown.partition), &self.trees);
        }
    }

    /// What the key counts as, that was written last before a record that is read back: that of memory, or of tables, which
    /// the record remembers. Where its group has no tables any more, they were lost after the record was written.
    pub(super) fn counted(&self, key: &StoreKey, remembered: Fingerprint) -> Fingerprint {
        match self.stored(key) {
            Some(stored) => stored.counts,
            None if self.tables.of(key.as_bytes()).is_empty() => Fingerprint::NONE,
            None => remembered,
        }
    }

    /// Tables came: the trees of their groups are made of them, or as deep as they are now known.
    pub(super) fn tables_came(&mut self, groups: &BTreeSet<Group>, are_new: bool) {
        for group in groups {
            if are_new {
                for id in self.tables.trees_of(*group) {
                    self.trees.trees.insert(id, Grown::new(0));
                    self.rebuild(id, 0);
                }
            }
            for id in self.trees.of(*group) {
                self.deepen(id);
            }
            self.tables.forget_leaves(*group, &self.trees);
        }
    }

    /// Makes a tree as deep as its keys want, and its tables allow.
    fn deepen(&mut self, id: TreeId) {
        let Some(grown) = self.trees.trees.get_mut(&id) else { return };
        let wanted = depth_for(count(grown.tree.root().keys));
        let depth = wanted.min(self.tables.depth_of(id));
        // Until other tables come it is looked at no more.
        grown.keys_max = if depth < wanted { i64::MAX } else { keys_at(depth) };
        if depth > grown.tree.depth() {
            self.rebuild(id, depth);
        }
    }

    /// Sums a tree up, at a depth that all its tables tell.
    fn rebuild(&mut self, id: TreeId, depth: u8) {
        let mut tree = Tree::new(depth);
        self.tables.add_to(id, &mut tree);
        let prefix = prefix_of(id);
        let group = group_of(id.partition);
        let frozen = self.waiting.iter().filter(|waiting| !waiting.void.contains(&group));
        let memtables = frozen.map(|waiting| &waiting.frozen.entries).chain([self.active.entries()]);
        for (key, stored) in memtables.flat_map(|entries| beginning(entries, &prefix)) {
            if let Some((_, within)) = tree_of(key) {
                tree.change(within, stored.change());
            }
        }
        if let Some(grown) = self.trees.trees.get_mut(&id) {
            grown.tree = tree;
        }
    }

    /// A group has lost its tables, and memtables on their way into some: what is left is the active memtable.
    pub(super) fn count_anew(&mut self, group: Group) {
        let first = Headed::from(Bytes::copy_from_slice(&first_of(group)));
        self.active.replaces_nothing(first, |key| group_of_key(key) == Some(group));
        for id in self.trees.of(group) {
            self.trees.trees.insert(id, Grown::new(0));
            self.rebuild(id, 0);
            self.deepen(id);
        }
    }

    /// What memory holds of a key.
    pub(super) fn stored(&self, key: &StoreKey) -> Option<&Stored> {
        let frozen = || self.waiting.iter().rev().find_map(|waiting: &Waiting| waiting.get(key));
        self.active.get(key).or_else(frozen)
    }
}

/// The beginning of the first keys of a group.
fn first_of(group: Group) -> [u8; 2] {
    partitions_of(group).next().map_or([0; 2], |partition| partition.0.to_be_bytes())
}

impl Tables {
    /// Keeps of what a group's tables tell only what is finer than the trees are.
    fn forget_leaves(&mut self, group: Group, trees: &Trees) {
        for open in self.in_group_mut(group) {
            open.leaves.retain(|id, delta| trees.depth(id).is_none_or(|depth| delta.depth() > depth));
        }
    }
}
