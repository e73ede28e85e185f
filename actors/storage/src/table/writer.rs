//! Writes a table, entry by entry.

use super::block::{BlockWriter, pack};
use super::chunk;
use super::meta::MetaWriter;
use crate::leaves::Leaves;
use alloc::vec::Vec;
use anser_machine::TableId;
use bytes::Bytes;

/// A table that is being written. Its chunks are to be taken away as they come, and are numbered in the order of coming.
#[derive(Debug)]
pub struct Writer {
    table: TableId,
    chunks: Vec<Vec<u8>>,
    /// How many chunks were taken away.
    taken: u32,
    block: BlockWriter,
    meta: MetaWriter,
}

/// What is left of a table when all its entries are written.
#[derive(Debug)]
pub struct Finished {
    /// The last chunks: those of the blocks that were not taken away, then those of the metadata.
    pub chunks: Vec<Vec<u8>>,
    /// The number of the metadata's first chunk.
    pub meta_at: u32,
    /// The metadata itself.
    pub meta: Bytes,
}

impl Writer {
    /// A table without entries.
    pub fn new(table: TableId) -> Writer {
        Writer {
            table,
            chunks: Vec::new(),
            taken: 0,
            block: BlockWriter::default(),
            meta: MetaWriter::default(),
        }
    }

    fn next_number(&self) -> u32 {
        self.taken.saturating_add(u32::try_from(self.chunks.len()).unwrap_or(u32::MAX))
    }

    /// Adds an entry; its key is greater than all before.
    pub fn push(&mut self, key: &[u8], state: &[u8]) {
        if self.block.is_full_for(key, state) {
            self.end_block();
        }
        if self.block.is_empty() {
            self.meta.begin_block(self.next_number(), key);
        }
        self.block.push(key, state);
        self.meta.push(key);
    }

    fn end_block(&mut self) {
        let packed = pack(&self.block.finish());
        let number = self.next_number();
        self.chunks.extend(chunk::cut(self.table, number, &packed));
    }

    /// Chunks that are ready and were not taken yet.
    pub fn ready(&self) -> usize {
        self.chunks.len()
    }

    /// Takes the chunks that are ready.
    pub fn take(&mut self) -> Vec<Vec<u8>> {
        self.taken = self.next_number();
        core::mem::take(&mut self.chunks)
    }

    /// The rest of a table that makes these changes of hash trees.
    pub fn finish(mut self, leaves: &Leaves) -> Finished {
        if !self.block.is_empty() {
            self.end_block();
        }
        let meta_at = self.next_number();
        let meta = Bytes::from(self.meta.finish(leaves));
        self.chunks.extend(chunk::cut(self.table, meta_at, &meta));
        Finished { chunks: self.chunks, meta_at, meta }
    }
}

/// Writes a small table as a whole, one that changes no hash tree.
pub fn write<'a>(table: TableId, entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Finished {
    let mut writer = Writer::new(table);
    for (key, state) in entries {
        writer.push(key, state);
    }
    writer.finish(&Leaves::default())
}
