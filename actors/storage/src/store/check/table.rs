//! One table: its chunks, its metadata, and its blocks against both.

use super::{Finding, Place, TableSeen, Tell, count, partition_in_table, what_of};
use crate::store::manifest::TableEntry;
use crate::store::row::Rows;
use crate::store::trees::{StoreError, Trees};
use crate::store_key::group_of_key;
use crate::table::chunk::{self, BadChunk};
use crate::table::{Table, block};
use alloc::format;
use alloc::string::{String, ToString as _};
use anser_machine::TableId;
use bytes::Bytes;

/// Reads a whole table.
pub(super) fn check(trees: &impl Trees, entry: &TableEntry, tell: &mut Tell<'_>) {
    let place = Place::Table { table: entry.id, shard: entry.shard };
    let opened = join(trees, &mut Rows::of(TableId(entry.id)), entry.meta_at).and_then(|joined| {
        let table = Table::open(TableId(entry.id), joined.content).map_err(|error| error.to_string())?;
        let end = u64::from(entry.meta_at) + u64::from(joined.chunks);
        if end == u64::from(entry.chunks) {
            Ok((table, joined.bytes))
        } else {
            Err(format!("it ends at chunk {end}, and is listed with {} chunks", entry.chunks))
        }
    });
    match opened {
        Ok((table, bytes)) => {
            tell(Finding::Block { bytes });
            Reader::new(trees, entry, &table).read(bytes, tell);
        }
        Err(what) => tell(Finding::Damage { place, what: format!("its index and filter: {what}") }),
    }
}

/// Chunks put together.
struct Joined {
    content: Bytes,
    chunks: u32,
    /// As they are stored.
    bytes: u64,
}

/// Why chunks can't be put together.
enum Unread {
    Store(StoreError),
    Chunk(BadChunk),
}

impl From<BadChunk> for Unread {
    fn from(error: BadChunk) -> Unread {
        Unread::Chunk(error)
    }
}

fn join(trees: &impl Trees, rows: &mut Rows, first: u32) -> Result<Joined, String> {
    let id = rows.table();
    let mut bytes = 0;
    let get = |number: u32| {
        let stored = rows.chunk(trees, number).map_err(Unread::Store)?;
        bytes += stored.as_ref().map_or(0, |stored| count(stored.len()));
        Ok(stored)
    };
    match chunk::join(id, first, get) {
        Ok((content, chunks)) => Ok(Joined { content, chunks, bytes }),
        Err(Unread::Store(error)) => Err(what_of(error)),
        Err(Unread::Chunk(error)) => Err(error.to_string()),
    }
}

/// Reads a table's blocks in order.
struct Reader<'a, T> {
    trees: &'a T,
    entry: &'a TableEntry,
    table: &'a Table,
    rows: Rows,
    seen: TableSeen,
    /// Where the next block begins; none after one that could not be read.
    next: Option<u32>,
    /// Bytes of all chunks.
    bytes: u64,
    damaged: bool,
}

impl<'a, T: Trees> Reader<'a, T> {
    fn new(trees: &'a T, entry: &'a TableEntry, table: &'a Table) -> Reader<'a, T> {
        let seen = TableSeen {
            entry: entry.clone(),
            blocks: 0,
            keys: 0,
            first: Bytes::new(),
            last: Bytes::new(),
            by_partition: super::ByPartition::new(),
        };
        let rows = Rows::of(table.id());
        Reader { trees, entry, table, rows, seen, next: Some(0), bytes: 0, damaged: false }
    }

    fn read(mut self, meta_bytes: u64, tell: &mut Tell<'_>) {
        self.bytes = meta_bytes;
        for block in self.table.blocks() {
            match self.block(block) {
                Ok(bytes) => tell(Finding::Block { bytes }),
                Err(what) => {
                    self.damaged = true;
                    let TableEntry { id: table, shard, .. } = *self.entry;
                    tell(Finding::Damage { place: Place::Block { table, shard, block }, what });
                }
            }
        }
        if let Some(what) = self.whole().err().filter(|_| !self.damaged) {
            let place = Place::Table { table: self.entry.id, shard: self.entry.shard };
            tell(Finding::Damage { place, what });
        }
        tell(Finding::Table(self.seen));
    }

    /// Verifies a block; how many bytes of it are stored.
    fn block(&mut self, number: u32) -> Result<u64, String> {
        let expected = self.next.take();
        let joined = join(self.trees, &mut self.rows, number)?;
        self.next = number.checked_add(joined.chunks);
        if expected.is_some_and(|expected| expected != number) {
            return Err("it does not begin where the one before it ends".into());
        }
        let content = block::unpack(&joined.content).map_err(|error| error.to_string())?;
        let entries = block::entries(&content).map_err(|error| error.to_string())?;
        if entries.is_empty() {
            return Err("it has no entry".into());
        }
        for (key, state) in entries {
            self.entry(number, &content, &key, &state)?;
        }
        self.seen.blocks += 1;
        self.bytes += joined.bytes;
        Ok(joined.bytes)
    }

    fn entry(&mut self, number: u32, content: &Bytes, key: &Bytes, state: &Bytes) -> Result<(), String> {
        if self.seen.keys > 0 && *key <= self.seen.last {
            return Err("its keys are not in order".into());
        }
        if self.table.block_of(key) != Some(number) {
            return Err("a key is outside of the range that the index gives it".into());
        }
        if !self.table.might_hold(key) {
            return Err("a key is not in the table's filter".into());
        }
        match block::search(content, key) {
            Ok(Some(found)) if found == *state => {}
            Ok(_) | Err(_) => return Err("a key is not found where it is".into()),
        }
        if group_of_key(key) != Some(self.entry.group) {
            return Err("a key is of another group of partitions".into());
        }
        let partition = partition_in_table(key, state)?;
        if self.seen.keys == 0 {
            self.seen.first = key.clone();
        }
        self.seen.last = key.clone();
        self.seen.keys += 1;
        *self.seen.by_partition.entry(partition).or_default() += 1;
        Ok(())
    }

    /// Verifies what only all blocks together show.
    fn whole(&self) -> Result<(), String> {
        let (keys, expected) = (self.seen.keys, self.table.entries());
        if keys != expected {
            return Err(format!("it has {keys} keys, and should have {expected}"));
        }
        if self.next != Some(self.entry.meta_at) {
            return Err("its blocks don't end where its index begins".into());
        }
        if self.seen.last != self.table.range().1 {
            return Err("its last key is not its greatest".into());
        }
        if self.bytes != self.entry.bytes {
            return Err(format!("it has {} bytes, and is listed with {}", self.bytes, self.entry.bytes));
        }
        Ok(())
    }
}
