//! The newest states of one shard, in key order, until a table holds them. One owner, so no lock; its bytes are counted
//! exactly as [`Memtable::bytes`] says.

use crate::store_key::StoreKey;
use alloc::collections::btree_map::Range;
use alloc::sync::Arc;
use anser_machine::{Depths, Entries, Frozen, Headed, Lsn, Stored};
use anser_model::merkle::Fingerprint;
use bytes::Bytes;

/// What an entry is counted beside its key and state: the key's head, two `Bytes`, a position, two fingerprints, its share of the map's
/// nodes, and the frame of the record that its state lies in.
pub const ENTRY_OVERHEAD_BYTES: usize = 256;

/// An ordered map of whole states, each with the log position that wrote it.
#[derive(Debug, Default)]
pub struct Memtable {
    entries: Entries,
    bytes: usize,
    logged: usize,
    through: Lsn,
}

impl Memtable {
    /// An empty one.
    pub fn new() -> Memtable {
        Memtable::default()
    }

    /// Puts a key's new state, which counts as `counts`, in the place of its old one. `replaces` is what anything older than
    /// this memtable holds of the key, if this is the first of it here. What the old state counted as.
    pub fn insert(
        &mut self,
        key: &StoreKey,
        state: Bytes,
        counts: Fingerprint,
        lsn: Lsn,
        replaces: Fingerprint,
    ) -> Fingerprint {
        self.through = self.through.max(lsn);
        let added = state.len();
        self.logged = self.logged.saturating_add(key.as_bytes().len() + added);
        if let Some(stored) = self.entries.get_mut(key.headed()) {
            self.bytes = (self.bytes + added).saturating_sub(stored.state.len());
            let old = stored.counts;
            *stored = Stored { state, lsn, counts, replaces: stored.replaces };
            old
        } else {
            self.bytes += key.as_bytes().len() + added + ENTRY_OVERHEAD_BYTES;
            self.entries.insert(key.headed().clone(), Stored { state, lsn, counts, replaces });
            replaces
        }
    }

    /// What is older than this memtable is void, of all keys from `from` on that begin as `within` says.
    pub fn replaces_nothing(&mut self, from: Headed, within: impl Fn(&[u8]) -> bool) {
        for (key, stored) in self.entries.range_mut(from..) {
            if !within(key.as_bytes()) {
                return;
            }
            stored.replaces = Fingerprint::NONE;
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

    /// Its entries.
    pub(crate) fn entries(&self) -> &Entries {
        &self.entries
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
    /// `depths` are those of its keys' hash trees.
    pub fn freeze(&mut self, depths: Depths) -> Arc<Frozen> {
        self.bytes = 0;
        self.logged = 0;
        Arc::new(Frozen { entries: core::mem::take(&mut self.entries), depths })
    }
}
