//! One shard's tables, by group, the newest first.

use crate::leaves::{Leaves, count, is_too_coarse};
use crate::store_key::{group_of, group_of_key};
use crate::table::{BadTable, Table};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_machine::{Group, StoredTable, TableId, TableSummary};
use anser_model::merkle::{DEPTH_MAX, Delta, Tree, TreeId};

/// A table that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub table: Table,
    age: u64,
    bytes: u64,
    voids: u64,
    /// The hash trees that it changes: how finely it tells that, and by how many keys.
    trees: Vec<(TreeId, u8, i64)>,
    /// Those of its changes that are finer than the trees are.
    pub leaves: Leaves,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tables {
    groups: BTreeMap<Group, Vec<Open>>,
}

impl Tables {
    /// Takes tables away and others in; nothing is changed if one of those can't be opened.
    pub fn replace(&mut self, removed: &[TableId], added: Vec<StoredTable>) -> Result<(), BadTable> {
        let open = |stored: StoredTable| {
            let StoredTable { id, group, age, bytes, voids, meta } = stored;
            let mut table = Table::open(id, meta)?;
            let leaves = table.take_leaves();
            let tree = |(id, delta): (TreeId, &Delta)| (id, delta.depth(), delta.total().keys);
            let trees = leaves.iter().map(tree).collect();
            Ok((group, Open { table, age, bytes, voids, trees, leaves }))
        };
        let added: Vec<(Group, Open)> = added.into_iter().map(open).collect::<Result<_, _>>()?;
        if !removed.is_empty() {
            for tables in self.groups.values_mut() {
                tables.retain(|open| !removed.contains(&open.table.id()));
            }
        }
        for (group, open) in added {
            let tables = self.groups.entry(group).or_default();
            let place = tables.partition_point(|other| other.age >= open.age);
            tables.insert(place, open);
        }
        self.groups.retain(|_, tables| !tables.is_empty());
        Ok(())
    }

    /// Takes a group's tables away.
    pub fn drop_group(&mut self, group: Group) {
        self.groups.remove(&group);
    }

    /// The group of a table.
    pub fn group_of(&self, table: TableId) -> Option<Group> {
        let holds = |tables: &Vec<Open>| tables.iter().any(|open| open.table.id() == table);
        self.groups.iter().find(|(_, tables)| holds(tables)).map(|(group, _)| *group)
    }

    /// The tables that may hold a key, the newest first.
    pub fn of(&self, key: &[u8]) -> &[Open] {
        group_of_key(key).and_then(|group| self.groups.get(&group)).map_or(&[], Vec::as_slice)
    }

    /// A group's tables.
    fn in_group(&self, group: Group) -> &[Open] {
        self.groups.get(&group).map_or(&[], Vec::as_slice)
    }

    pub(super) fn in_group_mut(&mut self, group: Group) -> &mut [Open] {
        self.groups.get_mut(&group).map_or(&mut [], Vec::as_mut_slice)
    }

    /// The hash trees that a group's tables change.
    pub fn trees_of(&self, group: Group) -> BTreeSet<TreeId> {
        self.in_group(group).iter().flat_map(|open| &open.trees).map(|(id, ..)| *id).collect()
    }

    /// How deep a tree can be, for its tables.
    pub fn depth_of(&self, id: TreeId) -> u8 {
        let told = self.in_group(group_of(id.partition)).iter().flat_map(|open| &open.trees);
        told.filter(|(other, ..)| *other == id).map(|(_, depth, _)| *depth).min().unwrap_or(DEPTH_MAX)
    }

    /// Adds to a tree what tables tell of it that is fine enough and not forgotten: all of it, for a tree that is deeper
    /// than it was.
    pub fn add_to(&self, id: TreeId, tree: &mut Tree) {
        for delta in self.in_group(group_of(id.partition)).iter().filter_map(|open| open.leaves.of(id)) {
            tree.apply(delta);
        }
    }

    /// Bytes of what is kept of the tables' changes.
    pub fn leaf_bytes(&self) -> usize {
        self.groups.values().flatten().map(|open| open.leaves.bytes()).sum()
    }

    /// How many keys a group's tables count in each tree.
    fn keys_of(&self, group: Group) -> BTreeMap<TreeId, i64> {
        let mut keys = BTreeMap::new();
        for (id, _, more) in self.in_group(group).iter().flat_map(|open| &open.trees) {
            *keys.entry(*id).or_default() += *more;
        }
        keys
    }

    /// What there is to know of them for whoever decides what to merge.
    pub fn summaries(&self) -> Arc<[TableSummary]> {
        let of_group = |(group, tables): (&Group, &Vec<Open>)| -> Vec<TableSummary> {
            let keys = self.keys_of(*group);
            let coarse = |(id, depth, _): &(TreeId, u8, i64)| {
                is_too_coarse(*depth, count(keys.get(id).copied().unwrap_or_default()))
            };
            let summary = |open: &Open| TableSummary {
                id: open.table.id(),
                group: *group,
                age: open.age,
                bytes: open.bytes,
                entries: open.table.entries(),
                voids: open.voids,
                coarse: open.trees.iter().any(coarse),
            };
            tables.iter().map(summary).collect()
        };
        self.groups.iter().flat_map(of_group).collect()
    }
}
