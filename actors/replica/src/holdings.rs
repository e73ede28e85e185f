//! What the ring gives this shard: which partitions it takes writes of, and which it answers reads of.
//!
//! A node fills its seat by its id, whichever data folder it runs with: whether that one holds what was promised is another
//! matter (see [`crate::copies`]). During a change two placements are active: a copy of either takes writes, but only one of the placement that readers
//! ask mints and answers reads, since another may still lack what was written before.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_model::level::Site;
use anser_model::ring::{Durability, Keyspace, Placement, Record, Replicas, Within};
use anser_model::{FolderId, Key, KeyspaceId, NodeId, PartitionId, Step};

/// A ring record, as one shard sees it. Computed once per record, so that a request costs a look-up.
#[derive(Debug)]
pub(crate) struct Holdings {
    record: Arc<Record>,
    nodes: BTreeSet<NodeId>,
    keyspaces: BTreeMap<KeyspaceId, Held>,
    me: NodeId,
    /// What it holds of any keyspace.
    held: PartitionSet,
    /// What of that no other node holds, of some keyspace.
    alone: PartitionSet,
}

/// One keyspace: its partitions, and when what is written there is acknowledged.
#[derive(Debug)]
struct Held {
    durability: Durability,
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
        me: NodeId,
        shard: impl Fn(u16) -> bool,
    ) -> PartitionSet {
        let mut set = PartitionSet::none(record);
        for placement in placements {
            for partition in (0..record.partitions).filter(|partition| shard(*partition)).map(PartitionId) {
                if placement.replicas(profile, partition).any(|member| member.node == me) {
                    set.insert(partition);
                }
            }
        }
        set
    }

    fn none(record: &Record) -> PartitionSet {
        PartitionSet(alloc::vec![0; usize::from(record.partitions).div_ceil(64)])
    }

    fn insert(&mut self, partition: PartitionId) {
        if let Some(word) = self.0.get_mut(usize::from(partition.0 / 64)) {
            *word |= 1 << (partition.0 % 64);
        }
    }

    fn contains(&self, partition: PartitionId) -> bool {
        self.0.get(usize::from(partition.0 / 64)).is_some_and(|word| word & (1 << (partition.0 % 64)) != 0)
    }
}

impl Holdings {
    /// What `record` gives to shard `shard` of `shards` of node `me`.
    pub fn new(record: Arc<Record>, me: NodeId, shard: u32, shards: u32) -> Holdings {
        let of_shard = |partition: u16| u32::from(partition) % shards.max(1) == shard;
        let held = |Keyspace { replicas, durability, .. }: &Keyspace| Held {
            durability: *durability,
            writes: PartitionSet::new(&record, record.write_placements(), replicas, me, of_shard),
            reads: PartitionSet::new(
                &record,
                core::iter::once(record.read_placement()),
                replicas,
                me,
                of_shard,
            ),
        };
        let keyspaces: BTreeMap<KeyspaceId, Held> =
            record.keyspaces.iter().map(|keyspace| (keyspace.id, held(keyspace))).collect();
        let nodes = record.roster.iter().map(|entry| entry.member.node).collect();
        let (mut held_at_all, mut alone) = (PartitionSet::none(&record), PartitionSet::none(&record));
        for keyspace in &record.keyspaces {
            let Some(Held { writes, .. }) = keyspaces.get(&keyspace.id) else { continue };
            for partition in (0..record.partitions).map(PartitionId).filter(|at| writes.contains(*at)) {
                held_at_all.insert(partition);
                if record.read_placement().replicas(&keyspace.replicas, partition).nth(1).is_none() {
                    alone.insert(partition);
                }
            }
        }
        Holdings { record, nodes, keyspaces, me, held: held_at_all, alone }
    }

    /// The data folder that the record names for this node.
    pub fn folder(&self) -> Option<FolderId> {
        self.record.entry(&self.me).map(|entry| entry.member.folder)
    }

    /// The partitions that this shard holds.
    pub fn held(&self) -> impl Iterator<Item = PartitionId> + '_ {
        (0..self.record.partitions).map(PartitionId).filter(|partition| self.held.contains(*partition))
    }

    /// Whether this shard holds a partition.
    pub fn holds(&self, partition: PartitionId) -> bool {
        self.held.contains(partition)
    }

    /// Whether no other node holds a partition.
    pub fn is_alone(&self, partition: PartitionId) -> bool {
        self.alone.contains(partition)
    }

    /// The replicas of a partition that is held here, for each way in which keyspaces are replicated.
    pub fn sites(&self, partition: PartitionId) -> Vec<Vec<Site>> {
        let held = |keyspace: &&Keyspace| self.takes_writes(keyspace.id, partition);
        let profiles: BTreeSet<&Replicas> =
            self.record.keyspaces.iter().filter(held).map(|keyspace| &keyspace.replicas).collect();
        let placement = self.record.read_placement();
        profiles.into_iter().map(|profile| self.record.sites(placement, profile, partition)).collect()
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

    /// Whether a keyspace's writes are acknowledged, and shown, from memory.
    pub fn answers_from_memory(&self, keyspace: KeyspaceId) -> bool {
        self.keyspaces.get(&keyspace).is_some_and(|held| match held.durability {
            Durability::Interval => true,
            Durability::Fsync => false,
        })
    }

    /// The partition of a key, and where it is within that.
    pub fn place_of(&self, keyspace: KeyspaceId, key: &Key) -> (PartitionId, Within) {
        self.record.place_of(keyspace, key)
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
            let holdings = Holdings::new(Arc::new(record.clone()), member(node).node, 0, 1);
            for partition in (0..8).map(PartitionId) {
                assert_eq!(holdings.takes_writes(KEYSPACE, partition), writes);
                assert_eq!(holdings.answers_reads(KEYSPACE, partition), reads);
            }
        }
    }
}
