//! Where the entries of a page come from.

use super::run::{Missing, RUN_BLOCKS_MAX};
use super::scan::Scan;
use super::tables::Open;
use crate::cache::Cache;
use crate::table::block::{Entries, StateIn};
use alloc::collections::btree_map::Range;
use anser_machine::{Headed, Lsn, Stored, TableId};
use core::iter::Peekable;

/// A memtable or a table.
pub(super) enum Source<'a> {
    Memory(Peekable<Range<'a, Headed, Stored>>),
    Table(Walk<'a>),
}

/// A walk through one table.
pub(super) struct Walk<'a> {
    open: &'a Open,
    place: usize,
    /// The place behind the last block of the partition.
    end: usize,
    entries: Option<Entries>,
}

/// Why a page can't be gathered.
pub(super) enum Stop {
    /// Blocks are missing, after so many bytes of the page.
    Missing { bytes: usize },
    /// This is none.
    Bad(TableId, u32),
}

impl Stop {
    /// The same, after so many bytes of a page.
    pub fn after(self, bytes: usize) -> Stop {
        match self {
            Stop::Missing { .. } => Stop::Missing { bytes },
            Stop::Bad(..) => self,
        }
    }
}

impl<'a> Walk<'a> {
    /// Through a table's part of a scan; none if it has none.
    pub fn new(open: &'a Open, scan: &Scan) -> Option<Walk<'a>> {
        let place = open.table.place_from(&scan.from)?;
        let end = scan.to.as_ref().map_or(open.table.block_count(), |to| open.table.place_behind(to));
        (place < end).then_some(Walk { open, place, end, entries: None })
    }

    fn block_at(&self, place: usize) -> Option<u32> {
        if place < self.end { self.open.table.block_at(place) } else { None }
    }

    /// Sees to it that it stands at an entry, or is at its end.
    pub fn settle(&mut self, scan: &Scan, cache: &Cache) -> Result<(), Stop> {
        let id = self.open.table.id();
        while self.entries.as_ref().is_none_or(|entries| entries.entry().is_none()) {
            if self.entries.take().is_some() {
                self.place += 1;
            }
            let Some(block) = self.block_at(self.place) else { return Ok(()) };
            let held = scan.held.get(id, block).or_else(|| cache.peek(id, block));
            let content = held.ok_or(Stop::Missing { bytes: 0 })?.clone();
            let entries = Entries::from(content, &scan.from).map_err(|_| Stop::Bad(id, block))?;
            self.entries = Some(entries);
        }
        Ok(())
    }

    /// Blocks that it has not come to the end of.
    pub fn left(&self) -> usize {
        self.end.saturating_sub(self.place)
    }

    /// As many of those as two pages may take, and the one before them: the index can't tell that a page ended with the last
    /// key of its block.
    pub fn next_blocks(&self) -> impl Iterator<Item = (TableId, u32)> {
        (self.place.saturating_sub(1)..self.end)
            .take(1 + 2 * RUN_BLOCKS_MAX)
            .filter_map(|place| Some((self.open.table.id(), self.open.table.block_at(place)?)))
    }

    /// Those of its next blocks, counted from where it stands, that are not here.
    pub fn missing(
        &self,
        ahead: core::ops::Range<usize>,
        scan: &Scan,
        cache: &Cache,
    ) -> impl Iterator<Item = Missing> {
        let id = self.open.table.id();
        let block = move |ahead: usize| {
            let place = self.place.saturating_add(ahead);
            Some((id, place, self.block_at(place)?))
        };
        let is_here = move |block: u32| scan.held.get(id, block).is_some() || cache.peek(id, block).is_some();
        ahead.map_while(block).filter(move |(.., block)| !is_here(*block))
    }
}

impl Source<'_> {
    /// The entry that it stands at: key, state, and where the log has it.
    pub fn peek(&mut self) -> Option<(&[u8], StateIn<'_>, Option<Lsn>)> {
        match self {
            Source::Memory(range) => range.peek().map(|(key, stored)| {
                (key.as_bytes().as_ref(), StateIn::whole(&stored.state), Some(stored.lsn))
            }),
            Source::Table(walk) => walk.entries.as_ref()?.entry().map(|(key, state)| (key, state, None)),
        }
    }

    /// Moves on to the next one.
    pub fn advance(&mut self, scan: &Scan, cache: &Cache) -> Result<(), Stop> {
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

/// The tables among sources.
pub(super) fn walks<'a, 'b>(sources: &'b [Source<'a>]) -> impl Iterator<Item = &'b Walk<'a>> {
    sources.iter().filter_map(|source| match source {
        Source::Memory(_) => None,
        Source::Table(walk) => Some(walk),
    })
}
