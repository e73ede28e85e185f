//! From a key to its partition. The value is part of the disk format: it never changes.

use crate::id::{KeyspaceId, PartitionId};
use crate::key::Key;

/// The partition of a key: xxh3-64 over keyspace id and key with the cluster's seed, its highest bits.
/// `partitions` is a power of two from 1 to 32,768.
pub fn partition_of(seed: u64, partitions: u16, keyspace: KeyspaceId, key: &Key) -> PartitionId {
    let _ = (seed, partitions, keyspace, key);
    todo!()
}
