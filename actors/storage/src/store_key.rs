//! How keys are ordered on disk: by partition, then keyspace, then the key's hash, then key. So a partition is one range of a
//! table, and so is each leaf of the hash tree of a partition's keyspace.

use alloc::vec::Vec;
use anser_machine::{Group, Headed};
use anser_model::ring::{Record, Within};
use anser_model::{Key, KeyspaceId, PartitionId};
use bytes::Bytes;

/// Bytes before the key itself: partition, keyspace, place within the partition.
const PREFIX_BYTES: usize = 2 + 4 + 4;
/// So many neighbouring partitions share their tables. Fixed for ever: tables are listed by it.
const GROUP_PARTITIONS: u16 = 16;

/// The group that a partition's tables are in.
pub fn group_of(partition: PartitionId) -> Group {
    partition.0 / GROUP_PARTITIONS
}

/// The partitions of a group, in any ring.
pub fn partitions_of(group: Group) -> impl Iterator<Item = PartitionId> {
    let first = group.saturating_mul(GROUP_PARTITIONS);
    (first..=first.saturating_add(GROUP_PARTITIONS - 1)).map(PartitionId)
}

/// The same of a key's bytes; none if they are too short for a key.
pub(crate) fn group_of_key(key: &[u8]) -> Option<Group> {
    let (partition, _) = key.split_first_chunk()?;
    Some(group_of(PartitionId(u16::from_be_bytes(*partition))))
}

/// Partition (u16), keyspace (u32), place within the partition (u32), all big endian, then the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey(Headed);

impl StoreKey {
    /// Joins its parts, in an allocation of its own.
    pub fn new(partition: PartitionId, keyspace: KeyspaceId, within: Within, key: &Key) -> StoreKey {
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + key.as_bytes().len());
        bytes.extend_from_slice(&partition.0.to_be_bytes());
        bytes.extend_from_slice(&keyspace.0.to_be_bytes());
        bytes.extend_from_slice(&within.0.to_be_bytes());
        bytes.extend_from_slice(key.as_bytes());
        StoreKey(Headed::from(Bytes::from(bytes)))
    }

    /// The key under which a ring stores a key.
    pub fn of(ring: &Record, keyspace: KeyspaceId, key: &Key) -> StoreKey {
        let (partition, within) = ring.place_of(keyspace, key);
        StoreKey::new(partition, keyspace, within, key)
    }

    /// Checks that some bytes are a store key.
    pub fn parse(bytes: Bytes) -> Option<StoreKey> {
        let key_bytes = bytes.len().checked_sub(PREFIX_BYTES)?;
        Key::is_length(key_bytes).then(|| StoreKey(bytes.into()))
    }

    /// Partition, keyspace and key; never none for a value that was joined or parsed.
    pub fn parts(&self) -> Option<(PartitionId, KeyspaceId, Key)> {
        let (partition, rest) = self.as_bytes().split_first_chunk()?;
        let (keyspace, _) = rest.split_first_chunk()?;
        let key = Key::new(self.as_bytes().slice_ref(self.as_bytes().get(PREFIX_BYTES..)?)).ok()?;
        Some((PartitionId(u16::from_be_bytes(*partition)), KeyspaceId(u32::from_be_bytes(*keyspace)), key))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &Bytes {
        self.0.as_bytes()
    }

    /// Itself, as maps are ordered by it.
    pub fn headed(&self) -> &Headed {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_order_is_by_part() {
        let key = |text: &'static str| Key::new(text.as_bytes()).unwrap();
        let of = |partition, keyspace, within, text| {
            StoreKey::new(PartitionId(partition), KeyspaceId(keyspace), Within(within), &key(text))
        };
        let a = of(1, 2, 0x0304_0506, "k");
        assert_eq!(a.as_bytes().as_ref(), b"\x00\x01\x00\x00\x00\x02\x03\x04\x05\x06k");
        assert_eq!(a.parts(), Some((PartitionId(1), KeyspaceId(2), key("k"))));
        assert!(a < of(256, 0, 0, "a"));
        assert!(a < of(1, 256, 0, "a"));
        assert!(a < of(1, 2, 0x0401_0101, "a"));
        assert!(a < of(1, 2, 0x0304_0506, "ka"));
        assert_eq!(StoreKey::parse(a.as_bytes().slice(..10)), None, "no key");
        assert_eq!(StoreKey::parse(a.as_bytes().slice(..9)), None);
        assert_eq!(StoreKey::parse(Bytes::from_static(b"\x00")), None);
    }
}
