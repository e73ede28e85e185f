//! Writing tables into trees. A table counts once it is synced, and then listed in the manifest.
//!
//! Chunks lie in rows (`row.rs`). The keys of all chunks are laid out, empty, before rows are put in, so that a tree's leaves
//! split while they are small.

use super::manifest::TableEntry;
use super::row::{ROW_CHUNKS, put_chunk};
use super::trees::{StoreError, TreeName, Trees};
use crate::leaves::{Leaves, tree_of};
use crate::store_key::group_of_key;
use crate::table::{Finished, Writer};
use alloc::vec::Vec;
use anser_machine::{Frozen, Group, StoredTable, TableId};
use bytes::Bytes;

/// So many chunks are stored at a time: a row, since work in the background gives way between two of them.
const BATCH_CHUNKS: usize = 8;
/// So many keys are laid out at a time; those that the table does not come to need stay empty.
const LAY_OUT_CHUNKS: u32 = 256;

/// A table that is being written.
#[derive(Debug)]
pub struct Installing {
    writer: Writer,
    shelf: Shelf,
}

/// Where its chunks go.
#[derive(Debug)]
struct Shelf {
    entry: TableEntry,
    /// Keys that are laid out.
    laid: u32,
    /// The row that is being filled.
    row: Vec<u8>,
}

impl Installing {
    /// A table without entries.
    pub fn new(id: TableId, shard: u32, group: Group, age: u64) -> Installing {
        let entry = TableEntry { id: id.0, shard, group, age, voids: 0, meta_at: 0, chunks: 0, bytes: 0 };
        Installing { writer: Writer::new(id), shelf: Shelf { entry, laid: 0, row: Vec::new() } }
    }

    /// Adds an entry; its key is greater than all before.
    pub fn push(&mut self, trees: &impl Trees, key: &[u8], state: &[u8]) -> Result<(), StoreError> {
        self.writer.push(key, state);
        if self.writer.ready() < BATCH_CHUNKS {
            return Ok(());
        }
        self.shelf.store(trees, &self.writer.take(), LAY_OUT_CHUNKS)
    }

    /// Its id.
    pub fn id(&self) -> TableId {
        TableId(self.shelf.entry.id)
    }

    /// Bytes stored so far.
    pub fn bytes(&self) -> u64 {
        self.shelf.entry.bytes
    }

    /// Stores the rest: the table's entry for the manifest, and its metadata. It makes so many older entries void, and these
    /// changes of hash trees.
    pub fn finish(
        self,
        trees: &impl Trees,
        voids: u64,
        leaves: &Leaves,
    ) -> Result<(TableEntry, Bytes), StoreError> {
        let Installing { writer, mut shelf } = self;
        let Finished { chunks, meta_at, meta } = writer.finish(leaves);
        shelf.store(trees, &chunks, 0)?;
        shelf.end_row(trees)?;
        Ok((TableEntry { meta_at, voids, ..shelf.entry }, meta))
    }
}

impl Shelf {
    /// Stores chunks, laying out at least so many keys if there are none left.
    fn store(&mut self, trees: &impl Trees, chunks: &[Vec<u8>], lay_out: u32) -> Result<(), StoreError> {
        let tree = TreeName::Table(TableId(self.entry.id));
        let first = self.entry.chunks;
        let after = first.saturating_add(u32::try_from(chunks.len()).unwrap_or(u32::MAX));
        if after > self.laid {
            let laid = after.max(self.laid.saturating_add(lay_out));
            (self.laid..laid).try_for_each(|number| trees.put(tree, &number.to_be_bytes(), &[]))?;
            self.laid = laid;
        }
        for chunk in chunks {
            put_chunk(&mut self.row, chunk);
            self.entry.bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            self.entry.chunks = self.entry.chunks.saturating_add(1);
            if self.entry.chunks.is_multiple_of(ROW_CHUNKS) {
                self.end_row(trees)?;
            }
        }
        Ok(())
    }

    /// Stores the row that is being filled.
    fn end_row(&mut self, trees: &impl Trees) -> Result<(), StoreError> {
        if self.row.is_empty() {
            return Ok(());
        }
        let first = self.entry.chunks.saturating_sub(1) / ROW_CHUNKS * ROW_CHUNKS;
        trees.put(TreeName::Table(TableId(self.entry.id)), &first.to_be_bytes(), &self.row)?;
        self.row.clear();
        Ok(())
    }
}

impl TableEntry {
    /// The table as its shard is told of it.
    pub fn with(&self, meta: Bytes) -> StoredTable {
        let TableEntry { id, group, age, voids, bytes, .. } = *self;
        StoredTable { id: TableId(id), group, age, voids, bytes, meta }
    }
}

/// Writes a shard's frozen memtable as tables, one for each group, numbered by `next_id`.
pub fn write_frozen(
    trees: &impl Trees,
    next_id: &mut dyn FnMut() -> TableId,
    shard: u32,
    frozen: &Frozen,
) -> Result<Vec<(TableEntry, Bytes)>, StoreError> {
    let mut tables = Vec::new();
    let mut writing: Option<Flushing> = None;
    for (key, stored) in &frozen.entries {
        let key = key.as_bytes();
        let group = group_of_key(key).unwrap_or_default();
        if let Some(before) = writing.take_if(|writing| writing.table.shelf.entry.group != group) {
            tables.push(before.finish(trees)?);
        }
        let into = writing.get_or_insert_with(|| {
            let id = next_id();
            // Newer than all that were written before.
            let table = Installing::new(id, shard, group, id.0);
            Flushing { table, voids: 0, leaves: Leaves::default() }
        });
        into.table.push(trees, key, &stored.state)?;
        into.voids += u64::from(stored.voids());
        if let Some((tree, within)) = tree_of(key) {
            let depth = frozen.depths.get(&tree).copied().unwrap_or_default();
            into.leaves.push(tree, depth, within, stored.change());
        }
    }
    if let Some(last) = writing {
        tables.push(last.finish(trees)?);
    }
    Ok(tables)
}

/// One group's table of a memtable.
struct Flushing {
    table: Installing,
    voids: u64,
    leaves: Leaves,
}

impl Flushing {
    fn finish(self, trees: &impl Trees) -> Result<(TableEntry, Bytes), StoreError> {
        self.table.finish(trees, self.voids, &self.leaves)
    }
}
