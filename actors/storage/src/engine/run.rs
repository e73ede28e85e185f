//! Blocks that a page or a batch has fetched: neighbours of a table in one request, kept until it is complete.

use crate::cache::Cache;
use alloc::collections::BTreeMap;
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
    pub(super) fn new(table: TableId, blocks: Vec<u32>) -> Option<Run> {
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

/// Blocks that came.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<(TableId, u32), Bytes>);

impl Held {
    /// Takes what a run came to: its first blocks, or all of them.
    pub fn hold(&mut self, run: &Run, contents: Vec<Bytes>) {
        let places = run.blocks.iter().map(|block| (run.table, *block));
        self.0.extend(places.zip(contents));
    }

    /// A block, if it came.
    pub fn get(&self, table: TableId, block: u32) -> Option<&Bytes> {
        self.0.get(&(table, block))
    }

    /// Hands everything over.
    pub fn cache(&mut self, cache: &mut Cache) {
        for ((table, block), content) in core::mem::take(&mut self.0) {
            cache.insert(table, block, content);
        }
    }
}
