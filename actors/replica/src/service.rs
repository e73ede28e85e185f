//! Whether the shard answers, and what ends that. Deliberately absent: a way back from a stop but a start.

use crate::config::ReplicaConfig;
use crate::holdings::Holdings;
use crate::operation::Asker;
use crate::replica::{Phase, Replica};
use alloc::sync::Arc;
use anser_machine::{Count, Fact, Lsn, Now, Outbox};
use anser_model::merkle::Tree;
use anser_model::ring::Record;
use anser_model::{KeyspaceId, PartitionId};
use anser_proto::Refusal;

impl Replica {
    /// How many requests wait for a sync or a block.
    pub fn waiting(&self) -> usize {
        self.budget.count()
    }

    /// Bytes in memtables.
    pub fn memtable_bytes(&self) -> usize {
        self.engine.memtable_bytes()
    }

    /// The hash tree of a copy of a partition's keyspace; none if it never had a key.
    pub fn leaves(&self, partition: PartitionId, keyspace: KeyspaceId) -> Option<&Tree> {
        self.engine.leaves(partition, keyspace)
    }

    /// Counts what has changed since it was last counted.
    pub(crate) fn count_levels(&mut self, out: &mut Outbox) {
        let shard = self.config.shard;
        let bytes = self.engine.memtable_bytes();
        if bytes != self.counted_memtable_bytes {
            self.counted_memtable_bytes = bytes;
            out.count(Count::MemtableBytes { shard, bytes: u64::try_from(bytes).unwrap_or(u64::MAX) });
        }
        let generation = self.engine.generation();
        if self.told_tables != Some(generation) {
            self.told_tables = Some(generation);
            let bytes = self.engine.tree_bytes();
            out.count(Count::TreeBytes { shard, bytes: u64::try_from(bytes).unwrap_or(u64::MAX) });
            let tables = self.engine.tables();
            out.count(Count::Tables { shard, tables: u64::try_from(tables.len()).unwrap_or(u64::MAX) });
            out.publish(Fact::TablesChanged { shard, tables });
        }
    }

    /// Stops for good: nothing more is acknowledged, and all that waits is refused.
    pub(crate) fn stop(&mut self, refusal: Refusal, out: &mut Outbox) {
        if let Phase::Stopped(_) = self.phase {
            return;
        }
        let was_read_back = matches!(self.phase, Phase::ReadBack | Phase::Serving);
        self.phase = Phase::Stopped(refusal);
        if !was_read_back {
            // Other shards must not wait for what can't be told.
            out.publish(Fact::LogGrown { shard: self.config.shard, records: None });
        }
        // Held answers are of things done: whoever is refused here must not hear that nothing happened.
        let held = if refusal == Refusal::DiskFailed { refusal } else { Refusal::Crashed };
        let step = self.step();
        while let Some(waiter) = self.pending.release(Lsn(u64::MAX), &mut self.budget) {
            waiter.asker.refuse(held, step, out);
        }
        for operation in self.fetches.abandon(&mut self.budget) {
            operation.asker.refuse(refusal, step, out);
        }
        for asker in self.pages.abandon() {
            asker.refuse(refusal, step, out);
        }
        self.publish_serving(out);
    }

    /// Stops because the copy's Life runs elsewhere too: another process mints under its name, so that what either writes
    /// may hide what the other wrote.
    pub(crate) fn stop_as_clone(&mut self, asker: &Asker, out: &mut Outbox) {
        self.stop(Refusal::NotServing, out);
        asker.refuse(Refusal::NotServing, self.step(), out);
    }

    /// Tells the node whether the shard answers, when that has changed.
    pub(crate) fn publish_serving(&mut self, out: &mut Outbox) {
        let serving = self.phase == Phase::Serving && self.holdings.is_some();
        if self.published != Some(serving) {
            self.published = Some(serving);
            out.publish(Fact::ShardChanged { shard: self.config.shard, serving });
        }
    }

    /// The node adopted a ring record.
    pub(crate) fn on_ring(&mut self, now: Now, record: Arc<Record>, out: &mut Outbox) {
        // Steps only grow.
        if record.step > self.step() {
            let ReplicaConfig { member, shard, shards, .. } = self.config;
            self.holdings = Some(Holdings::new(record, member.node, shard, shards));
            self.fill_seat(out);
            if self.published.is_some() {
                self.publish_serving(out);
            }
            self.go_on_refilling(now, out);
        }
    }
}
