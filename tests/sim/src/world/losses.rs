//! Copies that lose what they held, and are refilled: the truth follows what the machines say of themselves.

use super::World;
use super::cell::{Actor, Mail};
use super::node::{MEMBERSHIP, SHARDS};
use crate::coverage::Situation;
use crate::dice::Dice;
use crate::disk::{Disk, FIRST_SHARD};
use crate::invariants::incarnations_grow::Said;
use crate::invariants::{joining_copies_are_silent, refilled_copies_know};
use crate::schedule::{MS, SECOND};
use crate::truth::{Folder, Loss};
use crate::verdicts::Invariant;
use crate::world::{Job, SYNC_US};
use anser_machine::{CopiesSummary, Fact};
use anser_model::{FolderId, PartitionId, Step};
use anser_proto::replicate::ReplicaReply;
use anser_proto::{Body, Envelope, Role};
use anser_storage::{StoreKey, group_of};
use bytes::Bytes;
use std::sync::Arc;

/// In a million, losses of a partition after which the process ends soon.
const CRASH_AT_LOSS: u64 = 60_000;
/// How often a node that knows nobody dials its seeds.
const SEEDS_US: u64 = SECOND;

impl World {
    /// A node gets an empty folder in place of its own, as of the next start: it takes its seat with it, and is refilled.
    pub fn lose_folder(&mut self, n: usize) {
        self.truth.lose_folder(n);
        self.truth.folders[n] = Folder::Whole;
        let seed = self.nodes[n].dice.u64();
        let node = &mut self.nodes[n];
        node.entry.member.folder = FolderId(node.dice.u128().to_le_bytes());
        node.disk = Disk::create(Dice::new(seed, "disk"), node.disk.health);
        node.put_back = false;
        (node.step_said, node.said) = (Step(0), Said::default());
        self.journal.line(self.schedule.now(), || format!("node {n} has an empty folder"));
    }

    /// A node that knows nobody dials the others.
    pub(super) fn dial_seeds(&mut self, n: usize) {
        let knows_nobody = self.nodes[n].view.as_ref().is_none_or(|view| view.is_empty());
        if !self.nodes[n].up || !knows_nobody {
            return;
        }
        for other in 0..self.nodes.len() {
            let reachable = !self.network.is_cut(n, other) && !self.network.is_cut(other, n);
            if other != n && self.nodes[other].up && reachable {
                let (node, address) = (self.nodes[other].id(), self.nodes[other].address);
                self.post(n, MEMBERSHIP, Mail::Fact(Fact::PeerSeen { node, address }));
            }
        }
        let boot = self.nodes[n].boot;
        self.schedule.after(SEEDS_US, Job::Seeds { node: n, boot });
    }

    /// A shard tells how its copies are.
    pub(super) fn follow_copies(&mut self, n: usize, shard: u32, copies: &Arc<CopiesSummary>) {
        let before = self.nodes[n].copies.insert(shard, copies.clone());
        if before.is_none() {
            self.undo_losses(n, shard, copies);
        }
        let losses = |copies: &CopiesSummary, partition: PartitionId| {
            copies.losses.get(&group_of(partition)).copied().unwrap_or(0)
        };
        for partition in &copies.joining {
            let known = before.as_ref().map_or(0, |before| losses(before, *partition));
            if losses(copies, *partition) > known || !self.truth.lost[n].contains_key(partition) {
                self.see_loss(n, shard, *partition);
            }
        }
        let of_shard = |partition: &PartitionId| u32::from(partition.0) % SHARDS == shard;
        let refilled: Vec<PartitionId> = self.truth.lost[n]
            .keys()
            .copied()
            .filter(|partition| of_shard(partition) && !copies.joining.contains(partition))
            .collect();
        for partition in refilled {
            self.see_refilled(n, partition);
        }
    }

    /// A shard's machine is new: losses that were not durable by then are none. (Of those that were, it says that they are not
    /// over yet.)
    fn undo_losses(&mut self, n: usize, shard: u32, copies: &CopiesSummary) {
        let is_undone = |partition: PartitionId, loss: Loss| {
            let of_shard = u32::from(partition.0) % SHARDS == shard;
            of_shard && loss.saves > 0 && !copies.losses.contains_key(&group_of(partition))
        };
        let lost = &self.truth.lost[n];
        let undone: Vec<PartitionId> = lost
            .iter()
            .filter(|(partition, loss)| is_undone(**partition, **loss))
            .map(|(partition, _)| *partition)
            .collect();
        let flushed = self.nodes[n].disk.flushed(shard);
        for partition in undone {
            self.truth.find_again(n, partition, copies.joining.contains(&partition), flushed);
        }
    }

    fn see_loss(&mut self, n: usize, shard: u32, partition: PartitionId) {
        let at = self.now();
        self.journal.line(at, || format!("node {n} lost partition {}", partition.0));
        self.coverage.sometimes(Situation::GroupLost);
        let saves = self.nodes[n].saves[shard as usize];
        let saves = if saves.begun > saves.done { saves.begun } else { 0 };
        let machine = match &self.nodes[n].cells[FIRST_SHARD + shard as usize].actor {
            Some(Actor::Replica(machine)) => machine,
            _ => return,
        };
        let left = |key: &Bytes| machine.remembered(&StoreKey::parse(key.clone())?);
        let has_read_log = self.nodes[n].serving.get(&shard) == Some(&true);
        self.truth.lose(n, partition, shard, saves, if has_read_log { Some(&left) } else { None });
        self.crash_soon(n);
    }

    /// What is done about a loss takes several steps, and a crash must be harmless between any two.
    fn crash_soon(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if node.dice.chance(CRASH_AT_LOSS) {
            let us = node.dice.wait(SYNC_US);
            self.schedule.after(us, Job::Stop { node: n, us: 50 * MS });
        }
    }

    fn see_refilled(&mut self, n: usize, partition: PartitionId) {
        let at = self.now();
        self.journal.line(at, || format!("node {n} has refilled partition {}", partition.0));
        self.coverage.sometimes(Situation::Refilled);
        let unknown = self.truth.refilled(n, partition);
        let result = refilled_copies_know::check(&self.truth, &unknown);
        self.judge(Invariant::RefilledCopiesKnow, result);
    }

    /// A shard's cell of copies is being saved, or is.
    pub(super) fn see_copies_saved(&mut self, n: usize, shard: usize, done: bool) {
        let saves = &mut self.nodes[n].saves[shard];
        if !done {
            saves.begun += 1;
            return;
        }
        saves.done += 1;
        let done = saves.done;
        for (partition, loss) in &mut self.truth.lost[n] {
            if u32::from(partition.0) % SHARDS == shard as u32 && loss.saves <= done {
                loss.saves = 0;
            }
        }
    }

    /// A copy says something.
    pub(super) fn see_copy_said(&mut self, n: usize, envelope: &Envelope) {
        let Ok(partition) = u16::try_from(envelope.from.slot).map(PartitionId) else { return };
        if envelope.from.role == Role::Replica && self.truth.lost[n].contains_key(&partition) {
            if envelope.to.role == Role::Coordinator
                && envelope.body == Body::Replicated(ReplicaReply::Durable)
            {
                self.coverage.sometimes(Situation::WriteAtRefill);
            }
            let result = joining_copies_are_silent::check(envelope);
            self.judge(Invariant::JoiningCopiesAreSilent, result);
        }
    }

    /// What was damaged may be whole by now: all of it was dropped, and what was lost by that is refilled.
    pub fn settle_folders(&mut self) {
        let now = self.now();
        for n in 0..self.nodes.len() {
            let node = &self.nodes[n];
            let sound =
                now >= node.unsound_until && !node.disk.has_damage() && node.disk.health.bad_blocks == 0;
            if self.truth.folders[n] == Folder::Damaged && sound && node.up && !node.disk.has_failed() {
                self.truth.folders[n] = Folder::Whole;
            }
        }
    }

    /// Whether a process ends while some of its copies are being refilled.
    pub(super) fn is_refilling(&self, n: usize) -> bool {
        self.nodes[n].up && !self.truth.lost[n].is_empty()
    }

    /// The copies that don't answer, for people.
    pub fn not_refilled(&self) -> String {
        let said = |n: usize| {
            let joining = self.nodes[n].copies.iter().map(|(shard, copies)| (*shard, &copies.joining));
            format!("node {n} says {:?}, lost {:?}", joining.collect::<Vec<_>>(), self.truth.lost[n].keys())
        };
        (0..self.nodes.len()).map(said).collect::<Vec<_>>().join("; ")
    }

    /// Whether all copies of all nodes answer.
    pub fn all_are_refilled(&self) -> bool {
        let full = |n: usize| {
            let copies = &self.nodes[n].copies;
            copies.len() == SHARDS as usize && copies.values().all(|copies| copies.joining.is_empty())
        };
        (0..self.nodes.len()).all(full) && self.truth.lost.iter().all(|lost| lost.is_empty())
    }
}
