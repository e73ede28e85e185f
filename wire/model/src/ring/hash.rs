//! From a key to its partition. The value is part of the disk format: it never changes.

use crate::id::{KeyspaceId, PartitionId};
use crate::key::Key;
use alloc::vec::Vec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Keys up to this many bytes are hashed without an allocation.
const SHORT_KEY_BYTES: usize = 252;

/// The partition of a key: xxh3-64 over keyspace id (little endian) and key with the cluster's seed, its highest bits.
/// `partitions` is a power of two from 1 to 32,768.
pub fn partition_of(seed: u64, partitions: u16, keyspace: KeyspaceId, key: &Key) -> PartitionId {
    let bits = partitions.checked_ilog2().unwrap_or(0);
    let high = key_hash(seed, keyspace, key).checked_shr(64 - bits).unwrap_or(0);
    PartitionId(u16::try_from(high).unwrap_or(0))
}

fn key_hash(seed: u64, keyspace: KeyspaceId, key: &Key) -> u64 {
    let (id, key) = (keyspace.0.to_le_bytes(), key.as_bytes());
    let mut buffer = [0; 4 + SHORT_KEY_BYTES];
    let Some(input) = buffer.get_mut(..id.len() + key.len()) else {
        let mut input = Vec::with_capacity(id.len() + key.len());
        input.extend_from_slice(&id);
        input.extend_from_slice(key);
        return xxh3_64_with_seed(&input, seed);
    };
    let (front, back) = input.split_at_mut(id.len());
    front.copy_from_slice(&id);
    back.copy_from_slice(key);
    xxh3_64_with_seed(input, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seed: u64, partitions: u16, keyspace: u32, key: &[u8]) -> u16 {
        partition_of(seed, partitions, KeyspaceId(keyspace), &Key::new(key.to_vec()).unwrap()).0
    }

    #[test]
    fn partitions_are_golden() {
        assert_eq!(
            [
                of(0, 32_768, 1, b"a"),
                of(1, 32_768, 1, b"a"),
                of(0, 32_768, 2, b"a"),
                of(0, 32_768, 1, &[7; SHORT_KEY_BYTES]),
                of(0, 32_768, 1, &[7; SHORT_KEY_BYTES + 1]),
                of(9, 256, 1, b"user:1"),
            ],
            GOLDEN
        );
    }

    const GOLDEN: [u16; 6] = [30565, 22682, 4919, 19759, 4870, 249];

    #[test]
    fn fewer_partitions_are_the_higher_bits() {
        for key in 0..100_u32 {
            let key = key.to_be_bytes();
            let finest = of(5, 32_768, 1, &key);
            for bits in 0..15 {
                assert_eq!(of(5, 1 << bits, 1, &key), finest >> (15 - bits));
            }
        }
    }

    #[test]
    fn keys_spread_evenly() {
        let mut counts = [0_u32; 64];
        for key in 0..64_000_u32 {
            counts[usize::from(of(3, 64, 1, &key.to_be_bytes()))] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
