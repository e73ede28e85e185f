//! What a copy does about tables that can't be trusted: all of their group go, since losing only a newer one would uncover
//! older versions, and its partitions are refilled from other replicas. The rest of the shard goes on.
//!
//! Keeps: what was lost counts as lost, durably, before a table is dropped, and before anything merged without it is in the
//! log; the shard mints under a new Life from then on, since it no longer holds all that it minted. The only copy of a
//! partition is not wiped: its shard stops, and an operator has the data.

use crate::operation::Asker;
use crate::replica::{Phase, Replica};
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_machine::{CopiesSummary, DiskRequest, Fact, Group, Lsn, Now, Outbox, SlotName, TableId};
use anser_model::{Life, PartitionId};
use anser_proto::Refusal;
use anser_storage::{StoreKey, group_of, partitions_of};
use bytes::Bytes;

impl Replica {
    /// Under which Life it mints now.
    pub fn copy_life(&self) -> Life {
        self.config.copy_life
    }

    /// A key's state and its log position, if it is in memory: what is left of it when tables are lost.
    pub fn remembered(&self, key: &StoreKey) -> Option<(Bytes, Lsn)> {
        self.engine.remembered(key)
    }

    /// The cell of copies was read back: next come the tables.
    pub(crate) fn on_copies_loaded(&mut self, cell: Option<&Bytes>, out: &mut Outbox) {
        if self.phase != Phase::ReadingCopies {
            return;
        }
        match crate::copies::Copies::restored(cell.map(AsRef::as_ref)) {
            Ok(copies) => {
                self.copies = copies;
                self.losses = self.copies.void_groups().into_iter().map(|group| (group, 1)).collect();
                self.phase = Phase::ReadingTables;
                self.fill_seat(out);
                out.disk(DiskRequest::Recover);
            }
            Err(_) => self.stop(Refusal::DiskFailed, out),
        }
    }

    /// Which seat of the ring the copies fill, once both are known.
    pub(crate) fn fill_seat(&mut self, out: &mut Outbox) {
        let is_loaded = !matches!(self.phase, Phase::New | Phase::ReadingCopies);
        let Some(holdings) = self.holdings.as_ref().filter(|_| is_loaded) else { return };
        if let Some(folder) = holdings.folder() {
            self.copies.fill(self.config.member.folder, folder, holdings.held());
        }
        self.drop_marked(out);
        self.publish_copies(out);
    }

    /// A table can't be read or trusted.
    pub(crate) fn on_damaged_table(&mut self, table: TableId, out: &mut Outbox) {
        // Of one that is gone by now nothing more is lost.
        if let Some(group) = self.engine.group_of_table(table) {
            self.on_damaged_group(group, out);
        }
    }

    /// A group's tables can't be trusted.
    pub(crate) fn on_damaged_group(&mut self, group: Group, out: &mut Outbox) {
        if self.copies.is_void(group) || matches!(self.phase, Phase::Stopped(_)) {
            return;
        }
        if self.is_alone_in(group) {
            self.stop(Refusal::DiskFailed, out);
            return;
        }
        let shards = self.config.shards.max(1);
        let of_shard = |partition: &PartitionId| u32::from(partition.0) % shards == self.config.shard;
        let lost: Vec<PartitionId> = partitions_of(group).filter(of_shard).collect();
        self.copies.lose(group, lost.iter().copied());
        self.refill.forget(lost.iter().copied());
        self.engine.drop_group(group);
        *self.losses.entry(group).or_default() += 1;
        self.config.copy_life = self.config.copy_life.next();
        self.counter = 0;
        // What these acknowledge may be lost by now; whether it is, nobody can say.
        let step = self.step();
        for waiter in self.pending.withdraw(|asker| group_of(asker.partition) == group, &mut self.budget) {
            waiter.asker.refuse(Refusal::Crashed, step, out);
        }
        self.save_copies(out);
        self.publish_copies(out);
        self.count_levels(out);
    }

    /// The stored state of a key can't be read, though its block could.
    pub(crate) fn on_damaged_state(&mut self, asker: &Asker, from_table: bool, out: &mut Outbox) {
        if from_table {
            self.on_damaged_group(group_of(asker.partition), out);
        } else {
            self.stop(Refusal::DiskFailed, out);
        }
        asker.refuse(Refusal::DiskFailed, self.step(), out);
    }

    fn is_alone_in(&self, group: Group) -> bool {
        let Some(holdings) = &self.holdings else { return false };
        partitions_of(group).any(|partition| holdings.holds(partition) && holdings.is_alone(partition))
    }

    /// Saves which copies may be trusted.
    pub(crate) fn save_copies(&mut self, out: &mut Outbox) {
        out.disk(DiskRequest::Save { slot: SlotName::Copies, bytes: self.copies.begin_save() });
    }

    /// The same, if some were refilled since.
    pub(crate) fn save_copies_if_due(&mut self, out: &mut Outbox) {
        if self.copies.is_save_due() {
            self.save_copies(out);
        }
    }

    /// Which copies may be trusted is durable.
    pub(crate) fn on_copies_saved(&mut self, now: Now, out: &mut Outbox) {
        if matches!(self.phase, Phase::Stopped(_)) {
            return;
        }
        self.copies.saved();
        self.publish_copies(out);
        self.drop_marked(out);
        self.flush_if_due(out);
        self.go_on_refilling(now, out);
    }

    /// Has tables dropped of which it is durable that they are void.
    fn drop_marked(&mut self, out: &mut Outbox) {
        // Before there is a ring nobody knows whether others have what they held.
        if self.holdings.is_none() || !self.has_tables() {
            return;
        }
        let groups = self.copies.void_groups();
        if groups.iter().any(|group| self.is_alone_in(*group)) {
            self.stop(Refusal::DiskFailed, out);
            return;
        }
        for group in self.copies.begin_drops() {
            out.disk(DiskRequest::Wipe { group });
        }
    }

    /// A group's tables are gone.
    pub(crate) fn on_wiped(&mut self, group: Group, out: &mut Outbox) {
        if !matches!(self.phase, Phase::Stopped(_)) {
            self.copies.dropped(group);
            self.save_copies(out);
        }
    }

    /// After the tables were read back: what of them is void, or can't be read.
    pub(crate) fn lose_damaged(&mut self, damaged: Vec<Group>, out: &mut Outbox) {
        for group in self.copies.void_groups() {
            self.engine.drop_group(group);
        }
        for group in damaged {
            self.on_damaged_group(group, out);
        }
        self.drop_marked(out);
    }

    /// Tells the node how the copies are, when that has changed.
    pub(crate) fn publish_copies(&mut self, out: &mut Outbox) {
        let Some(holdings) = &self.holdings else { return };
        let (waiting, awaited) = self.refill.awaited();
        let losses = self.losses.clone();
        let mut summary = CopiesSummary { losses, waiting, awaited, ..CopiesSummary::default() };
        for partition in holdings.held() {
            if self.copies.serves(partition) {
                summary.serving += 1;
            } else {
                summary.joining.insert(partition);
                summary.alone += u32::from(holdings.is_alone(partition));
            }
        }
        if self.told_copies.as_ref() != Some(&summary) {
            self.told_copies = Some(summary.clone());
            out.publish(Fact::CopiesChanged { shard: self.config.shard, copies: Arc::new(summary) });
        }
    }
}
