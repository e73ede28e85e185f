//! An ordered walk through a partition, page by page.
//!
//! Keeps: a page shows what the partition held at one moment, the one at which it was given: blocks of tables never change,
//! and everything else is looked at in one step. The next page is of a later moment. Deliberately absent: any state between
//! two pages but the key where the last one ended.

use super::run::{Held, RUN_BLOCKS_MAX, Run};
use super::tables::Open;
use super::{Engine, Waiting};
use crate::cache::Cache;
use crate::store_key::{StoreKey, group_of_key};
use crate::table::BLOCK_BYTES;
use crate::table::block::{Entries, Lying};
use alloc::collections::btree_map::Range;
use alloc::vec::Vec;
use anser_machine::{FETCH_BYTES_MAX, Headed, Lsn, Stored, TableId};
use anser_model::PartitionId;
use bytes::Bytes;
use core::iter::Peekable;

/// Blocks that are asked for beyond what a page should take of a table: it begins and ends within one.
const SPARE_BLOCKS: usize = 2;
/// What is in a block as a rule: it ends before the entry that it has no room for.
const FILLED_BYTES: usize = BLOCK_BYTES / 4 * 3;
/// Times that what is asked for at least is doubled.
const DOUBLINGS_MAX: u32 = 6;

/// A page that is being gathered.
#[derive(Debug)]
pub struct Scan {
    /// The first key bytes to be shown.
    from: Bytes,
    /// The first ones that are past the partition; none for the last one.
    to: Option<Bytes>,
    entries_max: usize,
    bytes_max: usize,
    held: Held,
    /// How often it has asked for blocks.
    rounds: u32,
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

impl Page {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|(key, state)| key.as_bytes().len() + state.len()).sum()
    }
}

/// How a page stands.
#[derive(Debug)]
pub enum Scanned {
    /// It is complete.
    Page(Page),
    /// These runs of blocks must be fetched first: [`Scan::hold`] each, then [`Engine::scan`] again.
    Fetch(Vec<Run>),
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
        Scan { from, to, entries_max: entries_max.max(1), bytes_max, held: Held::default(), rounds: 0 }
    }

    /// Takes what a run came to. Nothing of a table that is gone: a scan then begins anew.
    pub fn hold(&mut self, run: &Run, contents: Vec<Bytes>) {
        self.held.hold(run, contents);
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
    /// The place behind the last block of the partition.
    end: usize,
    entries: Option<Entries>,
}

/// Why a page can't be gathered.
enum Stop {
    /// Blocks are missing.
    Missing,
    Bad(TableId, u32),
}

impl<'a> Walk<'a> {
    /// Through a table's part of a scan; none if it has none.
    fn new(open: &'a Open, scan: &Scan) -> Option<Walk<'a>> {
        let place = open.table.place_from(&scan.from)?;
        let end = scan.to.as_ref().map_or(open.table.block_count(), |to| open.table.place_behind(to));
        (place < end).then_some(Walk { open, place, end, entries: None })
    }

    fn block_at(&self, place: usize) -> Option<u32> {
        if place < self.end { self.open.table.block_at(place) } else { None }
    }

    /// Sees to it that it stands at an entry, or is at its end.
    fn settle(&mut self, scan: &Scan, cache: &Cache) -> Result<(), Stop> {
        let id = self.open.table.id();
        while self.entries.as_ref().is_none_or(|entries| entries.entry().is_none()) {
            if self.entries.take().is_some() {
                self.place += 1;
            }
            let Some(block) = self.block_at(self.place) else { return Ok(()) };
            let held = scan.held.get(id, block).or_else(|| cache.peek(id, block));
            let content = held.ok_or(Stop::Missing)?.clone();
            let entries = Entries::from(content, &scan.from).map_err(|_| Stop::Bad(id, block))?;
            self.entries = Some(entries);
        }
        Ok(())
    }

    /// Blocks that it has not come to the end of.
    fn left(&self) -> usize {
        self.end.saturating_sub(self.place)
    }

    /// The run of so many blocks that it is to go on with; none if it has its block, or is at its end.
    fn missing(&self, count: usize, scan: &Scan, cache: &Cache) -> Option<Run> {
        if self.entries.is_some() {
            return None;
        }
        let id = self.open.table.id();
        let is_here = |block: u32| scan.held.get(id, block).is_some() || cache.peek(id, block).is_some();
        let blocks = (self.place..self.place.saturating_add(count)).map_while(|place| self.block_at(place));
        Run::new(id, blocks.take_while(|block| !is_here(*block)).collect())
    }
}

impl Source<'_> {
    fn peek(&mut self) -> Option<(&[u8], Lying<'_>, Option<Lsn>)> {
        match self {
            Source::Memory(range) => range.peek().map(|(key, stored)| {
                (key.as_bytes().as_ref(), Lying::alone(&stored.state), Some(stored.lsn))
            }),
            Source::Table(walk) => walk.entries.as_ref()?.entry().map(|(key, state)| (key, state, None)),
        }
    }

    fn advance(&mut self, scan: &Scan, cache: &Cache) -> Result<(), Stop> {
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
    pub fn scan(&mut self, scan: &mut Scan) -> Scanned {
        let mut page = Page::default();
        let mut sources = self.sources(scan);
        match gather(&mut sources, &mut page, scan, &self.cache) {
            Ok(()) => {
                let left = if page.more { left_over(&sources, scan) } else { Vec::new() };
                drop(sources);
                // The first one last: it is needed first, and the cache may have room for few.
                for (table, block, content) in left.into_iter().rev() {
                    self.cache.insert(table, block, content);
                }
                Scanned::Page(page)
            }
            Err(Stop::Missing) => {
                let runs = missing(&sources, page.bytes(), scan, &self.cache);
                drop(sources);
                scan.rounds += 1;
                Scanned::Fetch(runs)
            }
            Err(Stop::Bad(table, block)) => Scanned::Damaged { table, block },
        }
    }

    /// What a scan looks at, the newest first: of equal keys the first source has the newest state.
    fn sources(&self, scan: &Scan) -> Vec<Source<'_>> {
        let start = Headed::from(scan.from.clone());
        let mut sources: Vec<Source<'_>> = Vec::new();
        sources.push(Source::Memory(self.active.range(&start).peekable()));
        let group = group_of_key(&scan.from);
        let counts = |waiting: &&Waiting| group.is_none_or(|group| !waiting.void.contains(&group));
        for waiting in self.waiting.iter().rev().filter(counts) {
            sources.push(Source::Memory(waiting.frozen.entries.range(start.clone()..).peekable()));
        }
        let walks = self.tables.of(&scan.from).iter().filter_map(|open| Walk::new(open, scan));
        sources.extend(walks.map(Source::Table));
        sources
    }
}

/// Fills a page.
fn gather(sources: &mut [Source<'_>], page: &mut Page, scan: &Scan, cache: &Cache) -> Result<(), Stop> {
    let mut here = true;
    for walk in walks_mut(sources) {
        match walk.settle(scan, cache) {
            Ok(()) => {}
            // What the others lack is asked for at once.
            Err(Stop::Missing) => here = false,
            Err(bad @ Stop::Bad(..)) => return Err(bad),
        }
    }
    if !here {
        return Err(Stop::Missing);
    }
    let mut bytes = 0;
    loop {
        let mut smallest: Option<(&[u8], Lying<'_>, Option<Lsn>)> = None;
        for entry in sources.iter_mut().filter_map(Source::peek) {
            if smallest.is_none_or(|(key, ..)| entry.0 < key) {
                smallest = Some(entry);
            }
        }
        let Some((key, state, lsn)) = smallest.filter(|(key, ..)| !scan.is_past(key)) else {
            return Ok(());
        };
        if page.entries.len() >= scan.entries_max || (bytes >= scan.bytes_max && !page.entries.is_empty()) {
            page.more = true;
            return Ok(());
        }
        let (key, state) = (Bytes::copy_from_slice(key), state.share());
        bytes += key.len() + state.len();
        page.lsn = page.lsn.max(lsn);
        let mut advanced = Ok(());
        for source in &mut *sources {
            if source.peek().is_some_and(|(other, ..)| other == key) {
                advanced = advanced.and(source.advance(scan, cache));
            }
        }
        // What is no store key was never written.
        if let Some(key) = StoreKey::parse(key) {
            page.entries.push((key, state));
        }
        advanced?;
    }
}

fn walks<'a, 'b>(sources: &'b [Source<'a>]) -> impl Iterator<Item = &'b Walk<'a>> {
    sources.iter().filter_map(|source| match source {
        Source::Memory(_) => None,
        Source::Table(walk) => Some(walk),
    })
}

fn walks_mut<'a, 'b>(sources: &'b mut [Source<'a>]) -> impl Iterator<Item = &'b mut Walk<'a>> {
    sources.iter_mut().filter_map(|source| match source {
        Source::Memory(_) => None,
        Source::Table(walk) => Some(walk),
    })
}

/// The runs that a page of so many bytes so far goes on with: of each table its share of what is left of the page, by the
/// blocks that it has left. Where that was too little, more and more.
fn missing(sources: &[Source<'_>], bytes: usize, scan: &Scan, cache: &Cache) -> Vec<Run> {
    let left = walks(sources).map(Walk::left).sum::<usize>().max(1);
    let wanted = scan.bytes_max.saturating_sub(bytes).min(FETCH_BYTES_MAX).div_ceil(FILLED_BYTES);
    let least = SPARE_BLOCKS << scan.rounds.min(DOUBLINGS_MAX);
    let count = |walk: &Walk<'_>| {
        let share = (wanted * walk.left()).div_ceil(left) + SPARE_BLOCKS;
        share.max(least).min(RUN_BLOCKS_MAX)
    };
    let mut runs: Vec<Run> =
        walks(sources).filter_map(|walk| walk.missing(count(walk), scan, cache)).collect();
    match (runs.pop(), runs.is_empty()) {
        (Some(only), true) => only.halves().collect(),
        (last, _) => {
            runs.extend(last);
            runs
        }
    }
}

/// Blocks that were fetched for a page and are the next one's.
fn left_over(sources: &[Source<'_>], scan: &Scan) -> Vec<(TableId, u32, Bytes)> {
    let of_walk = |walk: &Walk<'_>| -> Vec<(TableId, u32, Bytes)> {
        let id = walk.open.table.id();
        // With the one before: the index can't tell that the page ended with its last key.
        let blocks = (walk.place.saturating_sub(1)..).map_while(|place| walk.block_at(place));
        let held = |block: u32| scan.held.get(id, block).map(|content| (id, block, content.clone()));
        blocks.take(RUN_BLOCKS_MAX).filter_map(held).collect()
    };
    walks(sources).flat_map(of_walk).collect()
}
