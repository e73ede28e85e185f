//! One block: sorted entries whose keys drop what they share with the key before, but for every
//! sixteenth, where a search can begin.
//!
//! Entry: shared, unshared, state length (LEB128 each), unshared key bytes, state. After the entries: the offset of each
//! restart (4 bytes each), their count (4 bytes). Packed: compression (1 byte: 0 none, 1 LZ4), length before compression
//! (4 bytes), content. Its checksum is that of the chunks it is stored in.

use crate::cursor::{Cursor, put_length};
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;

/// Most bytes of a block of several entries, before compression. An entry larger than that has a block of its own.
pub const BLOCK_BYTES: usize = 4096;
/// One key in this many is written whole.
const RESTART_INTERVAL: usize = 16;
/// Not compressed.
const PLAIN: u8 = 0;
/// LZ4, as a raw block.
const LZ4: u8 = 1;
/// LZ4 can't make more of a byte than this, so a length that claims more is false.
const LZ4_RATIO_MAX: usize = 256;

/// Bytes that are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block of a table is malformed")]
pub struct BadBlock;

/// Lays out one block, entry by entry.
#[derive(Debug, Default)]
pub struct BlockWriter {
    out: Vec<u8>,
    restarts: Vec<u32>,
    since_restart: usize,
    last: Vec<u8>,
}

impl BlockWriter {
    /// Whether it has no entry yet.
    pub fn is_empty(&self) -> bool {
        self.restarts.is_empty()
    }

    /// Whether another entry would make it larger than [`BLOCK_BYTES`].
    pub fn is_full_for(&self, key: &[u8], state: &[u8]) -> bool {
        let frame = 3 * 5 + 4 * (self.restarts.len() + 2);
        !self.is_empty() && self.out.len() + key.len() + state.len() + frame > BLOCK_BYTES
    }

    /// Adds an entry; its key is greater than all before.
    pub fn push(&mut self, key: &[u8], state: &[u8]) {
        let restart = self.is_empty() || self.since_restart == RESTART_INTERVAL;
        if restart {
            self.restarts.push(u32::try_from(self.out.len()).unwrap_or(u32::MAX));
            self.since_restart = 0;
        }
        let shared = if restart { 0 } else { shared_prefix(&self.last, key) };
        let (_, unshared) = key.split_at(shared);
        put_length(&mut self.out, shared);
        put_length(&mut self.out, unshared.len());
        put_length(&mut self.out, state.len());
        self.out.extend_from_slice(unshared);
        self.out.extend_from_slice(state);
        self.last.clear();
        self.last.extend_from_slice(key);
        self.since_restart += 1;
    }

    /// The block; the writer begins anew.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = core::mem::take(&mut self.out);
        let count = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        for offset in self.restarts.drain(..) {
            out.extend_from_slice(&offset.to_le_bytes());
        }
        out.extend_from_slice(&count.to_le_bytes());
        self.since_restart = 0;
        self.last.clear();
        out
    }
}

/// How many first bytes two keys have in common.
pub(super) fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Compresses a block if that makes it smaller.
pub fn pack(block: &[u8]) -> Vec<u8> {
    let compressed = lz4_flex::block::compress(block);
    let (kind, content) =
        if compressed.len() < block.len() { (LZ4, compressed.as_slice()) } else { (PLAIN, block) };
    let mut out = Vec::with_capacity(content.len() + 5);
    out.push(kind);
    out.extend_from_slice(&u32::try_from(block.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(content);
    out
}

/// Reads a packed block back. Total, in memory bounded by the input.
pub fn unpack(packed: &Bytes) -> Result<Bytes, BadBlock> {
    let mut cursor = Cursor(packed);
    let kind = cursor.byte().ok_or(BadBlock)?;
    let length = cursor.u32().and_then(|length| usize::try_from(length).ok()).ok_or(BadBlock)?;
    match kind {
        // Not a part of what it was read with, which is larger and would stay as long.
        PLAIN if cursor.0.len() == length => Ok(Bytes::copy_from_slice(cursor.0)),
        LZ4 if length / LZ4_RATIO_MAX <= cursor.0.len() => {
            let block = lz4_flex::block::decompress(cursor.0, length).map_err(|_| BadBlock)?;
            if block.len() == length { Ok(block.into()) } else { Err(BadBlock) }
        }
        _ => Err(BadBlock),
    }
}

/// Looks a key up. Total.
pub fn search(block: &Bytes, key: &[u8]) -> Result<Option<Bytes>, BadBlock> {
    let (entries, restarts) = split(block)?;
    let from = restart_before(entries, restarts, key)?;
    let mut walk = Walk { rest: Cursor(entries.get(from..).ok_or(BadBlock)?), key: Vec::new() };
    while let Some(state) = walk.next()? {
        match walk.key.as_slice().cmp(key) {
            core::cmp::Ordering::Less => {}
            core::cmp::Ordering::Equal => return Ok(Some(block.slice_ref(state))),
            core::cmp::Ordering::Greater => return Ok(None),
        }
    }
    Ok(None)
}

/// A walk through a block's entries, in order. It stands at an entry, or at the end.
#[derive(Debug)]
pub struct Entries {
    block: Bytes,
    /// Where the entries behind the present one begin, and where they end.
    at: usize,
    end: usize,
    key: Vec<u8>,
    /// Where the present one's state lies.
    state: Range<usize>,
    ended: bool,
}

/// A state in the bytes that it is a part of. Whoever only looks at it takes no share of those.
#[derive(Clone, Copy, Debug)]
pub struct StateIn<'a> {
    within: &'a Bytes,
    state: &'a [u8],
}

impl<'a> StateIn<'a> {
    /// All of these bytes.
    pub fn whole(state: &'a Bytes) -> StateIn<'a> {
        StateIn { within: state, state }
    }

    /// Its bytes, shared.
    pub fn share(self) -> Bytes {
        self.within.slice_ref(self.state)
    }
}

impl Entries {
    /// At the first entry. Total, as all of it.
    pub fn of(block: Bytes) -> Result<Entries, BadBlock> {
        let (entries, _) = split(&block)?;
        let end = entries.len();
        Entries::at(block, 0, end)
    }

    /// At the first entry whose key is not before `key`.
    pub fn from(block: Bytes, key: &[u8]) -> Result<Entries, BadBlock> {
        let (entries, restarts) = split(&block)?;
        let (at, end) = (restart_before(entries, restarts, key)?, entries.len());
        let mut walk = Entries::at(block, at, end)?;
        while walk.entry().is_some_and(|(before, _)| before < key) {
            walk.advance()?;
        }
        Ok(walk)
    }

    fn at(block: Bytes, at: usize, end: usize) -> Result<Entries, BadBlock> {
        let mut walk = Entries { block, at, end, key: Vec::new(), state: 0..0, ended: false };
        walk.advance()?;
        Ok(walk)
    }

    /// The present entry's key and state; none at the end.
    pub fn entry(&self) -> Option<(&[u8], StateIn<'_>)> {
        let state = self.block.get(self.state.clone()).filter(|_| !self.ended)?;
        Some((self.key.as_slice(), StateIn { within: &self.block, state }))
    }

    /// Moves on to the next entry.
    pub fn advance(&mut self) -> Result<(), BadBlock> {
        let rest = self.block.get(self.at..self.end).ok_or(BadBlock)?;
        let mut walk = Walk { rest: Cursor(rest), key: core::mem::take(&mut self.key) };
        let state = walk.next()?.map(<[u8]>::len);
        self.at = self.end.checked_sub(walk.rest.0.len()).ok_or(BadBlock)?;
        match state {
            // The last part of its entry.
            Some(length) => self.state = self.at.checked_sub(length).ok_or(BadBlock)?..self.at,
            None => self.ended = true,
        }
        self.key = walk.key;
        Ok(())
    }
}

/// All entries in order.
pub fn entries(block: &Bytes) -> Result<Vec<(Bytes, Bytes)>, BadBlock> {
    let mut walk = Entries::of(block.clone())?;
    let mut all = Vec::new();
    while let Some((key, state)) = walk.entry() {
        all.push((Bytes::copy_from_slice(key), state.share()));
        walk.advance()?;
    }
    Ok(all)
}

/// The entries and the offsets of the restarts.
fn split(block: &[u8]) -> Result<(&[u8], &[[u8; 4]]), BadBlock> {
    let (rest, count) = block.split_last_chunk().ok_or(BadBlock)?;
    let bytes = usize::try_from(u32::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(4));
    let at = bytes.and_then(|bytes| rest.len().checked_sub(bytes)).ok_or(BadBlock)?;
    let (entries, offsets) = rest.split_at(at);
    let (restarts, _) = offsets.as_chunks();
    if restarts.is_empty() { Err(BadBlock) } else { Ok((entries, restarts)) }
}

/// Where the last restart lies whose key is not after `key`; the first one if there is none.
fn restart_before(entries: &[u8], restarts: &[[u8; 4]], key: &[u8]) -> Result<usize, BadBlock> {
    let mut bad = false;
    let after = restarts.partition_point(|offset| match whole_key(entries, *offset) {
        Some(first) => first <= key,
        None => {
            bad = true;
            false
        }
    });
    let offset = restarts.get(after.saturating_sub(1)).ok_or(BadBlock)?;
    if bad { Err(BadBlock) } else { usize::try_from(u32::from_le_bytes(*offset)).map_err(|_| BadBlock) }
}

/// The key of the entry at a restart.
fn whole_key(entries: &[u8], offset: [u8; 4]) -> Option<&[u8]> {
    let mut cursor = Cursor(entries.get(usize::try_from(u32::from_le_bytes(offset)).ok()?..)?);
    if cursor.varint()? != 0 {
        return None;
    }
    let length = usize::try_from(cursor.varint()?).ok()?;
    cursor.varint()?;
    cursor.take(length)
}

/// A walk over entries, the key of the present one rebuilt.
struct Walk<'a> {
    rest: Cursor<'a>,
    key: Vec<u8>,
}

impl<'a> Walk<'a> {
    /// The next entry's state; none at the end.
    fn next(&mut self) -> Result<Option<&'a [u8]>, BadBlock> {
        if self.rest.0.is_empty() {
            return Ok(None);
        }
        self.entry().map(Some).ok_or(BadBlock)
    }

    fn entry(&mut self) -> Option<&'a [u8]> {
        let shared = usize::try_from(self.rest.varint()?).ok()?;
        let unshared = self.rest.length()?;
        let length = self.rest.length()?;
        if shared > self.key.len() {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(self.rest.take(unshared)?);
        self.rest.take(length)
    }
}
