//! One shard's store as its machine sees it: newest first, the active memtable, frozen ones, tables. An entry is a key's
//! whole state, so the first hit is complete.
//!
//! Reads that need a block end in [`Lookup::Fetch`]; with the block, [`Engine::resume`] goes on. Keeps: a lookup never shows
//! an older state than one that was inserted before it ended.
//! Deliberately absent: the knowledge of what is synced. A state in memory comes with its log position; the machine
//! compares it with what the disk said last.

mod batch;
mod gather;
mod run;
mod scan;
mod tables;
#[cfg(test)]
mod tests;
mod trees;
mod walk;

use crate::cache::Cache;
use crate::leaves::fingerprint_of;
use crate::memtable::Memtable;
use crate::record::{self, BadRecord};
use crate::store_key::{StoreKey, group_of_key};
use crate::table::{BadTable, block};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_machine::{
    Count, DiskRequest, Frozen, Group, LogRecord, Lsn, Outbox, Stored, StoredTable, TableId, TableSummary,
    Ticket,
};
use anser_model::merkle::Fingerprint;
pub use batch::{BATCH_KEYS_MAX, Batch, Batched, Found};
use bytes::Bytes;
pub use run::Run;
pub use scan::{Page, Scan, Scanned};
use tables::Tables;
use trees::Trees;

/// The log that a memtable keeps from being dropped is at most so many times as long as the memtable may be: keys that
/// are written over and over fill the log and not the memtable.
pub const LOG_PER_MEMTABLE: usize = 2;

/// What one shard may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the active memtable from which it is frozen.
    pub memtable_bytes: usize,
    /// Most frozen memtables that wait to be written.
    pub frozen_max: usize,
    /// Bytes of the block cache. Hash trees that take more than as much take it from the cache.
    pub cache_bytes: usize,
}

/// The part of its bytes that the block cache keeps however large the hash trees are: one in this many.
const CACHE_SHARE_MIN: usize = 8;

impl Limits {
    /// Bytes of the block cache beside hash trees of so many.
    fn cache_beside(&self, tree_bytes: usize) -> usize {
        let over = tree_bytes.saturating_sub(self.cache_bytes);
        self.cache_bytes.saturating_sub(over).max(self.cache_bytes / CACHE_SHARE_MIN)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memtable_bytes: 8 << 20, frozen_max: 2, cache_bytes: 16 << 20 }
    }
}

/// What is known of a key.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Its state, from memory. It survives a power cut once the log is synced through `lsn`.
    Memory {
        /// The whole encoded state.
        state: Bytes,
        /// Where the log has it.
        lsn: Lsn,
        /// What it counts as in its hash tree.
        counts: Fingerprint,
    },
    /// Its state, from a table: durable.
    Table {
        /// The whole encoded state.
        state: Bytes,
    },
    /// There is none.
    Absent,
    /// A block must be fetched first: [`Search::request`], then [`Engine::resume`].
    Fetch(Search),
    /// A block that is not what a table's block can be: the copy is damaged.
    Damaged {
        /// The table.
        table: TableId,
        /// Its block.
        block: u32,
    },
}

/// A lookup that waits for a block.
#[derive(Clone, Debug)]
pub struct Search {
    key: StoreKey,
    table: TableId,
    block: u32,
    place: usize,
    generation: u64,
}

impl Search {
    /// What is looked up.
    pub fn key(&self) -> &StoreKey {
        &self.key
    }

    /// The table to read.
    pub fn table(&self) -> TableId {
        self.table
    }

    /// What to ask the disk.
    pub fn request(&self, ticket: Ticket) -> DiskRequest {
        DiskRequest::Fetch { ticket, table: self.table, block: self.block, count: 1 }
    }
}

/// A frozen memtable on its way into a table.
#[derive(Debug)]
struct Waiting {
    frozen: Arc<Frozen>,
    bytes: usize,
    through: Lsn,
    /// Groups that are void in it: their tables will be.
    void: Vec<Group>,
}

impl Waiting {
    fn get(&self, key: &StoreKey) -> Option<&Stored> {
        let is_void = group_of_key(key.as_bytes()).is_some_and(|group| self.void.contains(&group));
        if is_void { None } else { self.frozen.entries.get(key.headed()) }
    }
}

/// One shard's memtables, tables and block cache.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    active: Memtable,
    /// The newest last.
    waiting: VecDeque<Waiting>,
    tables: Tables,
    trees: Trees,
    /// Counts changes of `tables`, so that a search knows when its place in them is void.
    generation: u64,
    cache: Cache,
}

impl Engine {
    /// An empty one.
    pub fn new(limits: Limits) -> Engine {
        Engine {
            limits,
            active: Memtable::new(),
            waiting: VecDeque::new(),
            tables: Tables::default(),
            trees: Trees::default(),
            generation: 0,
            cache: Cache::new(limits.cache_bytes),
        }
    }

    /// Takes the tables that the disk holds.
    pub fn recovered_tables(&mut self, tables: Vec<StoredTable>) -> Result<(), BadTable> {
        self.tables = Tables::default();
        self.trees = Trees::default();
        self.replace(&[], tables, true)
    }

    /// Takes log records that no table holds, in order: the last one of a key wins. All of them go into one memtable, however
    /// large it becomes: tables of a part would tell of lost tables' groups again, and what later records remember of those
    /// would be believed at the next start. (What the log keeps is bounded, by [`LOG_PER_MEMTABLE`].)
    pub fn recovered_log(&mut self, records: &[LogRecord]) -> Result<(), BadRecord> {
        for log_record in records {
            let record = record::decode(&log_record.bytes)?;
            let counts = fingerprint_of(record.key.as_bytes(), &record.state).map_err(BadRecord::State)?;
            let replaces = self.counted(&record.key, record.replaces);
            self.insert(&record.key, record.state, counts, log_record.lsn, replaces);
        }
        Ok(())
    }

    /// Puts a key's new whole state, as the log has it at `lsn`; log positions come in order. It counts as `counts`, and the
    /// one before it did as `replaces`.
    pub fn insert(
        &mut self,
        key: &StoreKey,
        state: Bytes,
        counts: Fingerprint,
        lsn: Lsn,
        replaces: Fingerprint,
    ) {
        let old = self.active.insert(key, state, counts, lsn, replaces);
        self.count(key, old, counts);
    }

    /// Whether a write must be refused as busy until a flush is done.
    pub fn is_full(&self) -> bool {
        self.is_due() && self.waiting.len() >= self.limits.frozen_max
    }

    /// Whether the active memtable, or the log that it keeps, is large enough to be frozen.
    pub fn is_due(&self) -> bool {
        let log_bytes = self.limits.memtable_bytes.saturating_mul(LOG_PER_MEMTABLE);
        self.active.bytes() >= self.limits.memtable_bytes || self.active.logged() >= log_bytes
    }

    /// Freezes the active memtable if it is due and another may wait: what to flush, and the last log position in
    /// it. Call after inserts and after [`Engine::flushed`].
    pub fn freeze(&mut self) -> Option<(Arc<Frozen>, Lsn)> {
        if !self.is_due() || self.active.is_empty() || self.waiting.len() >= self.limits.frozen_max {
            return None;
        }
        let (bytes, through) = (self.active.bytes(), self.active.through());
        let frozen = self.active.freeze(self.trees.depths());
        self.waiting.push_back(Waiting { frozen: frozen.clone(), bytes, through, void: Vec::new() });
        Some((frozen, through))
    }

    /// A frozen memtable is in tables now.
    pub fn flushed(&mut self, tables: Vec<StoredTable>, through: Lsn) -> Result<(), BadTable> {
        self.waiting.retain(|waiting| waiting.through != through);
        self.replace(&[], tables, false)
    }

    /// Tables were merged into others.
    pub fn replaced(&mut self, removed: &[TableId], added: Vec<StoredTable>) -> Result<(), BadTable> {
        self.replace(removed, added, false)
    }

    fn replace(
        &mut self,
        removed: &[TableId],
        added: Vec<StoredTable>,
        are_new: bool,
    ) -> Result<(), BadTable> {
        self.generation += 1;
        let groups = added.iter().map(|table| table.group).collect();
        self.tables.replace(removed, added)?;
        self.tables_came(&groups, are_new);
        self.cache.resize(self.limits.cache_beside(self.tree_bytes()));
        Ok(())
    }

    /// All tables of a group are void, and so are those that are being written. What the log still has stays: each entry is a
    /// key's whole state.
    pub fn drop_group(&mut self, group: Group) {
        self.generation += 1;
        self.waiting.iter_mut().for_each(|waiting| waiting.void.push(group));
        self.tables.drop_group(group);
        self.count_anew(group);
    }

    /// The group of a table, if it is there.
    pub fn group_of_table(&self, table: TableId) -> Option<Group> {
        self.tables.group_of(table)
    }

    /// Looks a key up.
    pub fn lookup(&mut self, key: &StoreKey, out: &mut Outbox) -> Lookup {
        self.in_memory(key).unwrap_or_else(|| self.in_tables(key, 0, out))
    }

    /// Goes on with a lookup, now that its block is here.
    pub fn resume(&mut self, search: Search, content: Bytes, out: &mut Outbox) -> Lookup {
        let Search { key, table, block, place, generation } = search;
        self.cache.insert(table, block, content.clone());
        // What was written since is newer than any table.
        if let Some(found) = self.in_memory(&key) {
            return found;
        }
        if generation != self.generation {
            return self.in_tables(&key, 0, out);
        }
        match block::search(&content, key.as_bytes()) {
            Ok(Some(state)) => Lookup::Table { state },
            Ok(None) => self.in_tables(&key, place + 1, out),
            Err(block::BadBlock) => Lookup::Damaged { table, block },
        }
    }

    /// Begins a lookup anew whose table is gone.
    pub fn again(&mut self, search: &Search, out: &mut Outbox) -> Lookup {
        self.lookup(&search.key, out)
    }

    /// Bytes in memtables.
    pub fn memtable_bytes(&self) -> usize {
        self.active.bytes() + self.waiting.iter().map(|waiting| waiting.bytes).sum::<usize>()
    }

    /// Counts changes of the tables.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What there is to know of the tables for whoever decides what to merge.
    pub fn tables(&self) -> Arc<[TableSummary]> {
        self.tables.summaries()
    }

    /// A key's state and its log position, if it is in memory.
    pub fn remembered(&self, key: &StoreKey) -> Option<(Bytes, Lsn)> {
        match self.in_memory(key) {
            Some(Lookup::Memory { state, lsn, .. }) => Some((state, lsn)),
            Some(Lookup::Table { .. } | Lookup::Absent | Lookup::Fetch(_) | Lookup::Damaged { .. })
            | None => None,
        }
    }

    fn in_memory(&self, key: &StoreKey) -> Option<Lookup> {
        let Stored { state, lsn, counts, .. } = self.stored(key)?;
        Some(Lookup::Memory { state: state.clone(), lsn: *lsn, counts: *counts })
    }

    /// Searches the tables from the `from`-th on.
    fn in_tables(&mut self, key: &StoreKey, from: usize, out: &mut Outbox) -> Lookup {
        for (place, open) in self.tables.of(key.as_bytes()).iter().enumerate().skip(from) {
            let table = &open.table;
            let Some(block) = table.block_of(key.as_bytes()) else { continue };
            let ruled_out = !table.might_hold(key.as_bytes());
            out.count(Count::Bloom { ruled_out });
            if ruled_out {
                continue;
            }
            let cached = self.cache.get(table.id(), block);
            out.count(Count::Cache { hit: cached.is_some() });
            let table = table.id();
            let Some(content) = cached else {
                let generation = self.generation;
                return Lookup::Fetch(Search { key: key.clone(), table, block, place, generation });
            };
            match block::search(&content, key.as_bytes()) {
                Ok(Some(state)) => return Lookup::Table { state },
                Ok(None) => {}
                Err(block::BadBlock) => return Lookup::Damaged { table, block },
            }
        }
        Lookup::Absent
    }
}
