//! Writes a frozen memtable as a table.

use super::block::{BlockWriter, pack};
use super::chunk;
use super::meta::MetaWriter;
use alloc::vec::Vec;
use anser_machine::{Frozen, TableId};
use bytes::Bytes;

/// A table, ready to be stored.
#[derive(Debug)]
pub struct Finished {
    /// Its chunks: those of the blocks, then those of the metadata.
    pub chunks: Vec<Vec<u8>>,
    /// The number of the metadata's first chunk.
    pub meta_at: u32,
    /// The metadata itself.
    pub meta: Bytes,
}

/// The chunks so far, and the block that is being filled.
struct Writer {
    table: TableId,
    chunks: Vec<Vec<u8>>,
    block: BlockWriter,
    meta: MetaWriter,
}

impl Writer {
    fn next_number(&self) -> u32 {
        u32::try_from(self.chunks.len()).unwrap_or(u32::MAX)
    }

    fn push(&mut self, key: &[u8], state: &[u8]) {
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
}

/// Lays a table out, all in memory: it is about as large as the memtable.
pub fn write(table: TableId, frozen: &Frozen) -> Finished {
    let mut writer =
        Writer { table, chunks: Vec::new(), block: BlockWriter::default(), meta: MetaWriter::default() };
    for (key, stored) in frozen {
        writer.push(key.as_bytes(), &stored.state);
    }
    if !writer.block.is_empty() {
        writer.end_block();
    }
    let meta_at = writer.next_number();
    let Writer { mut chunks, meta, .. } = writer;
    let meta = Bytes::from(meta.finish());
    chunks.extend(chunk::cut(table, meta_at, &meta));
    Finished { chunks, meta_at, meta }
}
