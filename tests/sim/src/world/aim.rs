//! An aimed loss: a copy loses what it holds while a write is under way that counts on it, of which the other replicas hear
//! late, or too late.
//!
//! That is where acknowledgements from before a loss must not count, and where a copy must be refilled from whoever may
//! hold such a write. It takes three things within milliseconds, so chance alone hardly ever brings it about. This waits for
//! a write, holds up what its coordinator sends, and strikes as soon as the write is in a table: what is still in memory is
//! not lost with tables.

use super::World;
use super::cell::Mail;
use super::network::Passage;
use super::node::SHARDS;
use crate::coverage::Injected;
use crate::dice::Dice;
use crate::disk::FIRST_SHARD;
use crate::faults::Undo;
use crate::schedule::{MS, SECOND};
use anser_machine::{Feedback, Lsn};
use anser_proto::replicate::ReplicaRequest;
use anser_proto::{Body, Envelope, Role};
use anser_storage::group_of;

/// Later than any operation lasts.
const TOO_LATE_US: u64 = 10 * SECOND;

/// What is aimed at: a write of this node's coordinator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    coordinator: usize,
    /// Whether its own copy loses the write; else a replica in another data centre does, which hears of it at once, and may
    /// be refilled without asking the coordinator's.
    own: bool,
    /// How late the others hear of it whose acknowledgements it needs.
    late_us: u64,
    shot: Option<Shot>,
}

/// A write that is under way.
#[derive(Clone, Copy, Debug)]
struct Shot {
    at: u64,
    slot: usize,
    /// How many others were sent it, and are late.
    sent: usize,
    /// Who is to lose it, and what that held durably before.
    loser: Option<(usize, Option<Lsn>)>,
}

impl World {
    /// Aims at the next write of a node's coordinator.
    pub(crate) fn take_aim(&mut self, coordinator: usize, dice: &mut Dice) {
        let now = self.now();
        let waits = |aim: &Aim| aim.shot.is_some_and(|shot| now <= shot.at + aim.late_us);
        if self.faults.aim.as_ref().is_some_and(waits) {
            return;
        }
        let (own, late_us) = (dice.chance(500_000), dice.between(100, 1500) * MS);
        self.faults.aim = Some(Aim { coordinator, own, late_us, shot: None });
    }

    /// What becomes of a message, if it is of the write that is aimed at.
    pub(super) fn aimed(&mut self, from: usize, to: usize, envelope: &Envelope, passage: Passage) -> Passage {
        let Some(mut aim) = self.faults.aim.filter(|aim| aim.coordinator == from) else { return passage };
        let Body::Replicate(ReplicaRequest::StoreState { place, key, .. }) = &envelope.body else {
            return passage;
        };
        let mut slots = self.truth.slots.iter();
        let slot = slots.position(|slot| slot.keyspace == place.keyspace && slot.key == *key);
        let Some(slot) = slot.filter(|_| envelope.from.role == Role::Coordinator) else { return passage };
        let (at, known) = (self.now(), &self.truth.slots[slot]);
        let shot = aim.shot.get_or_insert(Shot { at, slot, sent: 0, loser: None });
        // All of them are told at once.
        if (shot.at, shot.slot) != (at, slot) || known.interval {
            return passage;
        }
        let is_loser = shot.loser.is_none() && !aim.own && !self.network.are_near(from, to);
        if is_loser || (aim.own && shot.sent == 0) {
            let loser = if aim.own { from } else { to };
            shot.loser = Some((loser, self.truth.copies[loser].position(slot)));
        }
        // A majority takes half of all replicas beside the coordinator's own.
        let us =
            if shot.sent + usize::from(!aim.own) < known.nodes.len() / 2 { aim.late_us } else { TOO_LATE_US };
        shot.sent += usize::from(!is_loser);
        self.faults.aim = Some(aim);
        if is_loser { passage } else { Passage::Arrives { us, again_us: None, late: true } }
    }

    /// A node's disk has written a table: if the write that is aimed at is in it, its group is found damaged.
    pub(super) fn strike(&mut self, n: usize, shard: u32, through: Lsn) {
        let Some(Aim { late_us, shot: Some(shot), .. }) = self.faults.aim else { return };
        let slot = &self.truth.slots[shot.slot];
        let hits = shot.loser.is_some_and(|(loser, before)| {
            let durable = self.truth.copies[loser].position(shot.slot);
            let is_in_table = durable > before && durable <= Some(through);
            loser == n && slot.shard(SHARDS) == shard as usize && is_in_table
        });
        let is_late = self.now() > shot.at + late_us;
        if hits || is_late {
            self.faults.aim = None;
        }
        let group = group_of(slot.partition());
        self.settle_folders();
        // Who would hear of it later might lose what another has lost by then.
        let hears_late = self.nodes[n].paused || self.nodes[n].grey_us > 0;
        if !hits || is_late || hears_late || self.faults.over || !self.truth.may_lose_any() {
            return;
        }
        self.coverage.inject(Injected::LossAtWrite);
        let at = self.now();
        self.journal.line(at, || format!("node {n} is to lose key {} at a write", shot.slot));
        let actor = FIRST_SHARD + shard as usize;
        let life = self.nodes[n].cells[actor].life;
        self.post(n, actor, Mail::Feedback(life, Box::new(Feedback::GroupDamaged { group })));
        self.undo_after(SECOND, Undo::Restart(n));
    }
}
