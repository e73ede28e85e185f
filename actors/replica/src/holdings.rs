//! What the ring gives this shard: which partitions it takes writes of, and which it answers reads of.
//!
//! During a change two placements are active: a copy of either takes writes, but only one of the placement that readers
//! ask mints and answers reads, since another may still lack what was written before.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_model::ring::{Placement, Record, Replicas};
use anser_model::{Key, KeyspaceId, Member, NodeId, PartitionId, Step};

/// A ring record, as one shard sees it. Computed once per record, so that a request costs a look-up.
#[derive(Debug)]
pub(crate) struct Holdings {
    record: Arc<Record>,
    nodes: BTreeSet<NodeId>,
    keyspaces: BTreeMap<KeyspaceId, Held>,
}

/// The partitions of one keyspace.
#[derive(Debug)]
struct Held {
    writes: PartitionSet,
    reads: PartitionSet,
}

/// A bit for each partition.
#[derive(Debug)]
struct PartitionSet(Vec<u64>);

impl PartitionSet {
    fn new<'a>(
        record: &Record,
        placements: impl Iterator<Item = &'a Placement>,
        profile: &Replicas,
        me: Member,
        shard: impl Fn(u16) -> bool,
    ) -> PartitionSet {
        let mut words = alloc::vec![0u64; usize::from(record.partitions).div_ceil(64)];
        for placement in placements {
            for partition in (0..record.partitions).filter(|partition| shard(*partition)) {
                let mine = placement.replicas(profile, PartitionId(partition)).any(|member| member == me);
                if let Some(word) = words.get_mut(usize::from(partition / 64)) {
                    *word |= u64::from(mine) << (partition % 64);
                }
            }
        }
        PartitionSet(words)
    }

    fn contains(&self, partition: PartitionId) -> bool {
        self.0.get(usize::from(partition.0 / 64)).is_some_and(|word| word & (1 << (partition.0 % 64)) != 0)
    }
}

impl Holdings {
    /// What `record` gives to shard `shard` of `shards` of member `me`.
    pub fn new(record: Arc<Record>, me: Member, shard: u32, shards: u32) -> Holdings {
        let of_shard = |partition: u16| u32::from(partition) % shards.max(1) == shard;
        let held = |profile: &Replicas| Held {
            writes: PartitionSet::new(&record, record.write_placements(), profile, me, of_shard),
            reads: PartitionSet::new(
                &record,
                core::iter::once(record.read_placement()),
                profile,
                me,
                of_shard,
            ),
        };
        let keyspaces =
            record.keyspaces.iter().map(|keyspace| (keyspace.id, held(&keyspace.replicas))).collect();
        let nodes = record.roster.iter().map(|entry| entry.member.node).collect();
        Holdings { record, nodes, keyspaces }
    }

    /// The record's step.
    pub fn step(&self) -> Step {
        self.record.step
    }

    /// Whether a node is in the roster.
    pub fn is_member(&self, node: &NodeId) -> bool {
        self.nodes.contains(node)
    }

    /// Whether this shard takes writes of a partition.
    pub fn takes_writes(&self, keyspace: KeyspaceId, partition: PartitionId) -> bool {
        self.keyspaces.get(&keyspace).is_some_and(|held| held.writes.contains(partition))
    }

    /// Whether this shard mints in and answers reads of a partition.
    pub fn answers_reads(&self, keyspace: KeyspaceId, partition: PartitionId) -> bool {
        self.keyspaces.get(&keyspace).is_some_and(|held| held.reads.contains(partition))
    }

    /// The partition of a key.
    pub fn partition_of(&self, keyspace: KeyspaceId, key: &Key) -> PartitionId {
        self.record.partition_of(keyspace, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{KEYSPACE, member, ring};
    use anser_model::ring::Side;

    #[test]
    fn during_a_change_both_placements_take_writes_and_one_answers_reads() {
        let mut record = ring();
        let profiles = [record.keyspaces[0].replicas.clone()];
        let joining = record.roster.split_off(1);
        record.new = Some(Placement::compute(2, 8, &profiles, &joining, Some(&record.old)).unwrap());
        // Node 1 leaves, nodes 2 and 3 stay.
        for (read, node, writes, reads) in [
            (Side::Old, 1, true, true),
            (Side::Old, 2, true, true),
            (Side::New, 1, true, false),
            (Side::New, 2, true, true),
            (Side::New, 7, false, false),
        ] {
            record.read = read;
            let holdings = Holdings::new(Arc::new(record.clone()), member(node), 0, 1);
            for partition in (0..8).map(PartitionId) {
                assert_eq!(holdings.takes_writes(KEYSPACE, partition), writes);
                assert_eq!(holdings.answers_reads(KEYSPACE, partition), reads);
            }
        }
    }
}
