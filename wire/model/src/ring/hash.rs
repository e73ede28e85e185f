//! From a key to its place: its partition, and where it is within that. The values are part of the disk format: they
//! never change.

use crate::id::{KeyspaceId, PartitionId};
use crate::key::Key;
use alloc::vec::Vec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Keys up to this many bytes are hashed without an allocation.
const SHORT_KEY_BYTES: usize = 252;

/// Where a key is within its partition: the 32 bits of its hash behind those that chose the partition. Keys are stored in
/// this order, so any cut of it is a range of keys, and all cuts of one size have about as many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Within(pub u32);

/// The place of a key: xxh3-64 over keyspace id (little endian) and key with the cluster's seed. The highest bits are its
/// partition, the next ones where it is within. `partitions` is a power of two from 1 to 32,768.
pub fn place_of(seed: u64, partitions: u16, keyspace: KeyspaceId, key: &Key) -> (PartitionId, Within) {
    let bits = partitions.checked_ilog2().unwrap_or(0);
    let hash = key_hash(seed, keyspace, key);
    let partition = hash.checked_shr(64 - bits).unwrap_or(0);
    let within = (hash << bits) >> 32;
    (PartitionId(u16::try_from(partition).unwrap_or(0)), Within(u32::try_from(within).unwrap_or(0)))
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
        place_of(seed, partitions, KeyspaceId(keyspace), &Key::new(key.to_vec()).unwrap()).0.0
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
    fn partition_and_place_within_are_the_hash_in_order() {
        let key = Key::new(&b"user:1"[..]).unwrap();
        let whole = key_hash(9, KeyspaceId(1), &key);
        for bits in 0..=15 {
            let (partition, within) = place_of(9, 1 << bits, KeyspaceId(1), &key);
            let joined = (u64::from(partition.0) << 32 | u64::from(within.0)) << (32 - bits);
            assert_eq!(joined, whole >> (32 - bits) << (32 - bits), "{bits}");
        }
        assert_eq!(place_of(9, 256, KeyspaceId(1), &key).1, WITHIN_GOLDEN);
    }

    const WITHIN_GOLDEN: Within = Within(3_967_307_314);

    #[test]
    fn keys_spread_evenly() {
        let mut counts = [0_u32; 64];
        for key in 0..64_000_u32 {
            counts[usize::from(of(3, 64, 1, &key.to_be_bytes()))] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
