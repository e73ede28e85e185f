//! What is seen of the machines' effects: the truth follows, and the invariants that hold at every moment are judged.

use super::World;
use super::cell::Actor;
use super::node::{COORDINATOR, MAILBOX_MAX, MEMBERSHIP, SHARDS};
use super::strays::STRAY_LIFE;
use crate::clients::Client;
use crate::coverage::Situation;
use crate::disk::FIRST_SHARD;
use crate::invariants::incarnations_grow::Said;
use crate::invariants::synced_is_read_back;
use crate::invariants::{contexts_grow, dots_are_unique, failed_disks_stop_shards, failed_leaves_nothing};
use crate::invariants::{
    incarnations_grow, minters_remember, mints_settle_what_they_saw, only_copies_are_kept,
};
use crate::invariants::{queues_are_bounded, settling_has_no_cycle, steps_grow, strays_are_refused};
use crate::stage::Seen;
use crate::truth::Appended;
use crate::verdicts::Invariant;
use anser_machine::{Count, DiskRequest, Fact, Feedback, Lsn, SlotName};
use anser_model::{Key, KeyspaceId};
use anser_proto::gossip::{Gossip, PeerState, Rumour};
use anser_proto::replicate::ReplicaRequest;
use anser_proto::{Body, Envelope, Role};
use anser_storage::record;

impl World {
    /// An actor asks the disk.
    pub(super) fn see_request(&mut self, n: usize, actor: usize, request: &DiskRequest) {
        self.tell(|| Seen::Asked { node: n, actor, request: request.clone() });
        if let DiskRequest::Save { slot: SlotName::Copies, .. } = request {
            self.see_copies_saved(n, actor - FIRST_SHARD, false);
        }
        if let DiskRequest::Wipe { group } = request {
            let result = only_copies_are_kept::check(&self.truth, n, *group);
            self.judge(Invariant::OnlyCopiesAreKept, result);
        }
        let DiskRequest::Append(log_record) = request else { return };
        let record = record::decode(&log_record.bytes).expect("a shard appends records");
        let shard = actor - FIRST_SHARD;
        self.see_log(n, shard, log_record.lsn, record.key.as_bytes().len() + record.state.len());
        let Some(slot) = self.truth.slot_of(record.key.as_bytes()) else { return };
        if record.state.len() > 60_000 {
            self.coverage.sometimes(Situation::LargeValue);
        }
        self.largest_state = self.largest_state.max(record.state.len());
        let (truth, node) = (&mut self.truth, &self.nodes[n]);
        let mine = |dot: &anser_model::Dot| node.minted(shard, dot);
        let number = u32::try_from(shard).expect("few shards");
        let Appended { before, after, mints } =
            truth.append(n, number, log_record.lsn, slot, &record.state, &mine);
        self.judge(Invariant::ContextsGrow, contexts_grow::check(&before, &after));
        for mint in mints {
            let result = dots_are_unique::check(&self.truth, &mint);
            self.judge(Invariant::DotsAreUnique, result);
            let result = mints_settle_what_they_saw::check(&self.truth, &mint);
            self.judge(Invariant::MintsSettleWhatTheySaw, result);
            let result = minters_remember::check(&self.truth, &mint);
            self.judge(Invariant::MintersRemember, result);
            let result = failed_leaves_nothing::check(&self.truth, mint.write);
            self.judge(Invariant::FailedLeavesNothing, result);
            let result = settling_has_no_cycle::check(&self.truth, &mint);
            self.judge(Invariant::SettlingHasNoCycle, result);
            if self.truth.writes[mint.write].dots.len() > 1 {
                self.coverage.sometimes(Situation::MintedTwice);
                let heirs = |live: &(anser_model::Rid, _)| self.truth.is_heir(&live.0, mint.write);
                if before.live().iter().any(heirs) {
                    self.coverage.sometimes(Situation::ForgottenRetry);
                }
            }
            let at = self.now();
            let rid = self.truth.writes[mint.write].rid;
            self.journal.line(at, || {
                format!(
                    "node {n} mints {} of write {} (key {slot}, number {})",
                    mint.dot,
                    crate::invariants::shown(&rid),
                    mint.write
                )
            });
        }
    }

    /// A shard appends an entry to its log: tables must not lag too far behind.
    fn see_log(&mut self, n: usize, shard: usize, lsn: Lsn, bytes: usize) {
        self.largest_entry = self.largest_entry.max(bytes);
        let node = &mut self.nodes[n];
        let unwritten = node.unwritten[shard].append(lsn, bytes);
        let bound = node.bounds.unwritten(self.largest_entry);
        let result = queues_are_bounded::check("a shard's log that no table holds", unwritten, bound);
        self.judge(Invariant::QueuesAreBounded, result);
    }

    /// The disk answers.
    pub(super) fn see_feedback(&mut self, n: usize, actor: usize, feedback: &Feedback) {
        self.tell(|| Seen::Answered { node: n, actor, feedback: feedback.clone() });
        match feedback {
            Feedback::Durable { through } => {
                let shard = u32::try_from(actor - FIRST_SHARD).expect("few shards");
                self.truth.copies[n].synced(shard, *through);
            }
            Feedback::RecoveredLog { records, next } => {
                for log_record in records {
                    let record = record::decode(&log_record.bytes).expect("what is read back is a record");
                    if let Some(slot) = self.truth.slot_of(record.key.as_bytes()) {
                        self.truth.read_back(n, log_record.lsn, slot, &record.state);
                    }
                    self.coverage.sometimes(Situation::ReplayedLog);
                }
                if let Some(next) = next {
                    self.remember(n, actor - FIRST_SHARD, *next);
                }
            }
            Feedback::Flushed { through, .. } => {
                // A table may be on disk before the log is.
                let shard = u32::try_from(actor - FIRST_SHARD).expect("few shards");
                self.truth.copies[n].synced(shard, *through);
                self.nodes[n].unwritten[shard as usize].written(*through);
                self.coverage.sometimes(Situation::TableWritten);
            }
            Feedback::Fetched { blocks, .. } if blocks.len() > 1 => {
                self.coverage.sometimes(Situation::RunFetched);
            }
            Feedback::Fetched { .. } => self.coverage.sometimes(Situation::BlockFetched),
            Feedback::TableGone { .. } => self.coverage.sometimes(Situation::TableGone),
            Feedback::TablesReplaced { .. } => self.coverage.sometimes(Situation::TablesMerged),
            Feedback::Saved { slot: SlotName::Copies } => self.see_copies_saved(n, actor - FIRST_SHARD, true),
            Feedback::FetchFailed { .. } | Feedback::GroupDamaged { .. } | Feedback::DiskFailed => {
                if self.nodes[n].disk.is_damaged() {
                    self.coverage.sometimes(Situation::DamageMet);
                }
            }
            Feedback::Wiped { .. } => self.coverage.sometimes(Situation::GroupWiped),
            Feedback::RecoveredTables { .. }
            | Feedback::Saved { slot: SlotName::Ring | SlotName::Incarnation | SlotName::Peers }
            | Feedback::Loaded { .. }
            | Feedback::Merged { .. } => {}
        }
    }

    /// A shard is read back; its log goes on at `next`.
    fn remember(&mut self, n: usize, shard: usize, next: Lsn) {
        let number = u32::try_from(shard).expect("few shards");
        let flushed = self.nodes[n].disk.flushed(number);
        self.nodes[n].unwritten[shard].begin_anew();
        self.truth.copies[n].read_back_to(number, next);
        self.truth.copies[n].found_in_tables(number, flushed);
        for slot in 0..self.truth.slots.len() {
            if self.truth.slots[slot].shard(SHARDS) == shard {
                let result = synced_is_read_back::check(next, self.truth.copies[n].position(slot));
                self.judge(Invariant::SyncedIsReadBack, result);
                self.truth.copies[n].remember(slot);
            }
        }
    }

    /// An actor that knows that its disk has failed has taken a step.
    pub(super) fn see_disk_failed(&mut self, n: usize, actor: usize) {
        let node = &self.nodes[n];
        if let Some(Actor::Replica(_)) = &node.cells[actor].actor {
            let shard = u32::try_from(actor - FIRST_SHARD).expect("few shards");
            let result = failed_disks_stop_shards::check_told(node.serving.get(&shard).copied());
            self.judge(Invariant::FailedDisksStopShards, result);
        }
    }

    /// What an actor holds after a step.
    pub(super) fn see_queues(&mut self, n: usize, actor: usize) {
        let node = &self.nodes[n];
        let (cell, bounds) = (&node.cells[actor], &node.bounds);
        let mailbox = queues_are_bounded::check("a mailbox", cell.queued, MAILBOX_MAX);
        let result = match &cell.actor {
            Some(Actor::Coordinator(machine)) => mailbox.and_then(|()| {
                queues_are_bounded::check("a coordinator's operations", machine.inflight(), bounds.inflight)
            }),
            Some(Actor::Replica(machine)) => mailbox.and_then(|()| {
                let memtables = bounds.memtables(self.largest_state);
                queues_are_bounded::check(
                    "a shard's waiting",
                    machine.waiting(),
                    bounds.replica.pending_max,
                )?;
                queues_are_bounded::check("a shard's memtables", machine.memtable_bytes(), memtables)
            }),
            Some(Actor::Membership(_) | Actor::Compactor(_)) | None => mailbox,
        };
        self.judge(Invariant::QueuesAreBounded, result);
    }

    /// What waits for a node's disk.
    pub(super) fn see_disk_queue(&mut self, n: usize) {
        let node = &self.nodes[n];
        let result = queues_are_bounded::check("a disk's queue", node.disk.queued(), node.bounds.disk());
        self.judge(Invariant::QueuesAreBounded, result);
    }

    /// A node's actors are told something.
    pub(super) fn see_fact(&mut self, n: usize, fact: &Fact) {
        self.tell(|| Seen::Learnt { node: n, fact: fact.clone() });
        match fact {
            Fact::PeersChanged(peers) => {
                if peers.values().any(|peer| peer.state == PeerState::Dead) {
                    self.coverage.sometimes(Situation::PeerDead);
                }
                let at = self.now();
                self.journal.line(at, || {
                    let seen = peers.iter().map(|(id, peer)| {
                        format!("{} {} {}", id.short(), peer.state.name(), peer.incarnation)
                    });
                    format!("node {n} believes {:?}", seen.collect::<Vec<_>>())
                });
                self.nodes[n].view = Some(peers.clone());
            }
            Fact::ShardChanged { shard, serving } => {
                let at = self.now();
                self.journal.line(at, || format!("node {n} shard {shard} serves: {serving}"));
                self.nodes[n].serving.insert(*shard, *serving);
                if *serving {
                    self.see_leaves(n, *shard);
                }
            }
            Fact::CopiesChanged { shard, copies } => self.follow_copies(n, *shard, copies),
            Fact::FolderJudged(trust) => self.follow_folder(n, *trust),
            Fact::RingAdopted(_)
            | Fact::TablesChanged { .. }
            | Fact::RoomChanged(_)
            | Fact::LogGrown { .. }
            | Fact::PeerSeen { .. } => {}
        }
    }

    /// An actor says something.
    pub(super) fn see_send(&mut self, n: usize, actor: usize, envelope: &Envelope) {
        if std::mem::take(&mut self.repairing)
            && let Body::Replicate(ReplicaRequest::StoreState { place, key, .. }) = &envelope.body
        {
            self.cover_repair(place.keyspace, key);
        }
        self.see_copy_said(n, envelope);
        if actor == COORDINATOR {
            self.see_coordinator(n, envelope);
        }
        if envelope.op.life == STRAY_LIFE {
            self.judge(Invariant::StraysAreRefused, strays_are_refused::check(envelope));
        }
        if self.nodes[n].cells[actor].disk_failed && envelope.from.role == Role::Replica {
            let result = failed_disks_stop_shards::check_said(envelope);
            self.judge(Invariant::FailedDisksStopShards, result);
        }
        self.see_old_said(n, envelope);
        if actor != MEMBERSHIP || envelope.to.role != Role::Membership {
            return;
        }
        let result = steps_grow::check(self.nodes[n].step_said, envelope.step);
        self.judge(Invariant::StepsGrow, result);
        self.nodes[n].step_said = envelope.step;
        let rumours: &[Rumour] = match &envelope.body {
            Body::Gossip(
                Gossip::Probe { rumours, .. }
                | Gossip::ProbeAck { rumours, .. }
                | Gossip::ProbeFor { rumours, .. }
                | Gossip::ProbeForAck { rumours, .. }
                | Gossip::PushPull { rumours }
                | Gossip::PushPullReply { rumours },
            ) => rumours,
            _ => &[],
        };
        let me = self.nodes[n].id();
        if let Some(own) = rumours.iter().find(|rumour| rumour.node == me) {
            let (before, boot) = (self.nodes[n].said, self.nodes[n].boot);
            let now = Said { boot, incarnation: own.incarnation };
            if before.boot == boot && now.incarnation > before.incarnation {
                self.coverage.sometimes(Situation::Refuted);
            }
            let result = incarnations_grow::check(before, now);
            self.judge(Invariant::IncarnationsGrow, result);
            self.nodes[n].said = now;
        }
    }

    fn cover_repair(&mut self, keyspace: KeyspaceId, key: &Key) {
        let slots = &self.truth.slots;
        let Some(slot) = slots.iter().position(|slot| slot.keyspace == keyspace && slot.key == *key) else {
            return;
        };
        if slots[slot].strict {
            self.coverage.sometimes(Situation::StrictRepair);
        }
        let writes = |client: &Client| {
            client
                .current
                .as_ref()
                .is_some_and(|operation| operation.write.is_some() && operation.wish.slot == slot)
        };
        if self.clients.iter().any(writes) {
            self.coverage.sometimes(Situation::RepairRacesWrite);
        }
    }

    /// A machine counts something.
    pub(super) fn see_count(&mut self, count: &Count) {
        match count {
            Count::RetryKnown => self.coverage.sometimes(Situation::RetryKnown),
            Count::ReadRepair => {
                self.coverage.sometimes(Situation::ReadRepair);
                self.repairing = true;
            }
            _ => {}
        }
    }
}
