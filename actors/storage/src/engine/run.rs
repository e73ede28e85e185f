//! Blocks that a scan or a batch has fetched: neighbours of a table in one request, kept for as long as they may be needed.

use crate::cache::Cache;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use anser_machine::{DiskRequest, FETCH_BYTES_MAX, TableId, Ticket};
use bytes::Bytes;

/// Most blocks of one request, of the size that blocks have as a rule.
pub(super) const RUN_BLOCKS_MAX: usize = FETCH_BYTES_MAX / crate::table::BLOCK_BYTES;

/// A run of so many blocks is worth a second thread, though both may read the row where it is cut.
const SPLIT_BLOCKS_MIN: usize = 16;

/// Neighbouring blocks of a table, at least one, that are fetched by one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    table: TableId,
    blocks: Vec<u32>,
}

impl Run {
    /// Of these; none without any.
    fn new(table: TableId, blocks: Vec<u32>) -> Option<Run> {
        (!blocks.is_empty()).then_some(Run { table, blocks })
    }

    /// Two halves of it, if it is long: more than one thread reads.
    pub(super) fn halves(mut self) -> impl Iterator<Item = Run> {
        let half = self.blocks.len() / 2;
        let rest =
            if self.blocks.len() < SPLIT_BLOCKS_MIN { Vec::new() } else { self.blocks.split_off(half) };
        let rest = Run::new(self.table, rest);
        core::iter::once(self).chain(rest)
    }

    /// Its blocks' places.
    pub(super) fn places(&self) -> impl Iterator<Item = (TableId, u32)> {
        self.blocks.iter().map(|block| (self.table, *block))
    }

    /// The table.
    pub fn table(&self) -> TableId {
        self.table
    }

    /// What to ask the disk.
    pub fn request(&self, ticket: Ticket) -> DiskRequest {
        let block = self.blocks.first().copied().unwrap_or_default();
        let count = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        DiskRequest::Fetch { ticket, table: self.table, block, count }
    }
}

/// A block that is missing: its table, its place there, its number.
pub(super) type Missing = (TableId, usize, u32);

/// Runs of blocks that are missing, neighbours together. They come by table and place.
pub(super) fn runs(missing: impl IntoIterator<Item = Missing>) -> Vec<Run> {
    let mut runs: Vec<(TableId, usize, Vec<u32>)> = Vec::new();
    for (table, place, block) in missing {
        match runs.last_mut() {
            Some((of, next, blocks)) if (*of, *next) == (table, place) && blocks.len() < RUN_BLOCKS_MAX => {
                *next += 1;
                blocks.push(block);
            }
            Some(_) | None => runs.push((table, place + 1, alloc::vec![block])),
        }
    }
    runs.into_iter().filter_map(|(table, _, blocks)| Run::new(table, blocks)).collect()
}

/// Blocks that came.
#[derive(Debug, Default)]
pub(super) struct Held {
    blocks: BTreeMap<(TableId, u32), Bytes>,
    bytes: usize,
}

impl Held {
    /// Takes what a run came to: its first blocks, or all of them.
    pub fn hold(&mut self, run: &Run, contents: Vec<Bytes>) {
        for (place, content) in run.places().zip(contents) {
            self.bytes += content.len();
            let before = self.blocks.insert(place, content);
            self.bytes -= before.map_or(0, |content| content.len());
        }
    }

    /// A block, if it came.
    pub fn get(&self, table: TableId, block: u32) -> Option<&Bytes> {
        self.blocks.get(&(table, block))
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of one, on an average; none if there is none.
    pub fn average(&self) -> Option<usize> {
        self.bytes.checked_div(self.blocks.len())
    }

    /// Lets go of all but these.
    pub fn retain(&mut self, useful: &BTreeSet<(TableId, u32)>) {
        self.blocks.retain(|place, _| useful.contains(place));
        self.bytes = self.blocks.values().map(Bytes::len).sum();
    }

    /// Hands everything over.
    pub fn cache(&mut self, cache: &mut Cache) {
        for ((table, block), content) in core::mem::take(self).blocks {
            cache.insert(table, block, content);
        }
    }
}
