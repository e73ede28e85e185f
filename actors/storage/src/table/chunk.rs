//! What is stored: a block or a table's metadata, cut into chunks, each bound to its place by its checksum, so that a
//! right chunk in a wrong place is as damaged as a wrong one.
//!
//! Version (1 byte), index among its chunks and their count (4 bytes each), content, CRC-32C (4 bytes) over table id,
//! chunk number, and all before.

use crate::cursor::Cursor;
use alloc::vec::Vec;
use anser_machine::TableId;
use bytes::Bytes;

/// Most bytes of content in one chunk.
pub const CHUNK_BYTES: usize = 4096 + 512;
/// Most chunks of one block or of one table's metadata.
pub const CHUNKS_MAX: u32 = 1 << 20;
const VERSION: u8 = 1;

/// Why a stored block can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChunk {
    /// A chunk is not there.
    #[error("chunk {0} is missing")]
    Missing(u32),
    /// A chunk's checksum is wrong.
    #[error("the checksum of chunk {0} is wrong")]
    Checksum(u32),
    /// A chunk is of a format that this version doesn't know.
    #[error("chunk {0} has an unknown format version")]
    Version(u32),
    /// A chunk is not the one that belongs here.
    #[error("chunk {0} is not the expected one")]
    Misplaced(u32),
}

/// Cuts a block or metadata into chunks, numbered from `first` on.
pub fn cut(table: TableId, first: u32, content: &[u8]) -> Vec<Vec<u8>> {
    let count = content.len().div_ceil(CHUNK_BYTES).max(1);
    let size = content.len().div_ceil(count).max(1);
    let total = u32::try_from(count).unwrap_or(u32::MAX);
    let mut rest = content;
    (0..total)
        .map(|index| {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            seal(table, first.saturating_add(index), index, total, piece)
        })
        .collect()
}

fn seal(table: TableId, number: u32, index: u32, count: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 13);
    out.push(VERSION);
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(content);
    let checksum = checksum(table, number, &out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

fn checksum(table: TableId, number: u32, body: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&table.0.to_le_bytes()), &number.to_le_bytes());
    crc32c::crc32c_append(place, body)
}

/// One chunk, verified.
struct Opened<'a> {
    index: u32,
    count: u32,
    content: &'a [u8],
}

fn open(table: TableId, number: u32, stored: &[u8]) -> Result<Opened<'_>, BadChunk> {
    let (body, expected) = stored.split_last_chunk().ok_or(BadChunk::Checksum(number))?;
    if checksum(table, number, body) != u32::from_le_bytes(*expected) {
        return Err(BadChunk::Checksum(number));
    }
    let mut cursor = Cursor(body);
    if cursor.byte() != Some(VERSION) {
        return Err(BadChunk::Version(number));
    }
    match (cursor.u32(), cursor.u32()) {
        (Some(index), Some(count)) if index < count && count <= CHUNKS_MAX => {
            Ok(Opened { index, count, content: cursor.0 })
        }
        (Some(_) | None, Some(_) | None) => Err(BadChunk::Misplaced(number)),
    }
}

/// Reads what was cut into chunks from `first` on, by `get`, and tells how many they were.
pub fn join<E: From<BadChunk>>(
    table: TableId,
    first: u32,
    mut get: impl FnMut(u32) -> Result<Option<Bytes>, E>,
) -> Result<(Bytes, u32), E> {
    let stored = get(first)?.ok_or(BadChunk::Missing(first))?;
    let opened = open(table, first, &stored)?;
    let count = opened.count;
    if opened.index != 0 {
        return Err(BadChunk::Misplaced(first).into());
    }
    if count == 1 {
        return Ok((stored.slice_ref(opened.content), 1));
    }
    let mut out = opened.content.to_vec();
    for index in 1..count {
        let number = first.checked_add(index).ok_or(BadChunk::Misplaced(first))?;
        let stored = get(number)?.ok_or(BadChunk::Missing(number))?;
        let opened = open(table, number, &stored)?;
        if (opened.index, opened.count) != (index, count) {
            return Err(BadChunk::Misplaced(number).into());
        }
        out.extend_from_slice(opened.content);
    }
    Ok((out.into(), count))
}
