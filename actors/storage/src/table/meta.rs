//! A table's metadata: what is kept in memory of it.
//!
//! Version (1 byte), changes of hash trees ([`Leaves`]; with their length before them), entries, blocks (LEB128 each), greatest
//! key, Bloom filter's bits (each with its length before it), then for each block its number (LEB128, as the difference to the one before) and a key (with its length before it) that is not
//! after the block's first and after all keys of the blocks before. CRC-32C of all.

use super::block::shared_prefix;
use super::bloom::{self, Bloom};
use crate::cursor::{Cursor, checked, put_checksum, put_counted, put_length, put_varint};
use crate::leaves::Leaves;
use alloc::vec::Vec;
use anser_machine::TableId;
use bytes::Bytes;

const VERSION: u8 = 2;
/// Fewest bytes of a block's entry in the index.
const BLOCK_ENTRY_BYTES_MIN: usize = 2;

/// Bytes that are no table's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// The checksum is wrong.
    #[error("the checksum of a table's metadata is wrong")]
    Checksum,
    /// A format that this version doesn't know.
    #[error("a table has the unknown format version {0}")]
    UnknownVersion(u8),
    /// Something else that can't be.
    #[error("a table's metadata is malformed")]
    Malformed,
}

/// One block in the index: where its separating key lies in the metadata, and its number.
#[derive(Clone, Copy, Debug)]
struct Place {
    from: u32,
    to: u32,
    block: u32,
}

/// A table: which block would hold a key, and whether it might; and what it changes of hash trees.
#[derive(Clone, Debug)]
pub struct Table {
    id: TableId,
    /// What of the metadata is behind the leaves, which are not kept twice.
    index_bytes: Bytes,
    leaves: Leaves,
    entries: u64,
    greatest: Bytes,
    bloom: Bloom,
    index: Vec<Place>,
}

impl Table {
    /// Reads a table's metadata. Total, in memory bounded by the input.
    pub fn open(id: TableId, meta: Bytes) -> Result<Table, BadTable> {
        let body = checked(&meta).ok_or(BadTable::Checksum)?;
        let mut cursor = Cursor(body);
        match cursor.byte() {
            Some(VERSION) => {}
            Some(version) => return Err(BadTable::UnknownVersion(version)),
            None => return Err(BadTable::Malformed),
        }
        let leaves = cursor.counted().and_then(Leaves::decode).ok_or(BadTable::Malformed)?;
        let index_bytes = Bytes::copy_from_slice(cursor.0);
        read(id, leaves, &index_bytes).ok_or(BadTable::Malformed)
    }

    /// What it changes of hash trees.
    pub fn leaves(&self) -> &Leaves {
        &self.leaves
    }

    /// Takes that out.
    pub fn take_leaves(&mut self) -> Leaves {
        core::mem::take(&mut self.leaves)
    }

    /// Its id.
    pub fn id(&self) -> TableId {
        self.id
    }

    /// How many keys it holds.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Its smallest and its greatest key.
    pub fn range(&self) -> (&[u8], &[u8]) {
        let smallest = self.index.first().and_then(|place| self.separator(place));
        (smallest.unwrap_or_default(), &self.greatest)
    }

    /// The place in [`Table::blocks`] of the block where a walk from `key` on begins; none if all its keys are before.
    pub fn place_from(&self, key: &[u8]) -> Option<usize> {
        let after =
            self.index.partition_point(|place| self.separator(place).is_some_and(|first| first <= key));
        (key <= self.greatest.as_ref()).then_some(after.saturating_sub(1))
    }

    /// The number of the block at a place.
    pub fn block_at(&self, place: usize) -> Option<u32> {
        self.index.get(place).map(|place| place.block)
    }

    /// The place behind the last block that may hold keys before `key`.
    pub fn place_behind(&self, key: &[u8]) -> usize {
        self.index.partition_point(|place| self.separator(place).is_some_and(|first| first < key))
    }

    /// How many blocks it has.
    pub fn block_count(&self) -> usize {
        self.index.len()
    }

    /// Its blocks' numbers, in key order.
    pub fn blocks(&self) -> impl Iterator<Item = u32> + '_ {
        self.index.iter().map(|place| place.block)
    }

    /// Whether the filter lets a key pass.
    pub fn might_hold(&self, key: &[u8]) -> bool {
        self.bloom.might_hold(bloom::hash(key))
    }

    /// The block that holds a key if the table does; none if the key is out of the table's range.
    pub fn block_of(&self, key: &[u8]) -> Option<u32> {
        self.place_of(key).map(|(_, block)| block)
    }

    /// The same, and its place in [`Table::blocks`].
    pub fn place_of(&self, key: &[u8]) -> Option<(usize, u32)> {
        if key > self.greatest.as_ref() {
            return None;
        }
        let after =
            self.index.partition_point(|place| self.separator(place).is_some_and(|first| first <= key));
        let at = after.checked_sub(1)?;
        self.index.get(at).map(|place| (at, place.block))
    }

    fn separator(&self, place: &Place) -> Option<&[u8]> {
        self.index_bytes.get(usize::try_from(place.from).ok()?..usize::try_from(place.to).ok()?)
    }
}

fn read(id: TableId, leaves: Leaves, bytes: &Bytes) -> Option<Table> {
    let mut cursor = Cursor(bytes);
    let entries = cursor.varint()?;
    let blocks = usize::try_from(cursor.varint()?).ok()?;
    let greatest = bytes.slice_ref(cursor.counted()?);
    let bloom = Bloom::from_bits(bytes.slice_ref(cursor.counted()?))?;
    if blocks > cursor.0.len() / BLOCK_ENTRY_BYTES_MIN {
        return None;
    }
    let mut index: Vec<Place> = Vec::with_capacity(blocks);
    let mut block = 0_u32;
    let mut before: Option<&[u8]> = None;
    for _ in 0..blocks {
        let step = u32::try_from(cursor.varint()?).ok()?;
        block = block.checked_add(step)?;
        let key = cursor.counted()?;
        if before.is_some_and(|before| before >= key) || (before.is_some() && step == 0) {
            return None;
        }
        before = Some(key);
        let to = bytes.len().checked_sub(cursor.0.len())?;
        let from = to.checked_sub(key.len())?;
        index.push(Place { from: u32::try_from(from).ok()?, to: u32::try_from(to).ok()?, block });
    }
    let ends = cursor.0.is_empty() && !index.is_empty();
    ends.then_some(Table { id, index_bytes: bytes.clone(), leaves, entries, greatest, bloom, index })
}

/// Gathers metadata while a table is written.
#[derive(Debug, Default)]
pub(super) struct MetaWriter {
    hashes: Vec<u64>,
    index: Vec<u8>,
    blocks: usize,
    block: u32,
    last: Vec<u8>,
}

impl MetaWriter {
    /// A block begins, with this number and first key.
    pub fn begin_block(&mut self, number: u32, first: &[u8]) {
        // The first bytes of the key that tell it from the last one before are enough; all of it for the first block.
        let enough = if self.blocks == 0 { first.len() } else { shared_prefix(&self.last, first) + 1 };
        put_varint(&mut self.index, u64::from(number.saturating_sub(self.block)));
        put_counted(&mut self.index, first.get(..enough).unwrap_or(first));
        self.blocks += 1;
        self.block = number;
    }

    /// An entry is written.
    pub fn push(&mut self, key: &[u8]) {
        self.hashes.push(bloom::hash(key));
        self.last.clear();
        self.last.extend_from_slice(key);
    }

    /// The metadata of a table that makes these changes.
    pub fn finish(self, leaves: &Leaves) -> Vec<u8> {
        let bloom = Bloom::over(&self.hashes);
        let leaves = leaves.encode();
        let known = leaves.len() + self.index.len() + bloom.bits().len() + self.last.len();
        let mut out = Vec::with_capacity(known + 32);
        out.push(VERSION);
        put_counted(&mut out, &leaves);
        put_length(&mut out, self.hashes.len());
        put_length(&mut out, self.blocks);
        put_counted(&mut out, &self.last);
        put_counted(&mut out, bloom.bits());
        out.extend_from_slice(&self.index);
        put_checksum(&mut out);
        out
    }
}
