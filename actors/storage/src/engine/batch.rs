//! Many keys at once, all as of one moment, with one fetch for blocks that are neighbours.
//!
//! Keeps: what a batch finds is what it held when it was given: blocks never change, and everything else is looked at in
//! one step. Deliberately absent: partitions, since keys may be of any that the shard has; and a bound of the bytes that are
//! found, which whoever asks knows better: what a batch comes to is held in memory as a whole.

use super::Engine;
use super::run::{Held, Missing, Run, runs};
use crate::store_key::StoreKey;
use crate::table::block;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use anser_machine::{Count, Lsn, Outbox, TableId};
use bytes::Bytes;

/// Most keys of one batch: with that many, each in a block of its own of the usual size, it holds a few megabytes.
pub const BATCH_KEYS_MAX: usize = 1024;

/// Keys that are looked up together.
#[derive(Debug)]
pub struct Batch {
    keys: Vec<StoreKey>,
    held: Held,
    /// Whether it was looked at before: filters and cache are counted once.
    begun: bool,
}

/// What is known of a key of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its whole encoded state, if it has one.
    pub state: Option<Bytes>,
    /// It survives a power cut once the log is synced through here; none if it does already.
    pub lsn: Option<Lsn>,
}

/// How a batch stands.
#[derive(Debug)]
pub enum Batched {
    /// It is complete: what was found, in the order of the keys.
    Done(Vec<Found>),
    /// These runs of blocks must be fetched first: [`Batch::hold`] each, then [`Engine::batch`] again.
    Fetch(Vec<Run>),
    /// A block that is not what a table's block can be: the copy is damaged.
    Damaged {
        /// The table.
        table: TableId,
        /// Its block.
        block: u32,
    },
}

impl Batch {
    /// Of these keys, in any order; none if there are more than [`BATCH_KEYS_MAX`].
    pub fn new(keys: Vec<StoreKey>) -> Option<Batch> {
        (keys.len() <= BATCH_KEYS_MAX).then(|| Batch { keys, held: Held::default(), begun: false })
    }

    /// Its keys.
    pub fn keys(&self) -> &[StoreKey] {
        &self.keys
    }

    /// Takes what a run came to. Nothing of a table that is gone: it is looked for anew.
    pub fn hold(&mut self, run: &Run, contents: Vec<Bytes>) {
        self.held.hold(run, contents);
    }
}

impl Engine {
    /// Looks a batch up as of now, as far as its blocks are here.
    pub fn batch(&mut self, batch: &mut Batch, out: &mut Outbox) -> Batched {
        let counts = !core::mem::replace(&mut batch.begun, true);
        let mut missing = BTreeSet::new();
        let mut found = Vec::with_capacity(batch.keys.len());
        for key in &batch.keys {
            let lookup = match self.remembered(key) {
                Some((state, lsn)) => Ok(Some(Found { state: Some(state), lsn: Some(lsn) })),
                None => self.in_held(key, &batch.held, &mut missing, counts.then_some(&mut *out)),
            };
            match lookup {
                Ok(known) => found.extend(known),
                Err((table, block)) => return Batched::Damaged { table, block },
            }
        }
        if missing.is_empty() {
            batch.held.cache(&mut self.cache);
            Batched::Done(found)
        } else {
            Batched::Fetch(runs(missing))
        }
    }

    /// Looks a key up in tables; none if a block is missing.
    fn in_held(
        &mut self,
        key: &StoreKey,
        held: &Held,
        missing: &mut BTreeSet<Missing>,
        mut out: Option<&mut Outbox>,
    ) -> Result<Option<Found>, (TableId, u32)> {
        let key = key.as_bytes();
        for open in self.tables.of(key) {
            let table = &open.table;
            let Some((place, number)) = table.place_of(key) else { continue };
            let ruled_out = !table.might_hold(key);
            if let Some(out) = &mut out {
                out.count(Count::Bloom { ruled_out });
            }
            if ruled_out {
                continue;
            }
            let cached = held.get(table.id(), number).cloned().or_else(|| self.cache.get(table.id(), number));
            if let Some(out) = &mut out {
                out.count(Count::Cache { hit: cached.is_some() });
            }
            let Some(content) = cached else {
                missing.insert((table.id(), place, number));
                return Ok(None);
            };
            match block::search(&content, key) {
                Ok(Some(state)) => return Ok(Some(Found { state: Some(state), lsn: None })),
                Ok(None) => {}
                Err(block::BadBlock) => return Err((table.id(), number)),
            }
        }
        Ok(Some(Found { state: None, lsn: None }))
    }
}
