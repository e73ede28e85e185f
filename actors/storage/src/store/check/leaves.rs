//! The hash trees of a store: what its tables say that they change against what their keys sum up to, and what the log's
//! records say that they replace against what they do.

use super::{Finding, Place, Tell};
use crate::compaction::newest::{Newest, Popped};
use crate::leaves::{Leaves, fingerprint_of, tree_of};
use crate::store::manifest::{Manifest, TableEntry};
use crate::store::trees::{StoreError, Trees};
use crate::store_key::group_of_key;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use anser_machine::Group;
use anser_model::merkle::{Fingerprint, Tally};
use bytes::Bytes;

/// What a record of the log does.
#[derive(Debug)]
pub(super) struct Change {
    pub key: Bytes,
    /// What the state before counted as, as the record says.
    pub replaces: Fingerprint,
    pub counts: Fingerprint,
}

/// What the log's records, of each shard in order, say that they replace.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    /// Of each key's first record: what tables hold of it should count so.
    first: BTreeMap<(u32, Bytes), Fingerprint>,
    /// What the last record of each key counts as.
    last: BTreeMap<(u32, Bytes), Fingerprint>,
}

impl Replaced {
    /// The next record of a shard.
    pub fn follow(&mut self, shard: u32, change: Change, tell: &mut Tell<'_>) {
        let Change { key, replaces, counts } = change;
        let key = (shard, key);
        match self.last.insert(key.clone(), counts) {
            Some(before) if before != replaces => {
                let group = group_of_key(&key.1).unwrap_or_default();
                let what = "a log record does not say what the one before it counts as".to_string();
                tell(Finding::Damage { place: Place::Leaves { shard, group }, what });
            }
            Some(_) => {}
            None => {
                self.first.insert(key, replaces);
            }
        }
    }

    fn of_group(&self, shard: u32, group: Group) -> BTreeMap<&[u8], Fingerprint> {
        let first =
            self.first.iter().filter(|((of, key), _)| *of == shard && group_of_key(key) == Some(group));
        first.map(|((_, key), replaces)| (key.as_ref(), *replaces)).collect()
    }
}

/// Checks the groups that have tables; of others nothing is replaced, whatever the log remembers. Where a table can't be read
/// that is told elsewhere.
pub(super) fn check(trees: &impl Trees, manifest: &Manifest, replaced: &Replaced, tell: &mut Tell<'_>) {
    let mut groups: BTreeMap<(u32, Group), Vec<TableEntry>> = BTreeMap::new();
    for entry in &manifest.tables {
        groups.entry((entry.shard, entry.group)).or_default().push(entry.clone());
    }
    for ((shard, group), mut tables) in groups {
        tables.sort_by_key(|entry| core::cmp::Reverse(entry.age));
        let found = of_group(trees, &tables, replaced.of_group(shard, group));
        if let Ok(Some(what)) = found {
            tell(Finding::Damage { place: Place::Leaves { shard, group }, what });
        }
    }
}

/// What is wrong with a group's trees.
fn of_group(
    trees: &impl Trees,
    tables: &[TableEntry],
    mut replaced: BTreeMap<&[u8], Fingerprint>,
) -> Result<Option<String>, StoreError> {
    let (mut walk, told) = Newest::open(trees, tables)?;
    let mut found = Leaves::default();
    let mut wrong = None;
    while let Some(Popped { key, state, .. }) = walk.pop(trees)? {
        let Some((tree, within)) = tree_of(&key) else { continue };
        let Ok(counts) = fingerprint_of(&key, &state) else { continue };
        let depth = told.of(tree).map_or(0, |delta| delta.depth());
        found.push(tree, depth, within, Tally::of(counts));
        if replaced.remove(key.as_slice()).is_some_and(|replaces| replaces != counts) {
            wrong.get_or_insert("a log record does not say what the tables hold of its key counts as");
        }
    }
    if replaced.values().any(|replaces| *replaces != Fingerprint::NONE) {
        wrong.get_or_insert("a log record says that it replaces what no table holds");
    }
    for (tree, delta) in found.iter() {
        let told = told.of(tree).map_or(&[][..], |delta| delta.leaves());
        if told != delta.leaves() {
            let (partition, keyspace) = (tree.partition.0, tree.keyspace.0);
            return Ok(Some(format!(
                "the tables' leaves of keyspace {keyspace} in partition {partition} are not those of their keys"
            )));
        }
    }
    if told.iter().any(|(tree, delta)| found.of(tree).is_none() && !delta.leaves().is_empty()) {
        wrong.get_or_insert("the tables have leaves of a keyspace of which they have no key");
    }
    Ok(wrong.map(String::from))
}
