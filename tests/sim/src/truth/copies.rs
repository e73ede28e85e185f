//! What one node's copies of the keys under test hold: in memory, on the way to the disk, and on it.

use anser_machine::Lsn;
use anser_model::KeyState;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// A state that is stored, and where the log has it; none for a key that was never stored.
pub(crate) type Stored = Option<(Lsn, Rc<KeyState>)>;

/// One node's copies.
#[derive(Debug)]
pub(crate) struct Copies {
    memory: Vec<Rc<KeyState>>,
    durable: Vec<Stored>,
    /// By shard: appended, and not synced yet.
    pending: BTreeMap<u32, VecDeque<(Lsn, usize, Rc<KeyState>)>>,
    /// The same of processes that are gone: lost, or found in a table, whose listing survived though nobody was told of it.
    unsure: BTreeMap<u32, VecDeque<(Lsn, usize, Rc<KeyState>)>>,
    /// What was durable until it was lost, or a backup was put back.
    former: Vec<Vec<Rc<KeyState>>>,
    /// What was durable when it was last lost; and what was not known to be, but may have been in a table.
    before_loss: Vec<Stored>,
    unsure_before_loss: Vec<Vec<(Lsn, Rc<KeyState>)>>,
    /// By shard: the last position that is synced, and the last that was appended.
    through: BTreeMap<u32, Lsn>,
    appended: BTreeMap<u32, Lsn>,
    /// What the log had when it was read back, since the process started.
    in_log: Vec<Stored>,
    empty: Rc<KeyState>,
}

/// What copies held durably at some time, as a backup of the disk has it.
#[derive(Clone, Debug)]
pub(crate) struct Backup(Vec<Stored>);

impl Copies {
    /// Of so many keys, all empty.
    pub fn new(slots: usize) -> Copies {
        let empty = Rc::new(KeyState::default());
        Copies {
            memory: vec![empty.clone(); slots],
            durable: vec![None; slots],
            pending: BTreeMap::new(),
            unsure: BTreeMap::new(),
            former: vec![Vec::new(); slots],
            before_loss: vec![None; slots],
            unsure_before_loss: vec![Vec::new(); slots],
            through: BTreeMap::new(),
            appended: BTreeMap::new(),
            in_log: vec![None; slots],
            empty,
        }
    }

    /// A key's state is appended; gives the one before.
    pub fn append(&mut self, shard: u32, lsn: Lsn, slot: usize, state: Rc<KeyState>) -> Rc<KeyState> {
        self.appended.insert(shard, lsn);
        self.pending.entry(shard).or_default().push_back((lsn, slot, state.clone()));
        std::mem::replace(&mut self.memory[slot], state)
    }

    /// A shard's log is synced through a position.
    pub fn synced(&mut self, shard: u32, through: Lsn) {
        let known = self.through.entry(shard).or_default();
        *known = through.max(*known);
        let pending = self.pending.entry(shard).or_default();
        while let Some((lsn, ..)) = pending.front()
            && *lsn <= through
        {
            if let Some((lsn, slot, state)) = pending.pop_front() {
                self.durable[slot] = Some((lsn, state));
            }
        }
    }

    /// The process is gone, and with it what was not synced. (What was written and survived is found when it is read back.)
    pub fn crash(&mut self) {
        for (shard, pending) in std::mem::take(&mut self.pending) {
            self.unsure.entry(shard).or_default().extend(pending);
        }
        self.in_log.fill(None);
    }

    /// A shard is being read back, and its tables hold all of its log through a position.
    pub fn found_in_tables(&mut self, shard: u32, flushed: Lsn) {
        for (lsn, slot, state) in self.unsure.remove(&shard).unwrap_or_default() {
            if lsn <= flushed {
                self.keep(lsn, slot, state);
            }
        }
    }

    /// A record that a shard reads back, at this position: it is durable.
    pub fn read_back(&mut self, lsn: Lsn, slot: usize, decode: impl FnOnce() -> Rc<KeyState>) {
        let state = decode();
        self.in_log[slot] = Some((lsn, state.clone()));
        self.keep(lsn, slot, state);
    }

    /// A state is durable, at this position.
    fn keep(&mut self, lsn: Lsn, slot: usize, state: Rc<KeyState>) {
        let newer = self.durable[slot].as_ref().is_none_or(|(known, _)| *known < lsn);
        if newer {
            self.durable[slot] = Some((lsn, state));
        }
    }

    /// All of a shard's log before a position was read back.
    pub fn read_back_to(&mut self, shard: u32, next: Lsn) {
        if let Some(last) = next.0.checked_sub(1) {
            self.through.insert(shard, Lsn(last));
        }
    }

    /// A shard was read back: its memory is what is durable.
    pub fn remember(&mut self, slot: usize) {
        self.memory[slot] =
            self.durable[slot].as_ref().map_or_else(|| self.empty.clone(), |(_, state)| state.clone());
    }

    /// What a key's copy holds in memory.
    pub fn memory(&self, slot: usize) -> &KeyState {
        &self.memory[slot]
    }

    /// What a key's copy holds durably.
    pub fn durable(&self, slot: usize) -> &KeyState {
        self.durable[slot].as_ref().map_or(&self.empty, |(_, state)| state)
    }

    /// What a key's copy holds durably, and what it held before it was lost or a backup was put back.
    pub fn held(&self, slot: usize) -> impl Iterator<Item = &KeyState> {
        std::iter::once(self.durable(slot)).chain(self.former[slot].iter().map(|state| &**state))
    }

    /// A key's copy is lost, but for what the log still has; `again` before an earlier loss was durable, so that both would
    /// be undone.
    pub fn lose(&mut self, shard: u32, slot: usize, left: Stored, again: bool) {
        // What is appended in the step of the loss comes after it.
        let appended = self.appended.get(&shard).copied().max(self.through.get(&shard).copied());
        let left = left.filter(|(lsn, _)| Some(*lsn) <= appended);
        let through = self.through.get(&shard).copied();
        self.memory[slot] = left.as_ref().map_or_else(|| self.empty.clone(), |(_, state)| state.clone());
        let lost = std::mem::replace(
            &mut self.durable[slot],
            left.clone().filter(|(lsn, _)| through.is_some_and(|through| *lsn <= through)),
        );
        self.former[slot].extend(lost.iter().map(|(_, state)| state.clone()));
        let dropped = &mut self.unsure_before_loss[slot];
        if !again {
            self.before_loss[slot] = lost;
            dropped.clear();
        }
        let left = left.map(|(lsn, _)| lsn);
        let mut keeps = |(lsn, of, state): &(Lsn, usize, Rc<KeyState>), left: Option<Lsn>| {
            let stays = *of != slot || Some(*lsn) == left;
            if !stays {
                dropped.push((*lsn, state.clone()));
            }
            stays
        };
        if let Some(pending) = self.pending.get_mut(&shard) {
            pending.retain(|entry| keeps(entry, left));
        }
        // What a table kept is lost with it, and what the log kept was read back already.
        if let Some(unsure) = self.unsure.get_mut(&shard) {
            unsure.retain(|entry| keeps(entry, None));
        }
    }

    /// The log will be read back anew.
    pub fn read_log_anew(&mut self, slot: usize) {
        self.in_log[slot] = None;
    }

    /// What the log had of a key, where it was read back.
    pub fn in_log(&self, slot: usize) -> Stored {
        self.in_log[slot].clone()
    }

    /// The loss of a key's copy was not durable when the process ended, and is undone. Tables hold all of the log through
    /// `flushed`.
    pub fn find_again(&mut self, slot: usize, flushed: Lsn) {
        let mut found = std::mem::take(&mut self.unsure_before_loss[slot]);
        found.retain(|(lsn, _)| *lsn <= flushed);
        for (lsn, state) in found.into_iter().chain(self.before_loss[slot].take()) {
            self.keep(lsn, slot, state);
        }
        self.remember(slot);
    }

    /// The folder is gone.
    pub fn lose_all(&mut self) {
        for slot in 0..self.durable.len() {
            self.former[slot].extend(self.durable[slot].iter().map(|(_, state)| state.clone()));
        }
        self.durable.fill(None);
        self.before_loss.fill(None);
        self.unsure_before_loss.iter_mut().for_each(Vec::clear);
        self.memory.fill(self.empty.clone());
        self.pending.clear();
        self.unsure.clear();
        self.through.clear();
        self.appended.clear();
        self.in_log.fill(None);
    }

    /// The position of what a key's copy holds durably.
    pub fn position(&self, slot: usize) -> Option<Lsn> {
        self.durable[slot].as_ref().map(|(lsn, _)| *lsn)
    }

    /// How many records all logs have, synced or not.
    pub fn records(&self) -> u64 {
        let next =
            |shard: &u32| self.through.get(shard).max(self.appended.get(shard)).map_or(0, |lsn| lsn.0 + 1);
        let shards: BTreeSet<u32> = self.through.keys().chain(self.appended.keys()).copied().collect();
        shards.iter().map(next).sum()
    }

    /// What a backup of the disk has.
    pub fn back_up(&self) -> Backup {
        Backup(self.durable.clone())
    }

    /// The disk is as it was when the backup was made.
    pub fn restore(&mut self, backup: &Backup) {
        self.unsure.clear();
        let former = std::mem::replace(&mut self.durable, backup.0.clone());
        for (slot, stored) in former.into_iter().enumerate() {
            self.former[slot].extend(stored.map(|(_, state)| state));
        }
    }
}
