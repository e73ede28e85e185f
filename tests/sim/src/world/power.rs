//! Processes start, and end at once.

use super::World;
use super::cell::Mail;
use super::node::MEMBERSHIP;
use super::route::OPERATOR;
use crate::coverage::Situation;
use crate::disk::Stays;
use crate::schedule::SECOND;
use crate::verdicts::Invariant;
use crate::world::Job;
use anser_proto::admin::AdminRequest;
use anser_proto::{Address, Body, Envelope, OpId, Role};

impl World {
    /// A node's process starts: its store is opened, its actors are built.
    pub(super) fn start(&mut self, n: usize) {
        if self.nodes[n].up {
            return;
        }
        let at = self.schedule.now();
        self.journal.line(at, || format!("node {n} starts"));
        let opened = self.nodes[n].disk.open().map_err(|error| format!("node {n}: {error}"));
        let fine = opened.is_ok();
        self.judge(Invariant::StoreOpensAgain, opened);
        if !fine {
            return;
        }
        self.nodes[n].begin(at);
        for actor in 0..self.nodes[n].cells.len() {
            self.build(n, actor);
        }
        if !self.founded[n] {
            self.found(n);
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
        let node = &mut self.nodes[n];
        node.up = false;
        node.paused = false;
        node.held.clear();
        node.boot += 1;
        let unsynced = node.disk.unsynced();
        let kept = node.disk.crash(stays);
        let (writing, merging) = (node.disk.is_writing_table(), node.disk.is_merging());
        node.cells.clear();
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
        let (at, boot) = (self.schedule.now() + SECOND, node.boot);
        let mail = Mail::Message(Box::new(envelope));
        self.schedule.at(at, Job::Mail { node: n, boot, actor: MEMBERSHIP, mail });
    }
}
