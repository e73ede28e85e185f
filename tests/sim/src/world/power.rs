//! Processes start, and end at once.

use super::World;
use super::cell::Mail;
use super::node::MEMBERSHIP;
use super::route::OPERATOR;
use crate::coverage::Situation;
use crate::disk::Stays;
use crate::invariants::damage_is_noticed;
use crate::schedule::{MS, SECOND};
use crate::verdicts::Invariant;
use crate::world::Job;
use anser_proto::admin::AdminRequest;
use anser_proto::{Address, Body, Envelope, OpId, Role};
use anser_storage::store::StoreError;

/// How soon a supervisor starts a process again that could not start.
const RETRY_US: u64 = 300 * MS;

impl World {
    /// A node's process starts: its store is opened, its actors are built.
    pub(super) fn start(&mut self, n: usize) {
        if self.nodes[n].up {
            return;
        }
        let at = self.schedule.now();
        if at < self.nodes[n].away_until {
            return self.start_after(n, self.nodes[n].away_until - at);
        }
        self.journal.line(at, || format!("node {n} starts"));
        let opened = self.nodes[n].disk.open();
        self.judge_damage(n);
        if let Err(error) = opened {
            return self.cannot_start(n, &error);
        }
        self.judge(Invariant::StoreOpensAgain, Ok(()));
        self.nodes[n].begin(at);
        for actor in 0..self.nodes[n].cells.len() {
            self.build(n, actor);
        }
        if self.founded[n] {
            self.dial_seeds(n);
        } else {
            self.found(n);
        }
    }

    /// A node's store does not open. Where there is no room the supervisor tries again; what is damaged is set aside, and
    /// the node starts with an empty folder.
    fn cannot_start(&mut self, n: usize, error: &StoreError) {
        let at = self.schedule.now();
        self.journal.line(at, || format!("node {n} can't start: {error}"));
        match error {
            StoreError::Failed(_) if !self.nodes[n].disk.has_room() => {
                self.coverage.sometimes(Situation::StartedFull);
                self.start_after(n, RETRY_US);
            }
            StoreError::Damaged(_) if self.nodes[n].disk.is_damaged() => {
                self.coverage.sometimes(Situation::SetAside);
                self.lose_folder(n);
                self.start_after(n, MS);
            }
            StoreError::Failed(_) | StoreError::Damaged(_) => {
                self.judge(Invariant::StoreOpensAgain, Err(format!("node {n}: {error}")));
            }
        }
    }

    /// A disk has read: what is damaged must not be taken for good.
    pub(super) fn judge_damage(&mut self, n: usize) {
        let (reads, misread) = self.nodes[n].disk.take_reads_of_damaged();
        if reads > 0 {
            self.judge(Invariant::DamageIsNoticed, damage_is_noticed::check(misread));
        }
    }

    /// Plans the start of a node that is down.
    pub fn start_after(&mut self, n: usize, us: u64) {
        let boot = self.nodes[n].boot;
        self.schedule.after(us, Job::Start { node: n, boot });
    }

    /// A node's process ends at once. Of what was not synced a first part stays, or none, or all.
    pub fn kill(&mut self, n: usize, power_loss: bool) {
        if !self.nodes[n].up {
            return;
        }
        // A process that is killed alone leaves to the system what it has written.
        let all = !power_loss && self.nodes[n].dice.chance(250_000);
        self.kill_leaving(n, if all { Stays::All } else { Stays::Drawn });
    }

    /// A node's process ends at once. Of what was not synced this stays.
    pub fn kill_leaving(&mut self, n: usize, stays: Stays) {
        if !self.nodes[n].up {
            return;
        }
        let at = self.schedule.now();
        if self.is_refilling(n) {
            self.coverage.sometimes(Situation::CrashAtRefill);
        }
        let node = &mut self.nodes[n];
        node.up = false;
        node.paused = false;
        node.held.clear();
        node.boot += 1;
        let unsynced = node.disk.unsynced();
        let kept = node.disk.crash(stays);
        let (writing, merging) = (node.disk.is_writing_table(), node.disk.is_merging());
        node.cells.clear();
        self.forget_mints(n);
        self.truth.copies[n].crash();
        if unsynced > 0 {
            self.coverage.sometimes(Situation::CrashBeforeSync);
        }
        if kept > 0 && kept < unsynced {
            self.coverage.sometimes(Situation::TornWrite);
        }
        if merging {
            self.coverage.sometimes(Situation::CrashAtMerge);
        }
        if writing {
            self.coverage.sometimes(Situation::CrashAtTable);
        }
        self.journal.line(at, || format!("node {n} ends, {kept} of {unsynced} unsynced changes stay"));
        self.clients_lose(n);
    }

    /// The operator founds the cluster at a node; asked again until it is done.
    fn found(&mut self, n: usize) {
        let addresses = self.nodes.iter().map(|node| (node.id(), node.address)).collect();
        let request = AdminRequest::FoundCluster { record: self.truth.record.encode(), addresses };
        let node = &self.nodes[n];
        let envelope = Envelope {
            from: Address { node: node.id(), role: Role::Session, slot: OPERATOR },
            to: Address { node: node.id(), role: Role::Membership, slot: 0 },
            op: OpId { life: 0, seq: 1 },
            step: anser_model::Step(0),
            deadline: node.tick(self.schedule.now() + 10 * SECOND),
            body: Body::Admin(request),
        };
        // By then the slots are read, unless the disk is very slow: a node that is not founded is asked again at its next start.
        let at = self.schedule.now() + SECOND;
        self.post_at(n, MEMBERSHIP, at, Mail::Message(Box::new(envelope)));
    }
}
