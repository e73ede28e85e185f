//! One record of the commit log: a key's whole state after a change. The last record of a key is all there is to know.
//!
//! Kind (1 byte: 1 = a state of siblings; the others are reserved), length of the store key (LEB128), store key, encoded
//! state, CRC-32C of all before (4 bytes).

use crate::cursor::{Cursor, checked, put_checksum, put_counted};
use crate::store_key::StoreKey;
use alloc::vec::Vec;
use anser_model::PartitionId;
use bytes::Bytes;

/// The kind of a record that holds a whole state of siblings.
const KIND_STATE: u8 = 1;
/// Most bytes that a record adds to its key and state.
pub const RECORD_OVERHEAD_BYTES: usize = 1 + 3 + 4;

/// A record as the log holds it, and the state within it, which shares its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// For the log.
    pub bytes: Bytes,
    /// For the memtable.
    pub state: Bytes,
}

/// A record read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub key: StoreKey,
    /// Its whole encoded state; shares the memory of what was read.
    pub state: Bytes,
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// The checksum is wrong, or there is none.
    #[error("a log record's checksum is wrong")]
    Checksum,
    /// A kind that this version doesn't know.
    #[error("a log record has the unknown kind {0}")]
    UnknownKind(u8),
    /// Something else that can't be.
    #[error("a log record is malformed")]
    Malformed,
}

/// Lays out a record.
pub fn encode(key: &StoreKey, state: &[u8]) -> Encoded {
    let key = key.as_bytes();
    let mut out = Vec::with_capacity(key.len() + state.len() + RECORD_OVERHEAD_BYTES);
    out.push(KIND_STATE);
    put_counted(&mut out, key);
    let from = out.len();
    out.extend_from_slice(state);
    let to = out.len();
    put_checksum(&mut out);
    let bytes = Bytes::from(out);
    Encoded { state: bytes.slice(from..to), bytes }
}

/// Reads a record back. Total.
pub fn decode(bytes: &Bytes) -> Result<Record, BadRecord> {
    let mut cursor = Cursor(checked(bytes).ok_or(BadRecord::Checksum)?);
    match cursor.byte() {
        Some(KIND_STATE) => {}
        Some(kind) => return Err(BadRecord::UnknownKind(kind)),
        None => return Err(BadRecord::Malformed),
    }
    // A copy, so that a key kept by a memtable doesn't keep the record of a state long replaced.
    let key = cursor.counted().map(Bytes::copy_from_slice).ok_or(BadRecord::Malformed)?;
    let key = StoreKey::parse(key).ok_or(BadRecord::Malformed)?;
    Ok(Record { key, state: bytes.slice_ref(cursor.0) })
}

/// Whose partition a record is of, its checksum unverified.
pub fn partition_of_record(bytes: &[u8]) -> Option<PartitionId> {
    let mut cursor = Cursor(bytes);
    cursor.byte()?;
    let mut key = Cursor(cursor.counted()?);
    Some(PartitionId(u16::from_be_bytes(key.array()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_model::ring::Within;
    use anser_model::{Key, KeyspaceId};

    fn key() -> StoreKey {
        StoreKey::new(
            PartitionId(0x0102),
            KeyspaceId(3),
            Within(0x0405_0607),
            &Key::new("key".as_bytes()).unwrap(),
        )
    }

    #[test]
    fn has_its_golden_bytes() {
        let encoded = encode(&key(), b"state");
        assert_eq!(encoded.state.as_ref(), b"state");
        assert_eq!(
            encoded.bytes.as_ref(),
            b"\x01\x0d\x01\x02\x00\x00\x00\x03\x04\x05\x06\x07keystate\x9e\xf4\x2e\x77",
            "{}",
            encoded.bytes.escape_ascii()
        );
        assert_eq!(partition_of_record(&encoded.bytes), Some(PartitionId(0x0102)));
    }

    #[test]
    fn comes_back_whole_or_not_at_all() {
        let bytes = encode(&key(), b"state").bytes;
        assert_eq!(decode(&bytes), Ok(Record { key: key(), state: Bytes::from_static(b"state") }));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1 << bit;
                assert_eq!(decode(&flipped.into()), Err(BadRecord::Checksum), "bit {bit} of byte {at}");
            }
            assert!(decode(&bytes.slice(..at)).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn tells_what_it_does_not_know() {
        let with_checksum = |body: &[u8]| {
            let mut out = body.to_vec();
            put_checksum(&mut out);
            decode(&out.into())
        };
        assert_eq!(with_checksum(b"\x02anything"), Err(BadRecord::UnknownKind(2)));
        assert_eq!(with_checksum(b""), Err(BadRecord::Malformed));
        assert_eq!(with_checksum(b"\x01\x02ab"), Err(BadRecord::Malformed), "a store key too short");
    }
}
