//! What one node's copies of the keys under test hold: in memory, on the way to the disk, and on it.

use anser_machine::Lsn;
use anser_model::KeyState;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// A state that is stored, and where the log has it; none for a key that was never stored.
type Stored = Option<(Lsn, Rc<KeyState>)>;

/// One node's copies.
#[derive(Debug)]
pub(crate) struct Copies {
    memory: Vec<Rc<KeyState>>,
    durable: Vec<Stored>,
    /// By shard: appended, and not synced yet.
    pending: BTreeMap<u32, VecDeque<(Lsn, usize, Rc<KeyState>)>>,
    /// What was durable until a backup was put back.
    former: Option<Backup>,
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
            former: None,
            empty,
        }
    }

    /// A key's state is appended; gives the one before.
    pub fn append(&mut self, shard: u32, lsn: Lsn, slot: usize, state: Rc<KeyState>) -> Rc<KeyState> {
        self.pending.entry(shard).or_default().push_back((lsn, slot, state.clone()));
        std::mem::replace(&mut self.memory[slot], state)
    }

    /// A shard's log is synced through a position.
    pub fn synced(&mut self, shard: u32, through: Lsn) {
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
        self.pending.clear();
    }

    /// A record that a shard reads back, at this position: it is durable. `decode` is asked for it if it is news.
    pub fn read_back(&mut self, lsn: Lsn, slot: usize, decode: impl FnOnce() -> Rc<KeyState>) {
        let newer = self.durable[slot].as_ref().is_none_or(|(known, _)| *known < lsn);
        if newer {
            self.durable[slot] = Some((lsn, decode()));
        }
    }

    /// A shard was read back: its memory is what is durable.
    pub fn remember(&mut self, slot: usize) {
        self.memory[slot] =
            self.durable[slot].as_ref().map_or_else(|| self.empty.clone(), |(_, state)| state.clone());
    }

    /// What a key's copy holds durably.
    pub fn durable(&self, slot: usize) -> &KeyState {
        self.durable[slot].as_ref().map_or(&self.empty, |(_, state)| state)
    }

    /// What a key's copy holds durably, and what it held before a backup was put back.
    pub fn held(&self, slot: usize) -> impl Iterator<Item = &KeyState> {
        let former = self.former.iter().filter_map(move |backup| backup.0[slot].as_ref());
        std::iter::once(self.durable(slot)).chain(former.map(|(_, state)| &**state))
    }

    /// The position of what a key's copy holds durably.
    pub fn position(&self, slot: usize) -> Option<Lsn> {
        self.durable[slot].as_ref().map(|(lsn, _)| *lsn)
    }

    /// What a backup of the disk has.
    pub fn back_up(&self) -> Backup {
        Backup(self.durable.clone())
    }

    /// The disk is as it was when the backup was made.
    pub fn restore(&mut self, backup: &Backup) {
        self.former = Some(Backup(std::mem::replace(&mut self.durable, backup.0.clone())));
    }
}
