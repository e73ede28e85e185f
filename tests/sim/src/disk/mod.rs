//! A node's disk: the store's own logic over [`SimTrees`], with time, crashes and failures added.
//!
//! It answers [`DiskRequest`]s as a node's disk does: what arrives while a sync runs is the next group; tables are written
//! one at a time beside it. Keeps: nothing is answered durable before its sync (unless it was told to lie).

mod tables;
mod trees;

use crate::dice::Dice;
use anser_machine::{DiskRequest, Feedback, Lsn, SlotName};
use anser_storage::store::cell::{Cell, Stale};
use anser_storage::store::{Manifest, Part, Segments, StoreError, TreeName, Trees, log, recovery};
use std::collections::{BTreeMap, VecDeque};
use tables::TableJob;
pub(crate) use trees::SimTrees;

/// Most requests of one group.
const GROUP_MAX: usize = 256;

/// Who asked: the actor's place among its node's, and its life.
pub(crate) type Origin = (usize, u32);

/// Something that the disk is busy with, and that ends after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The group's sync.
    Commit,
    /// A step of the work on tables.
    Tables,
    /// The first of the blocks that are read.
    Fetch,
}

/// What follows from a request or the end of a turn.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Answers, in order.
    pub answers: Vec<(Origin, Feedback)>,
    /// Turns that begin, and how long they take in microseconds.
    pub turns: Vec<(u64, Turn)>,
}

/// What stays of the unsynced changes when a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stays {
    /// All: the system writes them yet.
    All,
    /// Nothing.
    Nothing,
    /// None, all, or the first ones, as the dice fall.
    Drawn,
}

/// How well a disk does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Health {
    /// Microseconds that a sync takes on average.
    pub sync_us: u64,
    /// In a million, blocks that can't be read.
    pub bad_blocks: u64,
    /// Whether the next sync fails, which ends the store.
    pub fails: bool,
}

/// What becomes durable together.
#[derive(Debug, Default)]
struct Group {
    content: Vec<u8>,
    last: BTreeMap<u32, Lsn>,
    durable: BTreeMap<Origin, Lsn>,
    answers: Vec<(Origin, Feedback)>,
    saves: bool,
    stale: Vec<Stale>,
    recovers: Vec<Origin>,
}

/// The first shard's place among a node's actors.
pub(crate) const FIRST_SHARD: usize = 2;

fn shard_of(origin: Origin) -> u32 {
    u32::try_from(origin.0 - FIRST_SHARD).expect("few shards")
}

fn cell_of(slot: SlotName) -> Cell {
    let name = match slot {
        SlotName::Ring => 1,
        SlotName::Incarnation => 2,
        SlotName::Peers => 3,
    };
    Cell { tree: TreeName::Slots, name }
}

/// One node's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    pub health: Health,
    dice: Dice,
    trees: SimTrees,
    manifest: Manifest,
    segments: Segments,
    /// The segment that the log goes on in.
    tail: Option<log::Tail>,
    waiting: VecDeque<(Origin, DiskRequest)>,
    group: Option<Group>,
    table_jobs: VecDeque<TableJob>,
    at_tables: Option<tables::Stage>,
    merging: Option<tables::Merging>,
    next_table: u64,
    fetches: VecDeque<(Origin, DiskRequest)>,
    askers: BTreeMap<usize, u32>,
    failed: bool,
}

impl Disk {
    /// A new disk, its store made.
    pub fn create(dice: Dice, health: Health) -> Disk {
        let disk = Disk {
            health,
            dice,
            trees: SimTrees::default(),
            manifest: Manifest::default(),
            segments: Segments::default(),
            tail: None,
            waiting: VecDeque::new(),
            group: None,
            table_jobs: VecDeque::new(),
            at_tables: None,
            merging: None,
            next_table: 0,
            fetches: VecDeque::new(),
            askers: BTreeMap::new(),
            failed: false,
        };
        recovery::create(&disk.trees).expect("memory takes all");
        disk.trees.sync().expect("memory takes all");
        disk
    }

    /// Opens the store at a process's start.
    pub fn open(&mut self) -> Result<(), StoreError> {
        let opened = recovery::open(&self.trees)?;
        (self.manifest, self.segments, self.tail) = (opened.manifest, opened.segments, None);
        self.next_table = self.manifest.next_table;
        self.merging = None;
        self.waiting.clear();
        self.group = None;
        self.table_jobs.clear();
        self.at_tables = None;
        self.fetches.clear();
        self.askers.clear();
        self.failed = false;
        self.drop_needless(|_| ())
    }

    /// The process ends at once; of the unsynced changes of each part this stays. Gives how many do.
    pub fn crash(&mut self, stays: Stays) -> usize {
        let mut sum = 0;
        let dice = &mut self.dice;
        self.trees.crash(|_, unsynced| {
            let kept = match (stays, dice.below(4)) {
                (Stays::All, _) | (Stays::Drawn, 1) => unsynced,
                (Stays::Nothing, _) | (Stays::Drawn, 0) => 0,
                (Stays::Drawn, _) => dice.index(unsynced + 1),
            };
            sum += kept;
            kept
        });
        sum
    }

    /// How many changes are not synced.
    pub fn unsynced(&self) -> usize {
        self.trees.unsynced()
    }

    /// Whether the store has stopped for good.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether a table is being written.
    pub fn is_writing_table(&self) -> bool {
        matches!(self.at_tables, Some(tables::Stage::Written { .. } | tables::Stage::Synced { .. }))
    }

    /// Whether tables are being merged.
    pub fn is_merging(&self) -> bool {
        self.merging.is_some()
    }

    /// Lets syncs lie from now on.
    pub fn lie(&self) {
        self.trees.lie();
    }

    /// Takes a request.
    pub fn submit(&mut self, origin: Origin, request: DiskRequest) -> Outcome {
        let mut outcome = Outcome::default();
        if self.failed {
            outcome.answers.push((origin, Feedback::DiskFailed));
            return outcome;
        }
        self.askers.insert(origin.0, origin.1);
        match request {
            DiskRequest::Append(_)
            | DiskRequest::Recover
            | DiskRequest::Save { .. }
            | DiskRequest::Load { .. } => {
                self.waiting.push_back((origin, request));
                self.begin_group(&mut outcome);
            }
            DiskRequest::Flush { frozen, through } => {
                self.table_jobs.push_back(TableJob::Flush { origin, frozen, through });
                self.begin_tables(&mut outcome);
            }
            DiskRequest::Merge { shard, inputs, .. } => {
                self.begin_merge(origin, shard, &inputs, &mut outcome);
                self.begin_tables(&mut outcome);
            }
            DiskRequest::Fetch { .. } => {
                self.fetches.push_back((origin, request));
                if self.fetches.len() == 1 {
                    outcome.turns.push((self.read_us(), Turn::Fetch));
                }
            }
        }
        outcome
    }

    /// A turn has ended.
    pub fn finish(&mut self, turn: Turn) -> Outcome {
        let mut outcome = Outcome::default();
        if self.failed {
            return outcome;
        }
        if self.health.fails && turn == Turn::Commit {
            self.health.fails = false;
            self.failed = true;
            let lives = self.askers.iter().map(|(asker, life)| (*asker, *life));
            outcome.answers = lives.map(|origin| (origin, Feedback::DiskFailed)).collect();
            return outcome;
        }
        match turn {
            Turn::Commit => self.end_group(&mut outcome),
            Turn::Tables => self.next_stage(&mut outcome),
            Turn::Fetch => self.end_fetch(&mut outcome),
        }
        outcome
    }

    fn sync_us(&mut self) -> u64 {
        50 + self.dice.wait(self.health.sync_us)
    }

    fn read_us(&mut self) -> u64 {
        20 + self.dice.wait(self.health.sync_us / 4 + 1)
    }

    /// Writes what waits as one group, if the disk is free; its sync takes a while.
    fn begin_group(&mut self, outcome: &mut Outcome) {
        if self.group.is_some() || self.waiting.is_empty() {
            return;
        }
        let mut group = Group::default();
        let count = self.waiting.len().min(GROUP_MAX);
        for (origin, request) in self.waiting.drain(..count) {
            group.add(&self.trees, origin, request);
        }
        if group.saves && group.content.is_empty() {
            log::put_mark(&mut group.content);
        }
        if !group.content.is_empty() {
            self.write(&group);
        }
        self.group = Some(group);
        outcome.turns.push((self.sync_us(), Turn::Commit));
    }

    fn write(&mut self, group: &Group) {
        let mut tail = match self.tail.take() {
            Some(tail) if !tail.is_full() => tail,
            before => log::Tail::new(self.next_segment(before)),
        };
        let bytes = tail.append(&self.trees, &group.content).expect("memory takes all");
        let known = self.segments.entry(tail.segment());
        self.tail = Some(tail);
        known.bytes += bytes;
        for (shard, lsn) in &group.last {
            let last = known.last.entry(*shard).or_default();
            *last = (*last).max(*lsn);
        }
    }

    fn next_segment(&mut self, before: Option<log::Tail>) -> u64 {
        let segment = self.manifest.next_segment;
        log::begin(&self.trees, segment).expect("memory takes all");
        self.trees.sync_part(Part::Log).expect("memory syncs");
        let listed = self.change_manifest(|manifest| {
            manifest.next_segment = segment + 1;
            manifest.segments.push(segment);
        });
        listed.expect("memory takes all");
        self.segments.entry(segment);
        if let Some(before) = before {
            self.segments.entry(before.segment()).sealed = true;
        }
        segment
    }

    fn change_manifest(&mut self, change: impl FnOnce(&mut Manifest)) -> Result<(), StoreError> {
        let mut changed = self.manifest.clone();
        change(&mut changed);
        changed.changes += 1;
        let stale = Manifest::CELL.write(&self.trees, &changed.encode())?;
        self.trees.sync_part(Part::Tables)?;
        self.manifest = changed;
        stale.sweep(&self.trees)
    }

    /// Changes the manifest, and drops the segments that are needless then.
    fn drop_needless(&mut self, change: impl FnOnce(&mut Manifest)) -> Result<(), StoreError> {
        let mut manifest = self.manifest.clone();
        change(&mut manifest);
        let needless = self.segments.needless(&manifest);
        manifest.segments.retain(|segment| !needless.contains(segment));
        self.change_manifest(|old| *old = Manifest { changes: old.changes, ..manifest })?;
        for segment in needless {
            self.trees.drop_tree(TreeName::Log(segment))?;
            self.segments.remove(segment);
        }
        Ok(())
    }

    fn end_group(&mut self, outcome: &mut Outcome) {
        let Some(group) = self.group.take() else { return };
        self.trees.sync_part(Part::Log).expect("memory syncs");
        outcome.answers.extend(group.answers);
        let durable = group.durable.into_iter();
        outcome.answers.extend(durable.map(|(origin, through)| (origin, Feedback::Durable { through })));
        for stale in group.stale {
            stale.sweep(&self.trees).expect("memory takes all");
        }
        self.table_jobs.extend(group.recovers.into_iter().map(|origin| TableJob::Recover { origin }));
        self.begin_tables(outcome);
        self.begin_group(outcome);
    }

    fn end_fetch(&mut self, outcome: &mut Outcome) {
        if let Some((origin, DiskRequest::Fetch { ticket, table, block })) = self.fetches.pop_front() {
            let bad = self.dice.chance(self.health.bad_blocks);
            let gone = !self.manifest.lists(TreeName::Table(table));
            let feedback = match recovery::read_block(&self.trees, table, block) {
                Ok(block) if !bad && !gone => Feedback::Fetched { ticket, block },
                _ if gone => Feedback::TableGone { ticket },
                Ok(_) => Feedback::FetchFailed { ticket },
                Err(error) => panic!("a stored block can't be read back: {error}"),
            };
            outcome.answers.push((origin, feedback));
        }
        if !self.fetches.is_empty() {
            outcome.turns.push((self.read_us(), Turn::Fetch));
        }
    }
}

impl Group {
    fn add(&mut self, trees: &SimTrees, origin: Origin, request: DiskRequest) {
        match request {
            DiskRequest::Append(record) => {
                let shard = shard_of(origin);
                log::put_entry(&mut self.content, shard, record.lsn, &record.bytes);
                let last = self.last.entry(shard).or_default();
                *last = record.lsn.max(*last);
                self.durable.insert(origin, record.lsn);
            }
            DiskRequest::Save { slot, bytes } => {
                self.stale.push(cell_of(slot).write(trees, &bytes).expect("memory takes all"));
                self.saves = true;
                self.answers.push((origin, Feedback::Saved { slot }));
            }
            DiskRequest::Load { slot } => {
                let bytes = cell_of(slot).read(trees).expect("a slot is whole");
                self.answers.push((origin, Feedback::Loaded { slot, bytes }));
            }
            DiskRequest::Recover => self.recovers.push(origin),
            DiskRequest::Fetch { .. } | DiskRequest::Flush { .. } | DiskRequest::Merge { .. } => {
                unreachable!("not of the commit queue")
            }
        }
    }
}
