//! Faults: what can go wrong, when it does, and how it ends.
//!
//! Each occurrence has a number and dice of its own, so that a run can leave some out and the others stay as they were.

mod kind;

use crate::coverage::{Injected, Situation};
use crate::dice::Dice;
use crate::disk::{FIRST_SHARD, Room};
use crate::schedule::{MS, SECOND};
use crate::truth::Folder;
use crate::world::aim::Aim;
use crate::world::cell::Mail;
use crate::world::node::SHARDS;
use crate::world::old_copies::OldCopy;
use crate::world::{Job, SYNC_US, World};
use anser_machine::Feedback;
pub(crate) use kind::Kind;
use std::collections::BTreeMap;

/// How long a long partition lasts on average, and the rarest, longest ones.
const LONG_US: u64 = 25 * SECOND;
const HALF_HOUR_US: u64 = 1800 * SECOND;
/// How long a node is away at least that is away for long.
const AWAY_US: u64 = 100 * SECOND;
/// So long after blocks can be read again, losses may come of those that could not.
const UNSOUND_US: u64 = SECOND;
/// In a million, long partitions that last half an hour.
const HALF_HOUR: u64 = 5_000;

/// How a fault ends.
#[derive(Clone, Debug)]
pub(crate) enum Undo {
    Cuts(Vec<(usize, usize)>),
    Grey(usize),
    Pause(usize),
    Disk(usize),
    Room(usize),
    Restart(usize),
    Clock(usize),
    Storm,
}

/// The faults of a run.
#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    /// How many occurred.
    pub occurred: u64,
    /// Those that last, by number.
    pub active: BTreeMap<u64, Undo>,
    activated: u64,
    /// Whether no more begin.
    pub over: bool,
    /// Until when processes are left running, so that one may be refilled without beginning anew.
    spared_until: u64,
    /// A write at which a copy is to lose what it holds.
    pub aim: Option<Aim>,
}

impl Faults {
    /// None yet.
    pub fn new(seed: u64) -> Faults {
        Faults {
            seed,
            occurred: 0,
            active: BTreeMap::new(),
            activated: 0,
            over: false,
            spared_until: 0,
            aim: None,
        }
    }

    /// A fault lasts.
    pub fn activate(&mut self, undo: Undo) -> u64 {
        self.activated += 1;
        self.active.insert(self.activated, undo);
        self.activated
    }
}

impl World {
    /// Plans the first fault of each kind.
    pub fn plan_faults(&mut self) {
        for which in 0..self.profile.faults.len() {
            let us = Dice::new(self.seed, &format!("first-{which}")).wait(self.profile.faults[which].1 * MS);
            self.schedule.after(us, Job::Fault(which));
        }
    }

    /// The next fault of a kind begins, and the one after it is planned.
    pub(crate) fn next_fault(&mut self, which: usize) {
        if self.faults.over {
            return;
        }
        let number = self.faults.occurred;
        self.faults.occurred += 1;
        let mut dice = Dice::new(self.faults.seed, &format!("fault-{number}"));
        let (kind, mean_ms) = self.profile.faults[which];
        self.schedule.after(dice.wait(mean_ms * MS), Job::Fault(which));
        let at = self.now();
        let is_spared = kind.ends_any() && at < self.faults.spared_until;
        if !is_spared && !self.options.skip.contains(&number) {
            self.journal.line(at, || format!("fault {number}: {kind:?}"));
            self.inject(kind, &mut dice);
        }
    }

    fn inject(&mut self, kind: Kind, dice: &mut Dice) {
        let n = dice.index(self.nodes.len());
        match kind {
            Kind::Crash => {
                self.coverage.inject(Injected::Crash);
                self.kill(n, false);
                self.start_after(n, 10 * MS + dice.wait(1500 * MS));
            }
            Kind::LongCrash => self.end_for_long(dice),
            Kind::PowerLoss => {
                self.coverage.inject(Injected::PowerLoss);
                for n in 0..self.nodes.len() {
                    self.kill(n, true);
                    self.start_after(n, 10 * MS + dice.wait(500 * MS));
                }
            }
            Kind::Partition | Kind::LongPartition | Kind::OneWay | Kind::ClientCut => self.cut(kind, n, dice),
            Kind::Grey => {
                self.coverage.inject(Injected::Grey);
                self.nodes[n].grey_us = dice.between(100, 30_000);
                self.undo_after(dice.wait(2 * SECOND), Undo::Grey(n));
            }
            Kind::Pause if self.nodes[n].up => {
                self.coverage.inject(Injected::Pause);
                self.nodes[n].paused = true;
                self.undo_after(dice.wait(1500 * MS), Undo::Pause(n));
            }
            Kind::Panic if self.nodes[n].up => {
                let actor = dice.index(self.nodes[n].cells.len());
                self.nodes[n].cells[actor].panics = true;
            }
            Kind::Stray if self.nodes[n].up => {
                self.coverage.inject(Injected::Stray);
                self.stray(n, dice);
            }
            Kind::Pause | Kind::Panic | Kind::Stray => {}
            Kind::Poison => {
                self.coverage.inject(Injected::Poison);
                for cell in self.nodes.iter_mut().flat_map(|node| &mut node.cells) {
                    cell.panics |= dice.chance(500_000);
                }
            }
            Kind::SlowDisk | Kind::DiskFailure | Kind::BadBlocks | Kind::BadTable | Kind::FullDisk => {
                self.harm_disk(kind, n, dice);
            }
            Kind::ClockJump => {
                self.coverage.inject(Injected::ClockJump);
                self.nodes[n].wall_offset_ms = i64::try_from(dice.below(10_000)).unwrap_or(0) - 5_000;
                self.undo_after(dice.wait(3 * SECOND), Undo::Clock(n));
            }
            Kind::Storm => {
                self.coverage.inject(Injected::Storm);
                (self.network.loss, self.network.late) = (dice.between(50_000, 400_000), 200_000);
                self.undo_after(dice.wait(SECOND), Undo::Storm);
            }
            Kind::LostFolder | Kind::OldCopy | Kind::FlippedBits => self.spoil(kind, n, dice),
            Kind::Swizzle => self.swizzle(dice),
            Kind::LossAtWrite => self.take_aim(n, dice),
        }
    }

    fn harm_disk(&mut self, kind: Kind, n: usize, dice: &mut Dice) {
        match kind {
            Kind::SlowDisk => {
                self.coverage.inject(Injected::SlowDisk);
                self.nodes[n].disk.health.sync_us = dice.between(5, 250) * MS;
                self.undo_after(dice.wait(2 * SECOND), Undo::Disk(n));
            }
            Kind::DiskFailure => {
                self.coverage.inject(Injected::DiskFailure);
                self.nodes[n].disk.health.fails = true;
                self.undo_after(dice.wait(2 * SECOND), Undo::Restart(n));
            }
            Kind::BadBlocks => {
                self.settle_folders();
                if self.truth.may_lose_any() {
                    self.coverage.inject(Injected::BadBlocks);
                    self.truth.folders[n] = Folder::Damaged;
                    self.nodes[n].disk.health.bad_blocks = 300_000;
                    self.undo_after(dice.wait(SECOND), Undo::Restart(n));
                    // A disk that reads badly is slow too, and more comes between two steps.
                    if dice.chance(400_000) {
                        self.nodes[n].disk.health.sync_us = dice.between(2, 40) * MS;
                        self.undo_after(dice.wait(SECOND), Undo::Disk(n));
                    }
                }
            }
            Kind::BadTable if self.nodes[n].up => self.find_bad_table(n, dice),
            Kind::BadTable => {}
            _ => self.fill_disk(n, dice),
        }
    }

    /// A node is away for long while another that lost its folder would be refilled from it, and a third, which would do
    /// instead, was cut off until then.
    fn end_for_long(&mut self, dice: &mut Dice) {
        self.coverage.inject(Injected::LongCrash);
        // Of a key that is written, if there is one that is written more than others.
        let slot = self.clients[0].hot.unwrap_or_else(|| dice.index(self.truth.slots.len()));
        let mut nodes = self.truth.slots[slot].nodes.clone();
        dice.shuffle(&mut nodes);
        let lag_us = dice.between(300, 1500) * MS;
        if let Some(late) = nodes.get(2) {
            let cuts: Vec<(usize, usize)> =
                (0..self.nodes.len()).filter(|n| n != late).flat_map(|n| [(n, *late), (*late, n)]).collect();
            cuts.iter().for_each(|(from, to)| self.network.cut(*from, *to, true));
            self.undo_after(lag_us, Undo::Cuts(cuts));
        }
        let us = AWAY_US + dice.wait(AWAY_US / 8);
        let lost = nodes.get(1).copied().filter(|_| dice.chance(800_000));
        self.suffer_until = self.suffer_until.max(self.now() + lag_us + us + 5 * SECOND);
        self.schedule.after(lag_us - 1, Job::Away { node: nodes[0], us, lost });
    }

    /// A node is away for so long; and perhaps another loses its folder at the same time.
    pub(crate) fn go_away(&mut self, n: usize, us: u64, lost: Option<usize>) {
        if self.faults.over {
            return;
        }
        self.kill(n, false);
        self.nodes[n].away_until = self.now() + us;
        self.start_after(n, us);
        if let Some(lost) = lost {
            self.faults.spared_until = self.now() + us;
            let mut dice = Dice::new(self.seed ^ self.now(), "away");
            self.spoil(Kind::LostFolder, lost, &mut dice);
        }
    }

    /// A shard is told that a table of some group can't be trusted.
    fn find_bad_table(&mut self, n: usize, dice: &mut Dice) {
        self.settle_folders();
        let shard = u32::try_from(dice.below(u64::from(SHARDS))).expect("few shards");
        let actor = FIRST_SHARD + shard as usize;
        let groups = self.nodes[n].disk.groups(shard);
        // Who would hear of it later might lose what another has lost by then.
        let hears_late = self.nodes[n].paused || self.nodes[n].grey_us > 0;
        if groups.is_empty() || hears_late || !self.truth.may_lose_any() {
            return;
        }
        self.coverage.inject(Injected::BadTable);
        let group = groups[dice.index(groups.len())];
        let life = self.nodes[n].cells[actor].life;
        self.post(n, actor, Mail::Feedback(life, Box::new(Feedback::GroupDamaged { group })));
        // The only copy stops by it, and is started again.
        self.undo_after(dice.wait(SECOND), Undo::Restart(n));
    }

    /// A disk takes a few keys more, or no sync.
    fn fill_disk(&mut self, n: usize, dice: &mut Dice) {
        self.coverage.inject(Injected::FullDisk);
        let few = u32::try_from(dice.below(4)).unwrap_or(0);
        let room = if dice.chance(500_000) { Room::Keys(few) } else { Room::NoSync };
        self.nodes[n].disk.set_room(room);
        self.undo_after(dice.wait(2 * SECOND), Undo::Room(n));
    }

    /// A node loses some of what it holds, or all. One of each key's replicas at a time, until it is refilled.
    fn spoil(&mut self, kind: Kind, n: usize, dice: &mut Dice) {
        self.settle_folders();
        if !self.truth.may_lose_any() {
            return;
        }
        match kind {
            Kind::LostFolder => {
                self.coverage.inject(Injected::LostFolder);
                self.kill(n, true);
                self.lose_folder(n);
                self.start_after(n, 10 * MS + dice.wait(500 * MS));
            }
            Kind::FlippedBits => {
                let Some(what) = self.nodes[n].disk.damage() else { return };
                self.coverage.inject(Injected::FlippedBits);
                self.truth.folders[n] = Folder::Damaged;
                let at = self.now();
                self.journal.line(at, || format!("node {n}: damage in {what}"));
                // Some of it is met as it is read, the rest at the next start. What stops by it is started again.
                self.undo_after(SECOND + dice.wait(SECOND), Undo::Restart(n));
                if dice.chance(500_000) {
                    let us = dice.wait(SECOND);
                    self.schedule.after(us, Job::Stop { node: n, us: 50 * MS });
                }
            }
            _ => {
                self.coverage.inject(Injected::OldCopy);
                self.truth.folders[n] = Folder::Copied;
                let copies = &self.truth.copies[n];
                let (records, backup) = (copies.records(), copies.back_up());
                let backup = Box::new(OldCopy { image: self.nodes[n].disk.image(), backup, records });
                self.schedule.after(dice.wait(4 * SECOND), Job::PutBack { node: n, backup, tries: 0 });
            }
        }
    }

    /// Some processes end one by one, and start again in another order.
    fn swizzle(&mut self, dice: &mut Dice) {
        self.coverage.inject(Injected::Swizzle);
        let mut nodes: Vec<usize> = (0..self.nodes.len()).filter(|_| dice.chance(600_000)).collect();
        dice.shuffle(&mut nodes);
        let gap_us = dice.between(20, 400) * MS;
        let mut starts: Vec<u64> = (0..nodes.len() as u64).map(|place| place * gap_us).collect();
        dice.shuffle(&mut starts);
        let all_stopped_us = nodes.len() as u64 * gap_us;
        for (place, (node, start_us)) in nodes.into_iter().zip(starts).enumerate() {
            let stop_us = place as u64 * gap_us;
            let us = all_stopped_us + start_us - stop_us;
            self.schedule.after(stop_us, Job::Stop { node, us });
        }
    }

    /// A process ends, and starts again after a while.
    pub(crate) fn stop_for(&mut self, n: usize, us: u64) {
        if !self.faults.over && self.nodes[n].up {
            self.kill(n, false);
            self.start_after(n, us);
        }
    }

    fn cut(&mut self, kind: Kind, n: usize, dice: &mut Dice) {
        let nodes = self.nodes.len();
        let mut cuts = Vec::new();
        let mut lasts_us = dice.wait(2 * SECOND);
        match kind {
            Kind::Partition | Kind::LongPartition => {
                let long = kind == Kind::LongPartition;
                self.coverage.inject(if long { Injected::LongPartition } else { Injected::Partition });
                if long {
                    lasts_us = if dice.chance(HALF_HOUR) {
                        HALF_HOUR_US
                    } else {
                        LONG_US / 2 + dice.wait(LONG_US / 2)
                    };
                    // It heals while faults go on.
                    self.suffer_until = self.suffer_until.max(self.now() + lasts_us + 5 * SECOND);
                }
                // Sometimes clients reach both sides: they read on one, and write on the other.
                let ends = if dice.chance(400_000) { nodes } else { nodes + self.clients.len() };
                let sides: Vec<bool> = (0..ends).map(|_| dice.chance(500_000)).collect();
                for from in 0..sides.len() {
                    cuts.extend((0..sides.len()).filter(|to| sides[from] != sides[*to]).map(|to| (from, to)));
                }
            }
            Kind::OneWay => {
                self.coverage.inject(Injected::OneWay);
                cuts.push((n, dice.index(nodes)));
            }
            _ => {
                self.coverage.inject(Injected::ClientCut);
                let client = nodes + dice.index(self.clients.len());
                cuts.push((n, client));
                if dice.chance(400_000) {
                    cuts.push((client, n));
                }
            }
        }
        for (from, to) in &cuts {
            self.network.cut(*from, *to, true);
        }
        self.undo_after(lasts_us, Undo::Cuts(cuts));
    }

    /// A fault ends.
    pub(crate) fn undo(&mut self, undo: Undo) {
        let at = self.now();
        self.journal.line(at, || format!("ends: {undo:?}"));
        match undo {
            Undo::Cuts(cuts) => {
                for (from, to) in cuts {
                    self.network.cut(from, to, false);
                }
            }
            Undo::Grey(n) => self.nodes[n].grey_us = 0,
            Undo::Pause(n) => {
                self.nodes[n].paused = false;
                for job in std::mem::take(&mut self.nodes[n].held) {
                    self.schedule.after(0, job);
                }
            }
            Undo::Disk(n) => self.nodes[n].disk.health.sync_us = SYNC_US,
            Undo::Restart(n) => {
                self.nodes[n].disk.health.bad_blocks = 0;
                self.nodes[n].unsound_until = at + UNSOUND_US;
                self.nodes[n].disk.health.fails = false;
                self.restart_if_stopped(n);
            }
            Undo::Room(n) => {
                self.nodes[n].disk.set_room(Room::Plenty);
                if self.nodes[n].disk.has_failed() {
                    self.coverage.sometimes(Situation::StoppedFull);
                }
                self.restart_if_stopped(n);
            }
            Undo::Clock(n) => self.nodes[n].wall_offset_ms = 0,
            Undo::Storm => (self.network.loss, self.network.late) = (self.profile.loss, self.profile.late),
        }
    }

    /// The operator starts a node again of which a shard or the disk has stopped.
    pub(crate) fn restart_if_stopped(&mut self, n: usize) {
        let node = &self.nodes[n];
        let stopped = node.disk.has_failed() || node.serving.values().any(|serving| !serving);
        if node.up && stopped {
            self.kill(n, false);
            self.start_after(n, 100 * MS);
        }
    }

    /// All faults end.
    pub fn heal(&mut self) {
        (self.faults.over, self.faults.aim) = (true, None);
        for undo in std::mem::take(&mut self.faults.active).into_values() {
            self.undo(undo);
        }
        (self.network.loss, self.network.late) = (0, 0);
        for n in 0..self.nodes.len() {
            self.nodes[n].disk.set_room(Room::Plenty);
            (self.nodes[n].wall_offset_ms, self.nodes[n].away_until) = (0, 0);
            for cell in &mut self.nodes[n].cells {
                cell.panics = false;
            }
            if !self.nodes[n].up {
                self.start_after(n, MS);
            }
        }
    }
}
