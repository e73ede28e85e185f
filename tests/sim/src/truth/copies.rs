//! What one node's copies of the keys under test hold: in memory, on the way to the disk, and on it.

use anser_machine::{LogRecord, Lsn};
use anser_model::KeyState;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// One node's copies.
#[derive(Debug)]
pub(crate) struct Copies {
    memory: Vec<KeyState>,
    durable: Vec<Option<(Lsn, Bytes)>>,
    /// By shard: appended, and not synced yet.
    pending: BTreeMap<u32, VecDeque<(Lsn, usize, Bytes)>>,
}

impl Copies {
    /// Of so many keys, all empty.
    pub fn new(slots: usize) -> Copies {
        Copies {
            memory: vec![KeyState::default(); slots],
            durable: vec![None; slots],
            pending: BTreeMap::new(),
        }
    }

    /// A key's state is appended; gives the one before.
    pub fn append(&mut self, shard: u32, lsn: Lsn, slot: usize, state: Bytes, decoded: KeyState) -> KeyState {
        self.pending.entry(shard).or_default().push_back((lsn, slot, state));
        std::mem::replace(&mut self.memory[slot], decoded)
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

    /// A record that a shard reads back: it is durable.
    pub fn read_back(&mut self, record: &LogRecord, slot: usize, state: Bytes) {
        let newer = self.durable[slot].as_ref().is_none_or(|(lsn, _)| *lsn < record.lsn);
        if newer {
            self.durable[slot] = Some((record.lsn, state));
        }
    }

    /// A shard was read back: its memory is what is durable.
    pub fn remember(&mut self, slot: usize) {
        self.memory[slot] = self.durable(slot);
    }

    /// What a key's copy holds in memory.
    pub fn memory(&self, slot: usize) -> &KeyState {
        &self.memory[slot]
    }

    /// What a key's copy holds durably.
    pub fn durable(&self, slot: usize) -> KeyState {
        let stored = self.durable[slot].as_ref();
        stored.map_or_else(KeyState::default, |(_, state)| {
            KeyState::decode(state).expect("a copy stores states")
        })
    }
}
