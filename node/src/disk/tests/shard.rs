//! One shard's engine over a real folder, driven by hand: what it asks for, it is given at once.

use super::{Node, open_with};
use crate::disk::{Asker, DiskConfig};
use anser_machine::{DiskRequest, Feedback, LogRecord, Lsn, Outbox, Ticket};
use anser_model::merkle::{Fingerprint, Tree};
use anser_model::ring::Within;
use anser_model::state::{Seen, Write};
use anser_model::{Actor, Body, Hlc, Key, KeyState, KeyspaceId, Life, NodeId, PartitionId, Rid};
use anser_storage::compaction::choice::runs;
use anser_storage::compaction::{Choice, choose};
use anser_storage::{Engine, Limits, Lookup, StoreKey, fingerprint_of, record};
use bytes::Bytes;
use std::path::Path;

const SHARD: Asker = Asker::Shard(0);
const LIFE: u32 = 2;
/// Blocks that one look-up may need.
const FETCHES_MAX: usize = 1000;

/// So many partitions have keys.
pub const PARTITIONS: u16 = 5;

/// Where a number's key is within its partition.
pub fn within(number: u32) -> Within {
    Within(number.wrapping_mul(0x9e37_79b9))
}

/// The store key of a number.
pub fn key(number: u32) -> StoreKey {
    let partition = PartitionId(u16::try_from(number % u32::from(PARTITIONS)).unwrap());
    let within = within(number);
    StoreKey::new(
        partition,
        KeyspaceId(1),
        within,
        &Key::new(format!("key{number:05}").into_bytes()).unwrap(),
    )
}

/// A key's whole state, with a value of so many bytes that don't compress.
pub fn state(seed: u64, length: usize) -> Bytes {
    whole_state(seed, super::state(seed, length))
}

/// A key's whole state, with this value, as the write of this number left it.
pub fn whole_state(seed: u64, value: Bytes) -> Bytes {
    let mut state = KeyState::default();
    let write = Write {
        rid: Rid { writer: 1, seq: seed },
        issued: Hlc(1),
        expires: None,
        body: Body::Value(value),
        seen: Seen::Present,
    };
    state.mint(Actor { node: NodeId([7; 16]), life: Life(1) }, seed + 1, &write).unwrap();
    state.encode()
}

/// What a state counts as in its hash tree.
pub fn counts(key: &StoreKey, state: &Bytes) -> Fingerprint {
    fingerprint_of(key.as_bytes(), state).unwrap()
}

/// The engine of shard 0 and its folder.
pub struct Shard {
    pub node: Node,
    engine: Engine,
    next: u64,
    durable: u64,
    flushing: usize,
    /// How often tables were merged.
    replaced: usize,
    ticket: u64,
}

/// A folder that was refused, or whose shard could not be read back.
#[derive(Debug)]
pub struct Refused;

/// Something that could not be read, and was said to be so.
#[derive(Debug)]
pub struct Unreadable;

impl Shard {
    /// Opens a folder and reads its shard back.
    pub fn open(dir: &Path, config: &DiskConfig, limits: Limits) -> Result<Shard, Refused> {
        let node = open_with(dir, config).map_err(|_| Refused)?;
        let engine = Engine::new(limits);
        let mut shard = Shard { node, engine, next: 0, durable: 0, flushing: 0, replaced: 0, ticket: 0 };
        shard.ask(DiskRequest::Recover);
        while shard.next == 0 {
            match shard.answer() {
                Feedback::RecoveredTables { tables, damaged } => {
                    if !damaged.is_empty() {
                        return Err(Refused);
                    }
                    shard.engine.recovered_tables(tables).map_err(|_| Refused)?;
                }
                Feedback::RecoveredLog { records, next } => {
                    shard.engine.recovered_log(&records).map_err(|_| Refused)?;
                    shard.next = next.map_or(0, |next| next.0);
                }
                _ => return Err(Refused),
            }
        }
        shard.durable = shard.last();
        shard.freeze();
        Ok(shard)
    }

    /// The position of the last record.
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    /// How many tables it has.
    pub fn tables(&self) -> usize {
        self.engine.tables().len()
    }

    /// The hash tree of a partition's keys.
    pub fn leaves(&self, partition: u16) -> Option<&Tree> {
        self.engine.leaves(PartitionId(partition), KeyspaceId(1))
    }

    /// Writes a key's whole state; durable with the next [`Shard::sync`].
    pub fn put(&mut self, key: &StoreKey, state: &Bytes) {
        while self.engine.is_full() {
            self.take_in();
        }
        let replaces = self.get(key).unwrap().map_or(Fingerprint::NONE, |before| counts(key, &before));
        let encoded = record::encode(key, state, replaces);
        let lsn = Lsn(self.next);
        self.next += 1;
        self.ask(DiskRequest::Append(LogRecord { lsn, bytes: encoded.bytes }));
        self.engine.insert(key, encoded.state, counts(key, state), lsn, replaces);
        self.freeze();
    }

    /// Waits until all that was written is durable.
    pub fn sync(&mut self) {
        while self.durable < self.last() {
            self.take_in();
        }
    }

    /// Waits until everything frozen is in tables.
    pub fn settle(&mut self) {
        while self.flushing > 0 {
            self.take_in();
        }
    }

    /// Has tables merged that are worth it when nobody writes; how many merges were done.
    pub fn merge(&mut self) -> usize {
        let mut merges = 0;
        // So that the next that the shard hears is of its merge.
        self.sync();
        self.settle();
        for group in runs(&self.engine.tables()).into_values() {
            let Choice::Merge { inputs, .. } = choose(&group, true, u64::MAX) else { continue };
            let request = DiskRequest::Merge { shard: 0, inputs, duty: 100 };
            self.node.handle.submit(Asker::Compactor, LIFE, vec![request]);
            let written = self.node.answers.wait(Asker::Compactor, |feedback| match feedback {
                Feedback::Merged { bytes, .. } => Some(*bytes),
                _ => None,
            });
            assert!(written > 0, "it was none");
            // What was answered before comes first, and no table that is gone may be chosen again.
            let before = self.replaced;
            while self.replaced == before {
                self.take_in();
            }
            merges += 1;
        }
        merges
    }

    /// Looks a key up.
    pub fn get(&mut self, key: &StoreKey) -> Result<Option<Bytes>, Unreadable> {
        let mut out = Outbox::new();
        let mut lookup = self.engine.lookup(key, &mut out);
        for _ in 0..FETCHES_MAX {
            let search = match lookup {
                Lookup::Memory { state, .. } | Lookup::Table { state } => return Ok(Some(state)),
                Lookup::Absent => return Ok(None),
                Lookup::Damaged { .. } => return Err(Unreadable),
                Lookup::Fetch(search) => search,
            };
            self.ticket += 1;
            let ticket = Ticket(self.ticket);
            self.ask(search.request(ticket));
            lookup = loop {
                match self.answer() {
                    Feedback::Fetched { ticket: of, mut blocks } if of == ticket => {
                        break self.engine.resume(search, blocks.remove(0), &mut out);
                    }
                    Feedback::TableGone { ticket: of } if of == ticket => {
                        break self.engine.again(&search, &mut out);
                    }
                    Feedback::FetchFailed { .. } | Feedback::DiskFailed => return Err(Unreadable),
                    other => self.take(other),
                }
            };
        }
        panic!("a look-up that does not end");
    }

    fn freeze(&mut self) {
        while let Some((frozen, through)) = self.engine.freeze() {
            self.flushing += 1;
            self.ask(DiskRequest::Flush { frozen, through });
        }
    }

    fn ask(&self, request: DiskRequest) {
        self.node.handle.submit(SHARD, LIFE, vec![request]);
    }

    /// The next answer, in order.
    fn answer(&self) -> Feedback {
        self.node.answers.wait(SHARD, |feedback| Some(feedback.clone()))
    }

    fn take_in(&mut self) {
        let answer = self.answer();
        self.take(answer);
    }

    fn take(&mut self, answer: Feedback) {
        match answer {
            Feedback::Durable { through } => self.durable = self.durable.max(through.0),
            Feedback::Flushed { tables, through } => {
                self.engine.flushed(tables, through).unwrap();
                self.flushing -= 1;
                self.freeze();
            }
            Feedback::TablesReplaced { removed, added } => {
                self.engine.replaced(&removed, added).unwrap();
                self.replaced += 1;
            }
            other => panic!("{other:?} was not asked for"),
        }
    }

    /// Ends it in good order.
    pub fn close(self) {
        self.node.close();
    }
}
