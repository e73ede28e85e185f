//! A cell: a small content that is replaced as a whole, in one key when it is short, else with its pieces written before
//! the key that names them. Whoever reads has the old content or the new one.
//!
//! Head, under the cell's name (1 byte): version (1 byte), generation (8 bytes), pieces beside it (4 bytes), checksum of the
//! whole content (4 bytes), the content if it has no pieces, CRC-32C of all. A piece, under name, generation and index
//! (big endian): content only.

use super::trees::{StoreError, TreeName, Trees};
use crate::cursor::{Cursor, checked, put_checksum};
use alloc::format;
use alloc::vec::Vec;
use anser_machine::SlotName;
use bytes::Bytes;
use core::ops::ControlFlow;

/// Most bytes of content that lie in the head, or in one piece.
const PIECE_BYTES: usize = 32 * 1024;
/// Most bytes of a content.
pub const CELL_BYTES_MAX: usize = 64 << 20;
const VERSION: u8 = 1;

/// A cell's name, in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The tree.
    pub tree: TreeName,
    /// The name.
    pub name: u8,
}

/// Pieces of a content that was replaced: to be swept once the new one is synced.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Stale {
    cell: Cell,
    generation: u64,
    pieces: u32,
}

#[derive(Clone, Debug, Default)]
struct Head {
    generation: u64,
    pieces: u32,
    content_checksum: u32,
    inline: Bytes,
}

/// The first shard's cell of its copies; the others' follow.
const FIRST_COPIES: u8 = 16;

impl Cell {
    /// Where a slot is stored. Only that of copies is of one `shard`; the others are the node's.
    pub fn of(slot: SlotName, shard: u32) -> Cell {
        let name = match slot {
            SlotName::Ring => 1,
            SlotName::Incarnation => 2,
            SlotName::Peers => 3,
            SlotName::Copies => FIRST_COPIES.saturating_add(u8::try_from(shard).unwrap_or(u8::MAX)),
        };
        Cell { tree: TreeName::Slots, name }
    }

    /// Its content, if it was ever written.
    pub fn read(self, trees: &impl Trees) -> Result<Option<Bytes>, StoreError> {
        let Some(head) = self.head(trees)? else { return Ok(None) };
        if head.pieces == 0 {
            return Ok(Some(head.inline));
        }
        let mut content = Vec::new();
        for index in 0..head.pieces {
            let piece = trees.get(self.tree, &self.piece_key(head.generation, index))?;
            content.extend_from_slice(&piece.ok_or_else(|| self.damaged("a piece is missing"))?);
        }
        if crc32c::crc32c(&content) == head.content_checksum {
            Ok(Some(content.into()))
        } else {
            Err(self.damaged("a checksum is wrong"))
        }
    }

    /// Replaces its content; durable with the next sync, after which the stale pieces are to be swept.
    pub fn write(self, trees: &impl Trees, content: &[u8]) -> Result<Stale, StoreError> {
        if content.len() > CELL_BYTES_MAX {
            return Err(StoreError::Failed(format!("{} of {} bytes is too large", self.tree, content.len())));
        }
        let before = self.head(trees)?.unwrap_or_default();
        let mut head = Head {
            generation: before.generation + 1,
            pieces: 0,
            content_checksum: crc32c::crc32c(content),
            inline: Bytes::new(),
        };
        let mut out = Vec::new();
        let mut inline = content;
        if content.len() > PIECE_BYTES {
            inline = &[];
            for piece in content.chunks(PIECE_BYTES) {
                trees.put(self.tree, &self.piece_key(head.generation, head.pieces), piece)?;
                head.pieces += 1;
            }
        }
        out.push(VERSION);
        out.extend_from_slice(&head.generation.to_le_bytes());
        out.extend_from_slice(&head.pieces.to_le_bytes());
        out.extend_from_slice(&head.content_checksum.to_le_bytes());
        out.extend_from_slice(inline);
        put_checksum(&mut out);
        trees.put(self.tree, &[self.name], &out)?;
        Ok(Stale { cell: self, generation: before.generation, pieces: before.pieces })
    }

    /// How often it was written.
    pub fn generation(self, trees: &impl Trees) -> Result<u64, StoreError> {
        Ok(self.head(trees)?.map_or(0, |head| head.generation))
    }

    fn head(self, trees: &impl Trees) -> Result<Option<Head>, StoreError> {
        let Some(stored) = trees.get(self.tree, &[self.name])? else { return Ok(None) };
        let body = checked(&stored).ok_or_else(|| self.damaged("a checksum is wrong"))?;
        let mut cursor = Cursor(body);
        match cursor.byte() {
            Some(VERSION) => {}
            Some(_) | None => return Err(self.damaged("an unknown format version")),
        }
        let mut read = || {
            let (generation, pieces, content_checksum) = (cursor.u64()?, cursor.u32()?, cursor.u32()?);
            Some(Head { generation, pieces, content_checksum, inline: stored.slice_ref(cursor.0) })
        };
        read().map(Some).ok_or_else(|| self.damaged("malformed"))
    }

    fn piece_key(self, generation: u64, index: u32) -> Vec<u8> {
        let mut key = Vec::with_capacity(13);
        key.push(self.name);
        key.extend_from_slice(&generation.to_be_bytes());
        key.extend_from_slice(&index.to_be_bytes());
        key
    }

    fn damaged(self, what: &str) -> StoreError {
        StoreError::Damaged(format!("cell {} of {}: {what}", self.name, self.tree))
    }
}

impl Stale {
    /// The cell, and how often it was written with the write that made this stale.
    pub fn replaced_in(&self) -> (Cell, u64) {
        (self.cell, self.generation + 1)
    }

    /// Removes the stale pieces.
    pub fn sweep(self, trees: &impl Trees) -> Result<(), StoreError> {
        for index in 0..self.pieces {
            trees.remove(self.cell.tree, &self.cell.piece_key(self.generation, index))?;
        }
        Ok(())
    }
}

/// Reads every cell of a tree, as proof that it can be.
pub fn check_tree(trees: &impl Trees, tree: TreeName) -> Result<(), StoreError> {
    let mut names = Vec::new();
    trees.walk(tree, &mut |key, _| {
        if let [name] = key {
            names.push(*name);
        }
        ControlFlow::Continue(())
    })?;
    names.into_iter().try_for_each(|name| Cell { tree, name }.read(trees).map(drop))
}

/// Removes all pieces that no head names: left by a crash between a write and its sweep.
pub fn sweep_tree(trees: &impl Trees, tree: TreeName) -> Result<(), StoreError> {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    trees.walk(tree, &mut |key, _| {
        if key.len() > 1 {
            pieces.push(key.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    for key in pieces {
        let mut cursor = Cursor(&key);
        let (Some(name), Some(generation)) = (cursor.byte(), cursor.array()) else { continue };
        let head = Cell { tree, name }.head(trees)?;
        if head.is_none_or(|head| head.generation != u64::from_be_bytes(generation)) {
            trees.remove(tree, &key)?;
        }
    }
    Ok(())
}
