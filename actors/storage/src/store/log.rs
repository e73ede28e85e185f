//! The commit log: groups of records of all shards, in segments. A group is what became durable by one sync; it is
//! replayed whole or not at all.
//!
//! A segment is a tree from sequence (8 bytes, big endian) to piece; an empty value is a key laid out and not yet written.
//! Piece: version (1 byte), flags (1 byte: 1 = the group's last), sequence of the group's first piece (8 bytes), content,
//! CRC-32C over segment, sequence, and all before. A group's content is entries: shard, log position, length (LEB128 each),
//! record.

#[cfg(test)]
mod tests;

use super::trees::{StoreError, TreeName, Trees};
use crate::cursor::{Cursor, put_counted, put_varint};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use anser_machine::Lsn;
use bytes::Bytes;
use core::ops::{ControlFlow, Range};

/// Most bytes of a group's content in one piece.
const PIECE_BYTES: usize = 60 * 1024;
/// Pieces from which a segment takes no new group.
const SEGMENT_KEYS: u64 = 4096;
/// Bytes of pieces from which it doesn't.
const SEGMENT_BYTES: u64 = 32 << 20;
/// So many keys are laid out at a time.
const LAY_OUT_KEYS: u64 = 128;
const VERSION: u8 = 1;
const LAST: u8 = 1;
/// In the place of a shard: nothing to replay.
const MARK: u32 = u32::MAX;

/// One record in a group; its bytes are borrowed while a segment is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<B = Bytes> {
    /// Whose log.
    pub shard: u32,
    /// Its position there.
    pub lsn: Lsn,
    /// The record.
    pub bytes: B,
}

/// Takes a record that is read.
pub type VisitEntry<'a> = dyn FnMut(Entry<&[u8]>) + 'a;

/// Appends a record to a group's content.
pub fn put_entry(content: &mut Vec<u8>, shard: u32, lsn: Lsn, record: &[u8]) {
    put_varint(content, u64::from(shard));
    put_varint(content, lsn.0);
    put_counted(content, record);
}

/// Cuts a group's content into pieces; the first has the sequence `first`.
pub(super) fn pieces(segment: u64, first: u64, content: &[u8]) -> Vec<Vec<u8>> {
    let last = content.len().div_ceil(PIECE_BYTES).saturating_sub(1);
    let cut = content.chunks(PIECE_BYTES).enumerate();
    cut.zip(first..)
        .map(|((index, part), sequence)| {
            let mut out = Vec::with_capacity(part.len() + 14);
            out.push(VERSION);
            out.push(if index == last { LAST } else { 0 });
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(part);
            let checksum = checksum(segment, sequence, &out);
            out.extend_from_slice(&checksum.to_le_bytes());
            out
        })
        .collect()
}

fn checksum(segment: u64, sequence: u64, body: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), &sequence.to_le_bytes());
    crc32c::crc32c_append(place, body)
}

/// The segment that is written.
///
/// Keys are laid out, empty, shortly before they are filled, so that the tree's leaves split while they are small. Only
/// shortly: the tree store cleans its file by writing whole leaves again whose first parts lie far behind, and a leaf of
/// the log is large once it is filled.
#[derive(Debug)]
pub struct Tail {
    segment: u64,
    next: u64,
    laid: u64,
    bytes: u64,
}

/// Makes a segment, so that it can be listed before it holds anything.
pub fn begin(trees: &impl Trees, segment: u64) -> Result<(), StoreError> {
    lay_out(trees, segment, 0..LAY_OUT_KEYS)
}

fn lay_out(trees: &impl Trees, segment: u64, mut keys: Range<u64>) -> Result<(), StoreError> {
    keys.try_for_each(|sequence| trees.put(TreeName::Log(segment), &sequence.to_be_bytes(), &[]))
}

impl Tail {
    /// A segment that was begun and not written yet.
    pub fn new(segment: u64) -> Tail {
        Tail { segment, next: 0, laid: LAY_OUT_KEYS, bytes: 0 }
    }

    /// Its number.
    pub fn segment(&self) -> u64 {
        self.segment
    }

    /// How many pieces it holds.
    pub fn pieces(&self) -> u64 {
        self.next
    }

    /// Whether it takes no more groups.
    pub fn is_full(&self) -> bool {
        self.next >= SEGMENT_KEYS || self.bytes >= SEGMENT_BYTES
    }

    /// Whether the segment after it should be made.
    pub fn is_half_full(&self) -> bool {
        self.next > SEGMENT_KEYS / 2 || self.bytes > SEGMENT_BYTES / 2
    }

    /// Writes a group's content; how many bytes it took. It is durable with the next sync.
    pub fn append(&mut self, trees: &impl Trees, content: &[u8]) -> Result<u64, StoreError> {
        let mut bytes = 0;
        let pieces = pieces(self.segment, self.next, content);
        let after = self.next + u64::try_from(pieces.len()).unwrap_or(u64::MAX);
        if after > self.laid {
            let laid = after.max(self.laid + LAY_OUT_KEYS);
            lay_out(trees, self.segment, self.laid..laid)?;
            self.laid = laid;
        }
        for piece in pieces {
            trees.put(TreeName::Log(self.segment), &self.next.to_be_bytes(), &piece)?;
            bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.next += 1;
        }
        self.bytes += bytes;
        Ok(bytes)
    }
}

/// Appends what makes a group of something that is not in the log, so that the log shows that it was synced.
pub fn put_mark(content: &mut Vec<u8>) {
    put_entry(content, MARK, Lsn(0), &[]);
}

/// What a replay saw of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The last position of each shard in it.
    pub last: BTreeMap<u32, Lsn>,
    /// Bytes of its pieces.
    pub bytes: u64,
    /// How many pieces.
    pub pieces: u64,
    /// Whether it ended in an unfinished group, which was left out: it was never acknowledged.
    pub torn: bool,
}

/// Reads a segment's whole groups, in order. Nobody may write to it meanwhile.
pub fn replay(trees: &impl Trees, segment: u64, visit: &mut VisitEntry<'_>) -> Result<Replayed, StoreError> {
    read(trees, SegmentReader { segment, ..SegmentReader::default() }, visit)
}

/// Reads the whole groups of a segment that may be written meanwhile. It ends at the first key that was not written yet:
/// a later one may be by the time it is met, which in a segment at rest is damage.
pub fn replay_open(
    trees: &impl Trees,
    segment: u64,
    visit: &mut VisitEntry<'_>,
) -> Result<Replayed, StoreError> {
    read(trees, SegmentReader { segment, open: true, ..SegmentReader::default() }, visit)
}

fn read(
    trees: &impl Trees,
    mut reader: SegmentReader,
    visit: &mut VisitEntry<'_>,
) -> Result<Replayed, StoreError> {
    let mut result = Ok(());
    trees.walk(TreeName::Log(reader.segment), &mut |key, value| {
        result = reader.piece(key, value, visit);
        let done = reader.open && reader.ended;
        if result.is_ok() && !done { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result?;
    Ok(Replayed { torn: !reader.group.is_empty(), ..reader.replayed })
}

/// Puts pieces together to groups, and checks that none is missing between two.
#[derive(Default)]
struct SegmentReader {
    segment: u64,
    /// Whether it may be written meanwhile.
    open: bool,
    next: u64,
    /// Where the present group began.
    first: u64,
    group: Vec<u8>,
    /// Whether a key was met that is not written yet.
    ended: bool,
    replayed: Replayed,
}

impl SegmentReader {
    fn piece(&mut self, key: &[u8], value: &[u8], visit: &mut VisitEntry<'_>) -> Result<(), StoreError> {
        if key != self.next.to_be_bytes() {
            return Err(self.damaged("a key is missing"));
        }
        let sequence = self.next;
        self.next += 1;
        if value.is_empty() {
            self.ended = true;
            return Ok(());
        }
        if self.ended {
            return Err(self.damaged("a group is missing"));
        }
        let (body, expected) =
            value.split_last_chunk().ok_or_else(|| self.damaged("a piece is too short"))?;
        if checksum(self.segment, sequence, body) != u32::from_le_bytes(*expected) {
            return Err(self.damaged("a checksum is wrong"));
        }
        let mut cursor = Cursor(body);
        if cursor.byte() != Some(VERSION) {
            return Err(self.damaged("an unknown format version"));
        }
        let (Some(flags), Some(first)) = (cursor.byte(), cursor.u64()) else {
            return Err(self.damaged("a piece is too short"));
        };
        if self.group.is_empty() {
            self.first = sequence;
        }
        if first != self.first {
            return Err(self.damaged("an unfinished group within"));
        }
        self.replayed.pieces += 1;
        self.replayed.bytes += u64::try_from(value.len()).unwrap_or(u64::MAX);
        // Nearly all groups are one piece, which need not be put together.
        let last = flags & LAST != 0;
        if !last || !self.group.is_empty() {
            self.group.extend_from_slice(cursor.0);
        }
        if !last {
            return Ok(());
        }
        let group = core::mem::take(&mut self.group);
        let content = if group.is_empty() { cursor.0 } else { &group };
        self.entries(content, visit).ok_or_else(|| self.damaged("a group is malformed"))
    }

    fn entries(&mut self, group: &[u8], visit: &mut VisitEntry<'_>) -> Option<()> {
        let mut cursor = Cursor(group);
        while !cursor.0.is_empty() {
            let shard = u32::try_from(cursor.varint()?).ok()?;
            let lsn = Lsn(cursor.varint()?);
            let bytes = cursor.counted()?;
            if shard == MARK {
                continue;
            }
            let last = self.replayed.last.entry(shard).or_default();
            *last = lsn.max(*last);
            visit(Entry { shard, lsn, bytes });
        }
        Some(())
    }

    fn damaged(&self, what: &str) -> StoreError {
        let place = self.next.saturating_sub(1);
        StoreError::Damaged(format!("segment {} of the log, piece {place}: {what}", self.segment))
    }
}
