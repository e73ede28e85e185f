//! One record of the commit log: a key's whole state after a change. The last record of a key is all there is to know.
//!
//! Kind (1 byte: 2 = a state of siblings of a key that had none, 3 = of one that had; the others are reserved), length of the
//! store key (LEB128), store key, with kind 3 what the state before it counted as (16 bytes), encoded state, CRC-32C of all
//! before (4 bytes).

use crate::cursor::{Cursor, checked, put_checksum, put_counted};
use crate::store_key::StoreKey;
use alloc::vec::Vec;
use anser_model::PartitionId;
use anser_model::merkle::Fingerprint;
use anser_model::state::BadState;
use bytes::Bytes;

/// The kind of a record that holds a whole state of siblings, of a key that counted as nothing.
const KIND_FIRST: u8 = 2;
/// The same of a key that counted as something.
const KIND_NEXT: u8 = 3;
/// Most bytes that a record adds to its key and state.
pub const RECORD_OVERHEAD_BYTES: usize = 1 + 3 + 16 + 4;

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
    /// What the state before it counted as.
    pub replaces: Fingerprint,
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
    /// What it holds is no state.
    #[error("a log record holds {0}")]
    State(BadState),
    /// Something else that can't be.
    #[error("a log record is malformed")]
    Malformed,
}

/// Lays out a record. `replaces` is what the key's state before it counted as.
pub fn encode(key: &StoreKey, state: &[u8], replaces: Fingerprint) -> Encoded {
    let key = key.as_bytes();
    let mut out = Vec::with_capacity(key.len() + state.len() + RECORD_OVERHEAD_BYTES);
    let first = replaces == Fingerprint::NONE;
    out.push(if first { KIND_FIRST } else { KIND_NEXT });
    put_counted(&mut out, key);
    if !first {
        out.extend_from_slice(&replaces.0.to_le_bytes());
    }
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
    let first = match cursor.byte() {
        Some(KIND_FIRST) => true,
        Some(KIND_NEXT) => false,
        Some(kind) => return Err(BadRecord::UnknownKind(kind)),
        None => return Err(BadRecord::Malformed),
    };
    // A copy, so that a key kept by a memtable doesn't keep the record of a state long replaced.
    let key = cursor.counted().map(Bytes::copy_from_slice).ok_or(BadRecord::Malformed)?;
    let key = StoreKey::parse(key).ok_or(BadRecord::Malformed)?;
    let replaces = match first {
        true => Fingerprint::NONE,
        false => Fingerprint(cursor.array().map(u128::from_le_bytes).ok_or(BadRecord::Malformed)?),
    };
    if !first && replaces == Fingerprint::NONE {
        return Err(BadRecord::Malformed);
    }
    Ok(Record { key, state: bytes.slice_ref(cursor.0), replaces })
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
        let encoded = encode(&key(), b"state", Fingerprint::NONE);
        assert_eq!(encoded.state.as_ref(), b"state");
        assert_eq!(
            encoded.bytes.as_ref(),
            b"\x02\x0d\x01\x02\x00\x00\x00\x03\x04\x05\x06\x07keystate\x59\xec\xea\x2e",
            "{}",
            encoded.bytes.escape_ascii()
        );
        assert_eq!(partition_of_record(&encoded.bytes), Some(PartitionId(0x0102)));
        let next = encode(&key(), b"state", Fingerprint(0x0807)).bytes;
        assert_eq!(
            next.as_ref(),
            b"\x03\x0d\x01\x02\x00\x00\x00\x03\x04\x05\x06\x07key\x07\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0state\x79\x4d\xb1\x48",
            "{}",
            next.escape_ascii()
        );
        assert_eq!(partition_of_record(&next), Some(PartitionId(0x0102)));
    }

    #[test]
    fn comes_back_whole_or_not_at_all() {
        let replaces = Fingerprint(5);
        let bytes = encode(&key(), b"state", replaces).bytes;
        assert_eq!(decode(&bytes), Ok(Record { key: key(), state: Bytes::from_static(b"state"), replaces }));
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
        assert_eq!(with_checksum(b"\x01anything"), Err(BadRecord::UnknownKind(1)));
        assert_eq!(with_checksum(b""), Err(BadRecord::Malformed));
        assert_eq!(with_checksum(b"\x02\x02ab"), Err(BadRecord::Malformed), "a store key too short");
        let nothing = [&b"\x03\x0b0123456789k"[..], &[0; 16], b"state"].concat();
        assert_eq!(
            with_checksum(&nothing),
            Err(BadRecord::Malformed),
            "it replaces nothing, and says so twice"
        );
    }
}
