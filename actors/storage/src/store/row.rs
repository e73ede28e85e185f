//! Rows: how chunks lie in a table's tree. Eight neighbours are one value, under the number of the first; the seven keys behind
//! it stay empty, so that a leaf of sled has one value.
//!
//! Why: sled reads a leaf as a whole, and one record after the other as they were put into it. With a value for each chunk
//! a leaf was nine records of eight chunks; with a row it is two. A row: for each chunk its length (4 bytes) and its bytes,
//! which have their own checksum. Deliberately absent: a checksum of the row, since each chunk is bound to its place.

use super::trees::{StoreError, TreeName, Trees};
use alloc::vec::Vec;
use anser_machine::TableId;
use bytes::Bytes;

/// Chunks of one row. As many as a leaf of sled has keys when it was filled in order.
pub const ROW_CHUNKS: u32 = 8;

/// Appends a chunk to a row.
pub fn put_chunk(row: &mut Vec<u8>, chunk: &[u8]) {
    row.extend_from_slice(&u32::try_from(chunk.len()).unwrap_or(u32::MAX).to_le_bytes());
    row.extend_from_slice(chunk);
}

/// The chunk at a place of a row; none if it does not come so far. Total.
fn chunk_at(row: &Bytes, place: u32) -> Option<Bytes> {
    let mut rest: &[u8] = row;
    for _ in 0..place {
        (_, rest) = split_chunk(rest)?;
    }
    let (chunk, _) = split_chunk(rest)?;
    Some(row.slice_ref(chunk))
}

fn split_chunk(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = rest.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// Reads a table's chunks, and remembers the row where the last one was.
#[derive(Debug)]
pub struct Rows {
    table: TableId,
    held: Option<(u32, Bytes)>,
}

impl Rows {
    /// Of a table.
    pub fn of(table: TableId) -> Rows {
        Rows { table, held: None }
    }

    /// Whose rows.
    pub fn table(&self) -> TableId {
        self.table
    }

    /// A chunk, if it is there.
    pub fn chunk(&mut self, trees: &impl Trees, number: u32) -> Result<Option<Bytes>, StoreError> {
        let place = number % ROW_CHUNKS;
        let first = number.saturating_sub(place);
        if let Some((at, row)) = &self.held
            && *at == first
        {
            return Ok(chunk_at(row, place));
        }
        let Some(row) = trees.get(TreeName::Table(self.table), &first.to_be_bytes())? else {
            return Ok(None);
        };
        let chunk = chunk_at(&row, place);
        self.held = Some((first, row));
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    #[test]
    fn chunks_come_back_and_no_others() {
        let trees = Memory::default();
        let tree = TreeName::Table(TableId(1));
        let mut row = Vec::new();
        [&b"one"[..], b"", b"three"].into_iter().for_each(|chunk| put_chunk(&mut row, chunk));
        assert_eq!(row, b"\x03\0\0\0one\0\0\0\0\x05\0\0\0three");
        trees.put(tree, &8_u32.to_be_bytes(), &row).unwrap();
        let mut rows = Rows::of(TableId(1));
        let mut read = |number| rows.chunk(&trees, number).unwrap();
        assert_eq!(read(8).as_deref(), Some(&b"one"[..]));
        assert_eq!(read(9).as_deref(), Some(&b""[..]));
        assert_eq!(read(10).as_deref(), Some(&b"three"[..]));
        assert_eq!([read(11), read(7), read(16)], [None, None, None]);
        for kept in 0..row.len() {
            trees.put(tree, &8_u32.to_be_bytes(), &row[..kept]).unwrap();
            let read = |number| Rows::of(TableId(1)).chunk(&trees, number).unwrap();
            assert_eq!(read(10), None, "{kept} bytes");
            assert_eq!(read(8).is_some(), kept >= 7);
        }
    }
}
