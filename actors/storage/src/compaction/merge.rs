//! Merges tables of one group that are neighbours in age: of each key the newest state is kept.
//!
//! Keeps: what a look-up finds is the same before and after, wherever a crash comes; the tables merged are gone from the
//! manifest in the same write that lists the new ones. A large group's tables end where partitions do, as far as that
//! leaves them large enough, so that a partition can be dropped or moved with few others. What the tables change of hash
//! trees is summed up.

use super::newest::{Newest, Popped};
use crate::leaves::{Leaves, count, fingerprint_of, tree_of};
use crate::store::install::Installing;
use crate::store::{Manifest, StoreError, TableEntry, Trees};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use anser_machine::{Group, TableId};
use anser_model::merkle::{Delta, Tally, TreeId, depth_for};
use bytes::Bytes;

/// A table of so many bytes ends with its partition.
const TABLE_BYTES: u64 = 16 << 20;
/// A table of so many bytes ends: what is kept in memory while it is written stays small.
const TABLE_BYTES_MAX: u64 = 64 << 20;
/// The bytes of a key that name its partition.
const PARTITION_BYTES: usize = 2;

/// A merge under way.
#[derive(Debug)]
pub struct Merge {
    shard: u32,
    group: Group,
    age: u64,
    /// The newest first.
    inputs: Newest,
    /// About how many entries of tables that are not merged the result makes void.
    voids: u64,
    writing: Option<Installing>,
    written: Vec<(TableEntry, Bytes)>,
    last: Vec<u8>,
    /// What the tables that are not written yet change of hash trees.
    leaves: Leaves,
    /// Those trees of which finer leaves are told than before: they are summed up from the keys. Only of the oldest tables,
    /// whose changes are all that there is.
    finer: BTreeSet<TreeId>,
}

/// What a merge came to.
#[derive(Debug)]
pub struct Merged {
    /// Whose tables.
    pub shard: u32,
    /// They are no more.
    pub removed: Vec<TableId>,
    /// They hold what those held, each with its metadata.
    pub added: Vec<(TableEntry, Bytes)>,
}

impl Merged {
    /// Bytes that were written.
    pub fn bytes(&self) -> u64 {
        self.added.iter().map(|(entry, _)| entry.bytes).sum()
    }
}

/// The entries of tables to be merged; none if they can't be: one is gone, or another lies between them.
fn listed(manifest: &Manifest, shard: u32, inputs: &[TableId]) -> Option<Vec<TableEntry>> {
    let of_shard: Vec<&TableEntry> = manifest.tables_of(shard).collect();
    let find = |id: &TableId| of_shard.iter().find(|entry| entry.id == id.0).map(|entry| (*entry).clone());
    let mut chosen: Vec<TableEntry> = inputs.iter().map(find).collect::<Option<_>>()?;
    chosen.sort_by_key(|entry| core::cmp::Reverse(entry.age));
    let (newest, oldest) = (chosen.first()?, chosen.last()?);
    let between =
        |entry: &&&TableEntry| entry.group == newest.group && (oldest.age..=newest.age).contains(&entry.age);
    let whole = of_shard.iter().filter(between).count() == chosen.len();
    let one_group = chosen.iter().all(|entry| entry.group == newest.group);
    (whole && one_group).then_some(chosen)
}

impl Merge {
    /// Begins to merge tables; none if they can't be merged any more.
    pub fn begin(
        trees: &impl Trees,
        manifest: &Manifest,
        shard: u32,
        inputs: &[TableId],
    ) -> Result<Option<Merge>, StoreError> {
        let Some(chosen) = listed(manifest, shard, inputs) else { return Ok(None) };
        let Some((group, age)) = chosen.first().map(|entry| (entry.group, entry.age)) else {
            return Ok(None);
        };
        let oldest = chosen.last().map_or(age, |entry| entry.age);
        let is_oldest = !manifest.tables_of(shard).any(|entry| entry.group == group && entry.age < oldest);
        let voids = if is_oldest { 0 } else { chosen.iter().map(|entry| entry.voids).sum() };
        let (inputs, sum) = Newest::open(trees, &chosen)?;
        let (leaves, finer) = as_deep_as_wanted(&sum, is_oldest);
        Ok(Some(Merge {
            shard,
            group,
            age,
            inputs,
            voids,
            writing: None,
            written: Vec::new(),
            last: Vec::new(),
            leaves,
            finer,
        }))
    }

    /// Whether it is of this group of this shard.
    pub fn is_of(&self, shard: u32, group: Group) -> bool {
        self.shard == shard && self.group == group
    }

    /// Whose tables.
    pub fn group(&self) -> Group {
        self.group
    }

    /// What was written so far, to be dropped if the merge is given up.
    pub fn written(&self) -> impl Iterator<Item = TableId> + '_ {
        let whole = self.written.iter().map(|(entry, _)| TableId(entry.id));
        whole.chain(self.writing.as_ref().map(Installing::id))
    }

    /// Merges about so many bytes of entries. Whether it is done. New tables are numbered by `next_id`.
    pub fn step(
        &mut self,
        trees: &impl Trees,
        bytes: usize,
        next_id: &mut dyn FnMut() -> TableId,
    ) -> Result<bool, StoreError> {
        let mut left = bytes;
        while left > 0 {
            let Some(Popped { key, state, holders }) = self.inputs.pop(trees)? else {
                self.end_table(trees, None)?;
                return Ok(true);
            };
            self.voids = self.voids.saturating_sub(holders.saturating_sub(1));
            left = left.saturating_sub(key.len() + state.len());
            if self.is_full_for(&key) {
                self.end_table(trees, tree_of(&key).map(|(tree, _)| tree))?;
            }
            self.count(&key, &state)?;
            let (shard, group, age) = (self.shard, self.group, self.age);
            let table = self.writing.get_or_insert_with(|| Installing::new(next_id(), shard, group, age));
            table.push(trees, &key, &state)?;
            self.last = key;
        }
        Ok(false)
    }

    /// What is to be listed, once all of it is synced.
    pub fn finish(self) -> Merged {
        let removed = self.inputs.tables().collect();
        Merged { shard: self.shard, removed, added: self.written }
    }

    /// Whether the present table ends before this key.
    fn is_full_for(&self, key: &[u8]) -> bool {
        let bytes = self.writing.as_ref().map_or(0, Installing::bytes);
        let same_partition = self.last.get(..PARTITION_BYTES) == key.get(..PARTITION_BYTES);
        bytes >= TABLE_BYTES_MAX || (bytes >= TABLE_BYTES && !same_partition)
    }

    /// Sums up leaves that are told finer than before.
    fn count(&mut self, key: &[u8], state: &Bytes) -> Result<(), StoreError> {
        let Some((tree, within)) = tree_of(key).filter(|(tree, _)| self.finer.contains(tree)) else {
            return Ok(());
        };
        let counts = fingerprint_of(key, state)
            .map_err(|error| StoreError::Damaged(format!("a state in tables that are merged: {error}")))?;
        // Its depth is known: it is there already.
        self.leaves.push(tree, 0, within, Tally::of(counts));
        Ok(())
    }

    /// Ends the present table, before a key of the tree `next`. A tree is told of by the table that it ends in.
    fn end_table(&mut self, trees: &impl Trees, next: Option<TreeId>) -> Result<(), StoreError> {
        if let Some(table) = self.writing.take() {
            // Of all tables of one age the first one stands for what they make void together.
            self.written.push(table.finish(trees, 0, &self.leaves.take_before(next))?);
        }
        if let Some((first, _)) = self.written.first_mut() {
            first.voids = self.voids;
        }
        Ok(())
    }
}

/// What merged tables change of hash trees, at the depth that their keys want as far as that is known; and the trees of
/// which it is not, but can be summed up from the keys.
fn as_deep_as_wanted(sum: &Leaves, is_oldest: bool) -> (Leaves, BTreeSet<TreeId>) {
    let (mut leaves, mut finer) = (Leaves::default(), BTreeSet::new());
    for (tree, delta) in sum.iter() {
        let wanted = depth_for(count(delta.total().keys));
        if is_oldest && wanted > delta.depth() {
            leaves.add(tree, Delta::new(wanted));
            finer.insert(tree);
        } else if is_oldest {
            leaves.add(tree, delta.coarsened(wanted));
        } else {
            leaves.add(tree, delta.clone());
        }
    }
    (leaves, finer)
}
