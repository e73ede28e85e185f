//! An ordered walk through a partition, page by page.
//!
//! Keeps: a page shows what the partition held at one moment, the one at which it was given: blocks of tables never change,
//! and everything else is looked at in one step. The next page is of a later moment. Deliberately absent: any state between
//! two pages but the key where the last one ended.

use super::tables::Open;
use super::{Engine, Waiting};
use crate::cache::Cache;
use crate::store_key::{StoreKey, group_of_key};
use crate::table::block::Entries;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Range;
use alloc::vec::Vec;
use anser_machine::{Headed, Lsn, Stored, TableId};
use anser_model::PartitionId;
use bytes::Bytes;
use core::iter::Peekable;

/// So many blocks of a table are asked for at a time.
const READ_AHEAD: usize = 4;

/// A page that is being gathered.
#[derive(Debug)]
pub struct Scan {
    /// The first key bytes to be shown.
    from: Bytes,
    /// The first ones that are past the partition; none for the last one.
    to: Option<Bytes>,
    entries_max: usize,
    bytes_max: usize,
    /// Blocks that were fetched for it.
    blocks: BTreeMap<(TableId, u32), Bytes>,
}

/// A part of a partition, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and their whole encoded states.
    pub entries: Vec<(StoreKey, Bytes)>,
    /// What it shows survives a power cut once the log is synced through here; none if it does already.
    pub lsn: Option<Lsn>,
    /// Whether the partition has more keys behind the last one.
    pub more: bool,
}

/// How a page stands.
#[derive(Debug)]
pub enum Scanned {
    /// It is complete.
    Page(Page),
    /// These blocks must be fetched first: [`Scan::hold`] each, then [`Engine::scan`] again.
    Fetch(Vec<(TableId, u32)>),
    /// A block that is not what a table's block can be: the copy is damaged.
    Damaged {
        /// The table.
        table: TableId,
        /// Its block.
        block: u32,
    },
}

impl Scan {
    /// The page of a partition that begins behind a key; it ends with so many entries or bytes, and has at least one entry
    /// if there is any.
    pub fn new(
        partition: PartitionId,
        after: Option<&StoreKey>,
        entries_max: usize,
        bytes_max: usize,
    ) -> Scan {
        let prefix = |partition: u16| Bytes::copy_from_slice(&partition.to_be_bytes());
        let from = match after {
            // The next key in order has one more byte.
            Some(key) => [key.as_bytes().as_ref(), &[0]].concat().into(),
            None => prefix(partition.0),
        };
        let to = partition.0.checked_add(1).map(prefix);
        Scan { from, to, entries_max: entries_max.max(1), bytes_max, blocks: BTreeMap::new() }
    }

    /// Takes a block that was fetched.
    pub fn hold(&mut self, table: TableId, block: u32, content: Bytes) {
        self.blocks.insert((table, block), content);
    }

    fn is_past(&self, key: &[u8]) -> bool {
        self.to.as_ref().is_some_and(|to| key >= to.as_ref())
    }
}

/// Where entries come from.
enum Source<'a> {
    Memory(Peekable<Range<'a, Headed, Stored>>),
    Table(Walk<'a>),
}

/// A walk through one table.
struct Walk<'a> {
    open: &'a Open,
    place: usize,
    entries: Option<Entries>,
}

/// Why a walk can't go on.
enum Stop {
    Missing(TableId, Vec<u32>),
    Bad(TableId, u32),
}

impl Walk<'_> {
    /// Sees to it that it stands at an entry, or is at its end.
    fn settle(&mut self, scan: &Scan, cache: &mut Cache) -> Result<(), Stop> {
        let id = self.open.table.id();
        while self.entries.as_ref().is_none_or(|entries| entries.entry().is_none()) {
            if self.entries.take().is_some() {
                self.place += 1;
            }
            let Some(block) = self.open.table.block_at(self.place) else { return Ok(()) };
            let held = scan.blocks.get(&(id, block)).cloned().or_else(|| cache.get(id, block));
            let Some(content) = held else {
                let ahead =
                    (self.place..self.place + READ_AHEAD).filter_map(|at| self.open.table.block_at(at));
                let missing = |block: &u32| !scan.blocks.contains_key(&(id, *block));
                return Err(Stop::Missing(id, ahead.filter(missing).collect()));
            };
            let entries = Entries::from(content, &scan.from).map_err(|_| Stop::Bad(id, block))?;
            self.entries = Some(entries);
        }
        Ok(())
    }
}

impl Source<'_> {
    fn peek(&mut self) -> Option<(&[u8], &Bytes, Option<Lsn>)> {
        match self {
            Source::Memory(range) => {
                range.peek().map(|(key, stored)| (key.as_bytes().as_ref(), &stored.state, Some(stored.lsn)))
            }
            Source::Table(walk) => walk.entries.as_ref()?.entry().map(|(key, state)| (key, state, None)),
        }
    }

    fn advance(&mut self, scan: &Scan, cache: &mut Cache) -> Result<(), Stop> {
        match self {
            Source::Memory(range) => {
                range.next();
            }
            Source::Table(walk) => {
                let id = walk.open.table.id();
                let block = walk.open.table.block_at(walk.place).unwrap_or_default();
                if let Some(entries) = &mut walk.entries {
                    entries.advance().map_err(|_| Stop::Bad(id, block))?;
                }
                walk.settle(scan, cache)?;
            }
        }
        Ok(())
    }
}

impl Engine {
    /// Gathers a page as of now, as far as its blocks are here.
    pub fn scan(&mut self, scan: &Scan) -> Scanned {
        match self.gather(scan) {
            Ok(page) => Scanned::Page(page),
            Err(Stop::Missing(table, blocks)) => {
                Scanned::Fetch(blocks.into_iter().map(|block| (table, block)).collect())
            }
            Err(Stop::Bad(table, block)) => Scanned::Damaged { table, block },
        }
    }

    fn gather(&mut self, scan: &Scan) -> Result<Page, Stop> {
        let start = Headed::from(scan.from.clone());
        let cache = &mut self.cache;
        // The newest first: of equal keys the first source has the newest state.
        let mut sources: Vec<Source<'_>> = Vec::new();
        sources.push(Source::Memory(self.active.range(&start).peekable()));
        let group = group_of_key(&scan.from);
        let counts = |waiting: &&Waiting| group.is_none_or(|group| !waiting.void.contains(&group));
        for waiting in self.waiting.iter().rev().filter(counts) {
            sources.push(Source::Memory(waiting.frozen.entries.range(start.clone()..).peekable()));
        }
        for open in self.tables.of(&scan.from) {
            let Some(place) = open.table.place_from(&scan.from) else { continue };
            let mut walk = Walk { open, place, entries: None };
            walk.settle(scan, cache)?;
            sources.push(Source::Table(walk));
        }
        let mut page = Page::default();
        let mut bytes = 0;
        loop {
            let mut smallest: Option<(&[u8], &Bytes, Option<Lsn>)> = None;
            for entry in sources.iter_mut().filter_map(Source::peek) {
                if smallest.is_none_or(|(key, ..)| entry.0 < key) {
                    smallest = Some(entry);
                }
            }
            let Some((key, state, lsn)) = smallest.filter(|(key, ..)| !scan.is_past(key)) else {
                return Ok(page);
            };
            if page.entries.len() >= scan.entries_max || (bytes >= scan.bytes_max && !page.entries.is_empty())
            {
                page.more = true;
                return Ok(page);
            }
            let (key, state) = (Bytes::copy_from_slice(key), state.clone());
            bytes += key.len() + state.len();
            page.lsn = page.lsn.max(lsn);
            for source in &mut sources {
                if source.peek().is_some_and(|(other, ..)| other == key) {
                    source.advance(scan, cache)?;
                }
            }
            // What is no store key was never written.
            if let Some(key) = StoreKey::parse(key) {
                page.entries.push((key, state));
            }
        }
    }
}
