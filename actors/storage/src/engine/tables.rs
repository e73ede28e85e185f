//! One shard's tables, by group, the newest first.

use crate::store_key::group_of_key;
use crate::table::{BadTable, Table};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_machine::{Group, StoredTable, TableId, TableSummary};

/// A table that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub table: Table,
    age: u64,
    bytes: u64,
    voids: u64,
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
            Ok((group, Open { table: Table::open(id, meta)?, age, bytes, voids }))
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

    /// What there is to know of them for whoever decides what to merge.
    pub fn summaries(&self) -> Arc<[TableSummary]> {
        let of_group = |(group, tables): (&Group, &Vec<Open>)| -> Vec<TableSummary> {
            let summary = |open: &Open| TableSummary {
                id: open.table.id(),
                group: *group,
                age: open.age,
                bytes: open.bytes,
                entries: open.table.entries(),
                voids: open.voids,
            };
            tables.iter().map(summary).collect()
        };
        self.groups.iter().flat_map(of_group).collect()
    }
}
