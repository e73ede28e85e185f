//! Merges tables of one group that are neighbours in age: of each key the newest state is kept.
//!
//! Keeps: what a look-up finds is the same before and after, wherever a crash comes; the tables merged are gone from the
//! manifest in the same write that lists the new ones. A large group's tables end where partitions do, as far as that
//! leaves them large enough, so that a partition can be dropped or moved with few others.

use crate::store::install::Installing;
use crate::store::recovery::{damaged, meta_of, read_block_of};
use crate::store::row::Rows;
use crate::store::{Manifest, StoreError, TableEntry, Trees};
use crate::table::Table;
use crate::table::block::Entries;
use alloc::vec::Vec;
use anser_machine::{Group, TableId};
use bytes::Bytes;

/// A table of so many bytes ends with its partition.
const TABLE_BYTES: u64 = 16 << 20;
/// A table of so many bytes ends: what is kept in memory while it is written stays small.
const TABLE_BYTES_MAX: u64 = 64 << 20;
/// The bytes of a key that name its partition.
const PARTITION_BYTES: usize = 2;

/// One of the tables that are merged.
#[derive(Debug)]
struct Input {
    table: Table,
    rows: Rows,
    /// The place of the next block.
    next: usize,
    /// The walk through the present block; none at the table's end.
    walk: Option<Entries>,
}

/// A merge under way.
#[derive(Debug)]
pub struct Merge {
    shard: u32,
    group: Group,
    age: u64,
    /// The newest first.
    inputs: Vec<Input>,
    /// About how many entries of tables that are not merged the result makes void.
    voids: u64,
    writing: Option<Installing>,
    written: Vec<(TableEntry, Bytes)>,
    last: Vec<u8>,
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
        let mut opened = Vec::with_capacity(chosen.len());
        for entry in &chosen {
            opened.push(Input::open(trees, entry)?);
        }
        Ok(Some(Merge {
            shard,
            group,
            age,
            inputs: opened,
            voids,
            writing: None,
            written: Vec::new(),
            last: Vec::new(),
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
            let Some((key, state)) = self.pop(trees)? else {
                self.end_table(trees)?;
                return Ok(true);
            };
            left = left.saturating_sub(key.len() + state.len());
            if self.is_full_for(&key) {
                self.end_table(trees)?;
            }
            let (shard, group, age) = (self.shard, self.group, self.age);
            let table = self.writing.get_or_insert_with(|| Installing::new(next_id(), shard, group, age));
            table.push(trees, &key, &state)?;
            self.last = key;
        }
        Ok(false)
    }

    /// What is to be listed, once all of it is synced.
    pub fn finish(self) -> Merged {
        let removed = self.inputs.iter().map(|input| input.table.id()).collect();
        Merged { shard: self.shard, removed, added: self.written }
    }

    /// The smallest key with its newest state; older ones are passed over.
    fn pop(&mut self, trees: &impl Trees) -> Result<Option<(Vec<u8>, Bytes)>, StoreError> {
        let mut smallest: Option<(&[u8], &Bytes)> = None;
        for (key, state) in self.inputs.iter().filter_map(Input::entry) {
            // Of equal keys the first one stays, which is the newest.
            if smallest.is_none_or(|(other, _)| key < other) {
                smallest = Some((key, state));
            }
        }
        let Some((key, state)) = smallest.map(|(key, state)| (key.to_vec(), state.clone())) else {
            return Ok(None);
        };
        let mut holders = 0_u64;
        for input in &mut self.inputs {
            if input.entry().is_some_and(|(other, _)| other == key) {
                input.advance(trees)?;
                holders += 1;
            }
        }
        self.voids = self.voids.saturating_sub(holders.saturating_sub(1));
        Ok(Some((key, state)))
    }

    /// Whether the present table ends before this key.
    fn is_full_for(&self, key: &[u8]) -> bool {
        let bytes = self.writing.as_ref().map_or(0, Installing::bytes);
        let same_partition = self.last.get(..PARTITION_BYTES) == key.get(..PARTITION_BYTES);
        bytes >= TABLE_BYTES_MAX || (bytes >= TABLE_BYTES && !same_partition)
    }

    fn end_table(&mut self, trees: &impl Trees) -> Result<(), StoreError> {
        if let Some(table) = self.writing.take() {
            // Of all tables of one age the first one stands for what they make void together.
            self.written.push(table.finish(trees, 0)?);
        }
        if let Some((first, _)) = self.written.first_mut() {
            first.voids = self.voids;
        }
        Ok(())
    }
}

impl Input {
    fn open(trees: &impl Trees, entry: &TableEntry) -> Result<Input, StoreError> {
        let meta = meta_of(trees, entry)?;
        let table = Table::open(TableId(entry.id), meta).map_err(|error| damaged(entry.id, &error))?;
        let rows = Rows::of(table.id());
        let mut input = Input { table, rows, next: 0, walk: None };
        input.next_block(trees)?;
        Ok(input)
    }

    fn entry(&self) -> Option<(&[u8], &Bytes)> {
        self.walk.as_ref().and_then(Entries::entry)
    }

    fn next_block(&mut self, trees: &impl Trees) -> Result<(), StoreError> {
        self.walk = None;
        if let Some(block) = self.table.block_at(self.next) {
            self.next += 1;
            let (content, _) = read_block_of(trees, &mut self.rows, block)?;
            let walk = Entries::of(content).map_err(|error| self.damaged(&error))?;
            self.walk = Some(walk);
        }
        Ok(())
    }

    fn advance(&mut self, trees: &impl Trees) -> Result<(), StoreError> {
        let Some(walk) = &mut self.walk else { return Ok(()) };
        if let Err(error) = walk.advance() {
            return Err(self.damaged(&error));
        }
        if walk.entry().is_none() {
            return self.next_block(trees);
        }
        Ok(())
    }

    fn damaged(&self, error: &dyn core::fmt::Display) -> StoreError {
        damaged(self.table.id().0, error)
    }
}
