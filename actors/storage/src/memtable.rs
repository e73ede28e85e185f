//! The newest states of one shard, in key order, until a table holds them. One owner, so no lock; its bytes are counted
//! exactly as [`Memtable::bytes`] says.

use crate::store_key::StoreKey;
use alloc::collections::btree_map::Range;
use alloc::sync::Arc;
use anser_machine::{Frozen, Headed, Lsn, Stored};
use bytes::Bytes;

/// What an entry is counted beside its key and state: the key's head, two `Bytes`, a position, its share of the map's
/// nodes, and the frame of the record that its state lies in.
pub const ENTRY_OVERHEAD_BYTES: usize = 208;

/// An ordered map of whole states, each with the log position that wrote it.
#[derive(Debug, Default)]
pub struct Memtable {
    entries: Frozen,
    bytes: usize,
    logged: usize,
    through: Lsn,
}

impl Memtable {
    /// An empty one.
    pub fn new() -> Memtable {
        Memtable::default()
    }

    /// Puts a key's new state in the place of its old one. `voids` tells whether an older one is anywhere.
    pub fn insert(&mut self, key: &StoreKey, state: Bytes, lsn: Lsn, voids: bool) {
        self.through = self.through.max(lsn);
        let added = state.len();
        self.logged = self.logged.saturating_add(key.as_bytes().len() + added);
        if let Some(stored) = self.entries.get_mut(key.headed()) {
            self.bytes = (self.bytes + added).saturating_sub(stored.state.len());
            *stored = Stored { state, lsn, voids: stored.voids };
        } else {
            self.bytes += key.as_bytes().len() + added + ENTRY_OVERHEAD_BYTES;
            self.entries.insert(key.headed().clone(), Stored { state, lsn, voids });
        }
    }

    /// What it holds for a key.
    pub fn get(&self, key: &StoreKey) -> Option<&Stored> {
        self.entries.get(key.headed())
    }

    /// Its entries from a key on.
    pub fn range(&self, from: &Headed) -> Range<'_, Headed, Stored> {
        self.entries.range(from.clone()..)
    }

    /// The last log position that it holds.
    pub fn through(&self) -> Lsn {
        self.through
    }

    /// Keys and states, and `ENTRY_OVERHEAD_BYTES` for each entry.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keys and states of all inserts, those that a later one took the place of too: about what the log has of them.
    pub fn logged(&self) -> usize {
        self.logged
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives all entries away, to be read only, and begins anew.
    pub fn freeze(&mut self) -> Arc<Frozen> {
        self.bytes = 0;
        self.logged = 0;
        Arc::new(core::mem::take(&mut self.entries))
    }
}
