//! A node's disk: the store's own logic over [`SimTrees`], with time, crashes and failures added.
//!
//! It answers [`DiskRequest`]s as a node's disk does: what arrives while a sync runs is the next group; tables are written
//! one at a time beside it. Keeps: nothing is answered durable before its sync (unless it was told to lie).

mod commit;
mod damage;
mod tables;
mod trees;

use crate::dice::Dice;
use anser_machine::{DiskRequest, Feedback, Lsn, SlotName};
use anser_storage::store::cell::Cell;
use anser_storage::store::{Manifest, Segments, StoreError, TreeName, Trees, log, recovery};
use commit::Group;
use std::collections::{BTreeMap, VecDeque};
use tables::TableJob;
use trees::SimTrees;
pub(crate) use trees::{Image, Room};

/// Who asked: the actor's place among its node's, and its life.
pub type Origin = (usize, u32);

/// Something that the disk is busy with, and that ends after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The group's sync.
    Commit,
    /// A step of the work on tables.
    Tables,
    /// The first of the blocks that are read.
    Fetch,
}

/// What follows from a request or the end of a turn.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answers, in order.
    pub answers: Vec<(Origin, Feedback)>,
    /// Turns that begin, and how long they take in microseconds.
    pub turns: Vec<(u64, Turn)>,
}

/// What stays of the unsynced changes when a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// All: the system writes them yet.
    All,
    /// Nothing.
    Nothing,
    /// None, all, or the first ones, as the dice fall.
    Drawn,
}

/// How well a disk does.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// Microseconds that a sync takes on average.
    pub sync_us: u64,
    /// In a million, blocks that can't be read.
    pub bad_blocks: u64,
    /// Whether the next sync fails, which ends the store.
    pub fails: bool,
}

/// The first shard's place among a node's actors.
pub const FIRST_SHARD: usize = 2;

fn shard_of(origin: Origin) -> u32 {
    u32::try_from(origin.0 - FIRST_SHARD).expect("few shards")
}

fn cell_of(origin: Origin, slot: SlotName) -> Cell {
    match slot {
        SlotName::Copies => Cell::of(slot, shard_of(origin)),
        SlotName::Ring | SlotName::Incarnation | SlotName::Peers => Cell::of(slot, 0),
    }
}

/// One node's disk.
#[derive(Debug)]
pub struct Disk {
    /// How well it does from now on.
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
    /// Whether something in it was ever damaged.
    damaged: bool,
    /// How often it read where there is damage, and what it took for good.
    reads_of_damaged: u64,
    misread: Option<String>,
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
            damaged: false,
            reads_of_damaged: 0,
            misread: None,
        };
        recovery::create(&disk.trees).expect("memory takes all");
        disk.trees.sync().expect("memory takes all");
        disk
    }

    /// Opens the store at a process's start.
    pub fn open(&mut self) -> Result<(), StoreError> {
        if !self.trees.has_room() {
            return Err(StoreError::Failed("no space left".to_owned()));
        }
        let opened = recovery::open(&self.trees)?;
        if let Some(written) = self.trees.as_written() {
            let fine = Manifest::CELL.read(&written) == Manifest::CELL.read(&self.trees);
            self.took(fine, || "the manifest".to_owned());
        }
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

    /// Flips bits in it, or zeroes a part; tells where.
    pub fn damage(&mut self) -> Option<String> {
        let (tree, key) = self.trees.damage(&mut self.dice)?;
        self.damaged = true;
        Some(format!("{tree} at {key:?}"))
    }

    /// Whether something in it was ever damaged.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Whether something in it is damaged still.
    pub fn has_damage(&self) -> bool {
        self.trees.as_written().is_some()
    }

    /// How often it read where there is damage, since it was asked last, and what it took for good.
    pub fn take_reads_of_damaged(&mut self) -> (u64, Option<String>) {
        (std::mem::take(&mut self.reads_of_damaged), self.misread.take())
    }

    /// It read something where there is damage, and took it for good: whether it is what was written.
    fn took(&mut self, fine: bool, what: impl FnOnce() -> String) {
        self.reads_of_damaged += 1;
        if !fine {
            self.misread = Some(what());
        }
    }

    /// What a power cut would leave now.
    pub(crate) fn image(&self) -> Image {
        self.trees.image()
    }

    /// A backup is put back.
    pub(crate) fn put_back(&mut self, image: Image) {
        self.trees.put_back(image);
    }

    /// There is so much room from now on.
    pub(crate) fn set_room(&self, room: Room) {
        self.trees.set_room(room);
    }

    /// Whether there is room for everything.
    pub fn has_room(&self) -> bool {
        self.trees.has_room()
    }

    /// How many requests wait.
    pub fn queued(&self) -> usize {
        self.waiting.len() + self.table_jobs.len() + self.fetches.len()
    }

    /// Through where tables hold all of a shard's log.
    pub fn flushed(&self, shard: u32) -> Lsn {
        self.manifest.flushed(shard)
    }

    /// The groups of a shard's tables.
    pub fn groups(&self, shard: u32) -> Vec<anser_machine::Group> {
        self.manifest.tables_of(shard).map(|entry| entry.group).collect()
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
        let taken = match request {
            DiskRequest::Append(_)
            | DiskRequest::Recover
            | DiskRequest::Save { .. }
            | DiskRequest::Load { .. } => {
                self.waiting.push_back((origin, request));
                self.begin_group(&mut outcome)
            }
            DiskRequest::Flush { frozen, through } => {
                self.table_jobs.push_back(TableJob::Flush { origin, frozen, through });
                self.begin_tables(&mut outcome)
            }
            DiskRequest::Wipe { group } => {
                self.table_jobs.push_back(TableJob::Wipe { origin, group });
                self.begin_tables(&mut outcome)
            }
            DiskRequest::Merge { shard, inputs, .. } => self
                .begin_merge(origin, shard, &inputs, &mut outcome)
                .and_then(|()| self.begin_tables(&mut outcome)),
            DiskRequest::Fetch { .. } => {
                self.fetches.push_back((origin, request));
                if self.fetches.len() == 1 {
                    outcome.turns.push((self.read_us(), Turn::Fetch));
                }
                Ok(())
            }
        };
        if taken.is_err() {
            self.fail(&mut outcome);
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
            self.fail(&mut outcome);
            return outcome;
        }
        let done = match turn {
            Turn::Commit => self.end_group(&mut outcome),
            Turn::Tables => self.next_stage(&mut outcome),
            Turn::Fetch => {
                self.end_fetch(&mut outcome);
                Ok(())
            }
        };
        if done.is_err() {
            self.fail(&mut outcome);
        }
        outcome
    }

    /// The store stops for good, as far as this process goes: everybody who ever asked is told.
    fn fail(&mut self, outcome: &mut Outcome) {
        self.failed = true;
        let lives = self.askers.iter().map(|(asker, life)| (*asker, *life));
        outcome.answers.extend(lives.map(|origin| (origin, Feedback::DiskFailed)));
    }

    fn sync_us(&mut self) -> u64 {
        50 + self.dice.wait(self.health.sync_us)
    }

    fn read_us(&mut self) -> u64 {
        20 + self.dice.wait(self.health.sync_us / 4 + 1)
    }

    fn end_fetch(&mut self, outcome: &mut Outcome) {
        if let Some((origin, DiskRequest::Fetch { ticket, table, block, count })) = self.fetches.pop_front() {
            let bad = self.dice.chance(self.health.bad_blocks);
            let gone = !self.manifest.lists(TreeName::Table(table));
            let read = recovery::read_blocks(&self.trees, table, block, count);
            if let Some(written) = self.trees.as_written()
                && let Ok(content) = &read
            {
                // Where a later block is damaged, fewer come.
                let whole = recovery::read_blocks(&written, table, block, count);
                let fine = whole.is_ok_and(|whole| whole.starts_with(content));
                self.took(fine, || format!("block {block} of table {}", table.0));
            }
            let feedback = match read {
                Ok(blocks) if !bad && !gone => Feedback::Fetched { ticket, blocks },
                _ if gone => Feedback::TableGone { ticket },
                Ok(_) => Feedback::FetchFailed { ticket },
                Err(_) if self.damaged => Feedback::FetchFailed { ticket },
                Err(error) => panic!("a stored block can't be read back: {error}"),
            };
            outcome.answers.push((origin, feedback));
        }
        if !self.fetches.is_empty() {
            outcome.turns.push((self.read_us(), Turn::Fetch));
        }
    }
}
