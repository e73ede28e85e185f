//! The engine against a map, through freezes, flushes, fetches and reopening.

mod leaves;
mod runs;

use super::*;
use crate::compaction::Merge;
use crate::leaves::fingerprint_of;
use crate::record;
use crate::store::memory::Memory;
use crate::store::{Manifest, TableEntry, TreeName, Trees, install, recovery};
use anser_model::ring::Within;
use anser_model::state::{Seen, Write};
use anser_model::{Actor, Body, Hlc, Key, KeyState, KeyspaceId, Life, NodeId, PartitionId, Rid};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A disk that does at once what it is asked, with the store's own logic.
#[derive(Default)]
struct Store {
    trees: Memory,
    manifest: Manifest,
    log: Vec<LogRecord>,
    next: u64,
}

fn listed(tables: Vec<(TableEntry, Bytes)>) -> (Vec<TableEntry>, Vec<StoredTable>) {
    tables.into_iter().map(|(entry, meta)| (entry.clone(), entry.with(meta))).unzip()
}

impl Store {
    fn flush(&mut self, frozen: &Frozen, through: Lsn) -> Vec<StoredTable> {
        let next = &mut self.next;
        let mut next_id = || {
            *next += 1;
            TableId(*next)
        };
        let tables = install::write_frozen(&self.trees, &mut next_id, 0, frozen).unwrap();
        let (entries, stored) = listed(tables);
        self.manifest.install(0, entries, through);
        stored
    }

    /// Merges the `count` neighbours of a group behind the `skip` newest ones; what was removed and added.
    fn merge(&mut self, group: u16, skip: usize, count: usize) -> Option<(Vec<TableId>, Vec<StoredTable>)> {
        let mut tables: Vec<&TableEntry> =
            self.manifest.tables.iter().filter(|table| table.group == group).collect();
        tables.sort_by_key(|table| std::cmp::Reverse(table.age));
        let inputs: Vec<TableId> =
            tables.into_iter().skip(skip).take(count).map(|table| TableId(table.id)).collect();
        let mut merge = Merge::begin(&self.trees, &self.manifest, 0, &inputs).unwrap()?;
        let next = &mut self.next;
        let mut next_id = || {
            *next += 1;
            TableId(*next)
        };
        while !merge.step(&self.trees, 700, &mut next_id).unwrap() {}
        let merged = merge.finish();
        let (entries, added) = listed(merged.added);
        self.manifest.replace(&merged.removed, entries);
        for table in &merged.removed {
            self.trees.drop_tree(TreeName::Table(*table)).unwrap();
        }
        Some((merged.removed, added))
    }

    fn fetch(&self, table: TableId, block: u32) -> Bytes {
        recovery::read_block(&self.trees, table, block).unwrap()
    }

    fn fetch_run(&self, run: &Run) -> Vec<Bytes> {
        let DiskRequest::Fetch { table, block, count, .. } = run.request(Ticket(0)) else { unreachable!() };
        recovery::read_blocks(&self.trees, table, block, count).unwrap()
    }

    fn has(&self, table: TableId) -> bool {
        self.manifest.lists(TreeName::Table(table))
    }

    fn reopen(&self, limits: Limits) -> Engine {
        let mut engine = Engine::new(limits);
        engine.recovered_tables(recovery::tables_of(&self.trees, &self.manifest, 0).unwrap().tables).unwrap();
        let through = self.manifest.flushed(0);
        let rest: Vec<LogRecord> = self.log.iter().filter(|record| record.lsn > through).cloned().collect();
        engine.recovered_log(&rest).unwrap();
        engine
    }
}

fn key(number: u16) -> StoreKey {
    StoreKey::new(
        PartitionId(number % 3 * 16),
        KeyspaceId(1),
        Within(u32::from(number / 3).wrapping_mul(0x9e37_79b9)),
        &Key::new(format!("key{}", number / 3).into_bytes()).unwrap(),
    )
}

/// A whole state with a value of so many bytes. Its dot is of number and length.
fn state(number: u16, length: usize) -> Bytes {
    let value: Bytes = (0..length).map(|at| (at * usize::from(number + 1) % 253) as u8).collect();
    let counter = 1 + u64::from(number) + (length as u64) * 1000;
    let write = Write {
        rid: Rid { writer: 1, seq: counter },
        issued: Hlc(1),
        expires: None,
        body: Body::Value(value),
        seen: Seen::Present,
    };
    let mut state = KeyState::default();
    state.mint(Actor { node: NodeId([7; 16]), life: Life(1) }, counter, &write).unwrap();
    state.encode()
}

fn counts(key: &StoreKey, state: Option<&Bytes>) -> Fingerprint {
    state.map_or(Fingerprint::NONE, |state| fingerprint_of(key.as_bytes(), state).unwrap())
}

/// Puts a state in the place of the one that is in memory.
fn put(engine: &mut Engine, number: u16, state: Bytes, lsn: u64) {
    let key = key(number);
    let before = engine.remembered(&key).map(|(state, _)| state);
    let replaces = counts(&key, before.as_ref());
    let new = counts(&key, Some(&state));
    engine.insert(&key, state, new, Lsn(lsn), replaces);
}

/// Looks a key up, fetching as often as it takes; `meanwhile` is called before each block is handed over.
fn get(
    engine: &mut Engine,
    store: &Store,
    key: &StoreKey,
    meanwhile: &mut dyn FnMut(&mut Engine),
) -> Option<Bytes> {
    let mut out = Outbox::new();
    let mut lookup = engine.lookup(key, &mut out);
    for _ in 0..100 {
        match lookup {
            Lookup::Memory { state, .. } | Lookup::Table { state } => return Some(state),
            Lookup::Absent => return None,
            Lookup::Fetch(search) => {
                meanwhile(engine);
                let block = store.fetch(search.table(), search.block);
                lookup = engine.resume(search, block, &mut out);
            }
            Lookup::Damaged { table, block } => panic!("{table:?} {block}"),
        }
    }
    panic!("no end")
}

#[derive(Clone, Debug)]
enum Step {
    Insert {
        key: u16,
        length: usize,
    },
    Flush,
    Get(u16),
    /// Something is written and flushed while the block is fetched.
    GetMeanwhile {
        key: u16,
        length: usize,
    },
    /// The table is merged away while its block is fetched.
    GetMerged(u16),
    Merge {
        group: u16,
        skip: usize,
        count: usize,
    },
    Scan {
        partition: u16,
        entries: usize,
        bytes: usize,
    },
    /// Something is written, flushed and merged while its blocks are fetched.
    Batch {
        first: u16,
        keys: usize,
        length: usize,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..60_u16, prop_oneof![9 => 0..400_usize, 1 => 4000..9000_usize])
            .prop_map(|(key, length)| Step::Insert { key, length }),
        1 => Just(Step::Flush),
        4 => (0..70_u16).prop_map(Step::Get),
        1 => (0..60_u16, 0..400_usize).prop_map(|(key, length)| Step::GetMeanwhile { key, length }),
        1 => (0..60_u16).prop_map(Step::GetMerged),
        1 => (0..3_u16, 0..3_usize, 2..5_usize)
            .prop_map(|(group, skip, count)| Step::Merge { group, skip, count }),
        1 => (0..3_u16, 1..9_usize, 0..2000_usize)
            .prop_map(|(partition, entries, bytes)| Step::Scan { partition, entries, bytes }),
        1 => (0..60_u16, 0..30_usize, 0..400_usize)
            .prop_map(|(first, keys, length)| Step::Batch { first, keys, length }),
        1 => Just(Step::Reopen),
    ]
}

struct Model {
    engine: Engine,
    store: Store,
    map: BTreeMap<u16, Bytes>,
    frozen: Vec<(Arc<Frozen>, Lsn)>,
    limits: Limits,
}

impl Model {
    fn new(limits: Limits) -> Model {
        let (store, map) = (Store::default(), BTreeMap::new());
        Model { engine: Engine::new(limits), store, map, frozen: Vec::new(), limits }
    }

    fn insert(&mut self, number: u16, length: usize) {
        if self.engine.is_full() {
            self.flush();
        }
        let lsn = Lsn(self.store.log.len() as u64 + 1);
        let (key, state) = (key(number), state(number, length));
        let replaces = counts(&key, self.map.get(&number));
        let encoded = record::encode(&key, &state, replaces);
        self.store.log.push(LogRecord { lsn, bytes: encoded.bytes });
        self.engine.insert(&key, encoded.state, counts(&key, Some(&state)), lsn, replaces);
        self.map.insert(number, state);
        self.frozen.extend(self.engine.freeze());
        assert!(self.frozen.len() <= self.limits.frozen_max);
    }

    fn flush(&mut self) {
        if self.frozen.is_empty() {
            return;
        }
        let (frozen, through) = self.frozen.remove(0);
        let tables = self.store.flush(&frozen, through);
        self.engine.flushed(tables, through).unwrap();
        self.frozen.extend(self.engine.freeze());
    }

    fn merge(&mut self, group: u16, skip: usize, count: usize) {
        if let Some((removed, added)) = self.store.merge(group, skip, count) {
            self.engine.replaced(&removed, added).unwrap();
        }
    }

    /// Walks through a partition, with a write between two pages.
    fn scan(&mut self, partition: u16, entries: usize, bytes: usize) {
        let mut shown: Vec<(StoreKey, Bytes)> = Vec::new();
        let begin = |after: Option<&StoreKey>| Scan::new(PartitionId(partition * 16), after, entries, bytes);
        let mut scan = begin(None);
        for number in 0..100 {
            if number % 3 == 2 {
                // A new one shows the same as one that goes on.
                scan = begin(shown.last().map(|(key, _)| key));
            }
            let page = loop {
                match self.engine.scan(&mut scan) {
                    Scanned::Page(page) => break page,
                    Scanned::Fetch(runs) => {
                        assert!(!runs.is_empty());
                        for run in runs {
                            scan.hold(&run, self.store.fetch_run(&run));
                        }
                        assert!(scan.is_ready());
                    }
                    Scanned::Damaged { .. } => panic!("damaged"),
                }
            };
            let last = page.entries.last().map(|(key, _)| key);
            assert!(!page.more || last.is_some_and(|last| scan.is_behind(last)));
            assert!(page.entries.len() <= entries && (page.more || page.entries.len() < 100));
            assert!(!page.more || !page.entries.is_empty());
            shown.extend(page.entries);
            if !page.more {
                break;
            }
        }
        let mut expected: Vec<(StoreKey, Bytes)> = self
            .map
            .iter()
            .filter(|(number, _)| *number % 3 == partition)
            .map(|(number, state)| (key(*number), state.clone()))
            .collect();
        expected.sort();
        assert_eq!(shown, expected);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Insert { key, length } => self.insert(key, length),
            Step::Flush => self.flush(),
            Step::Get(number) => {
                let found = get(&mut self.engine, &self.store, &key(number), &mut |_| ());
                assert_eq!(found, self.map.get(&number).cloned(), "key {number}");
            }
            Step::GetMeanwhile { key: number, length } => {
                let mut out = Outbox::new();
                let Lookup::Fetch(search) = self.engine.lookup(&key(number), &mut out) else { return };
                let block = self.store.fetch(search.table(), search.block);
                self.insert(number, length);
                self.insert(number + 1, length);
                self.flush();
                self.flush();
                let found = match self.engine.resume(search, block, &mut out) {
                    Lookup::Memory { state, .. } | Lookup::Table { state } => Some(state),
                    Lookup::Absent => None,
                    Lookup::Fetch(_) => get(&mut self.engine, &self.store, &key(number), &mut |_| ()),
                    Lookup::Damaged { .. } => panic!("damaged"),
                };
                assert_eq!(found, self.map.get(&number).cloned(), "key {number}, written meanwhile");
            }
            Step::GetMerged(number) => {
                let mut out = Outbox::new();
                let Lookup::Fetch(search) = self.engine.lookup(&key(number), &mut out) else { return };
                (0..3).for_each(|skip| self.merge(number % 3, skip, 3));
                if self.store.has(search.table()) {
                    return;
                }
                let found = match self.engine.again(&search, &mut out) {
                    Lookup::Memory { state, .. } | Lookup::Table { state } => Some(state),
                    Lookup::Absent => None,
                    Lookup::Fetch(_) => get(&mut self.engine, &self.store, &key(number), &mut |_| ()),
                    Lookup::Damaged { .. } => panic!("damaged"),
                };
                assert_eq!(found, self.map.get(&number).cloned(), "key {number}, merged meanwhile");
            }
            Step::Merge { group, skip, count } => self.merge(group, skip, count),
            Step::Scan { partition, entries, bytes } => self.scan(partition, entries, bytes),
            Step::Batch { first, keys, length } => {
                // Not in order.
                let numbers: Vec<u16> =
                    (0..70).cycle().skip(usize::from(first)).step_by(11).take(keys).collect();
                let mut written = 0;
                let (found, _) = runs::batch(self, &numbers, &mut |model, _| {
                    written += 1;
                    if written <= 3 {
                        model.insert(first + written, length);
                        model.flush();
                        model.merge(first % 3, 0, 3);
                    }
                });
                let expected: Vec<_> = numbers.iter().map(|number| self.map.get(number).cloned()).collect();
                assert_eq!(found, expected, "{numbers:?}");
            }
            Step::Reopen => {
                self.engine = self.store.reopen(self.limits);
                self.frozen.clear();
                self.frozen.extend(self.engine.freeze());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_engine_is_a_map(steps in prop::collection::vec(step(), 1..250), cache_bytes in 0..60_000_usize) {
        let limits = Limits { memtable_bytes: 4000, frozen_max: 2, cache_bytes };
        let mut model = Model::new(limits);
        steps.into_iter().for_each(|step| model.step(step));
        for number in 0..70 {
            model.step(Step::Get(number));
        }
        model.step(Step::Reopen);
        for number in 0..70 {
            model.step(Step::Get(number));
        }
    }
}

#[test]
fn bytes_are_counted_exactly_and_a_full_engine_says_so() {
    use crate::memtable::ENTRY_OVERHEAD_BYTES;
    let limits = Limits { memtable_bytes: 1000, frozen_max: 1, cache_bytes: 0 };
    let mut engine = Engine::new(limits);
    let entry = key(1).as_bytes().len() + ENTRY_OVERHEAD_BYTES;
    put(&mut engine, 1, state(1, 100), 1);
    assert_eq!(engine.memtable_bytes(), entry + state(1, 100).len());
    put(&mut engine, 1, state(1, 30), 2);
    assert_eq!(engine.memtable_bytes(), entry + state(1, 30).len());
    assert_eq!(engine.freeze(), None);
    put(&mut engine, 2, state(2, 2000), 3);
    let (frozen, through) = engine.freeze().unwrap();
    assert_eq!((frozen.entries.len(), through), (2, Lsn(3)));
    let both = state(1, 30).len() + state(2, 2000).len();
    assert_eq!(engine.memtable_bytes(), 2 * entry + both, "a frozen one counts until it is a table");
    assert!(!engine.is_full());
    put(&mut engine, 2, state(2, 2000), 4);
    assert!(engine.is_full());
    assert_eq!(engine.freeze(), None, "one waits already");
    let tables = Store::default().flush(&frozen, through);
    engine.flushed(tables, through).unwrap();
    assert!(!engine.is_full());
    assert_eq!(engine.memtable_bytes(), entry + state(2, 2000).len());
    assert!(engine.freeze().is_some());
}

#[test]
fn keys_written_over_and_over_do_not_keep_the_log_for_ever() {
    let limits = Limits { memtable_bytes: 1000, frozen_max: 1, cache_bytes: 0 };
    let mut engine = Engine::new(limits);
    let mut written = 0;
    let frozen = (1..100).find_map(|lsn| {
        put(&mut engine, 1, state(1, 100), lsn);
        written += state(1, 100).len() + key(1).as_bytes().len();
        engine.freeze().map(|(frozen, through)| (frozen.entries.len(), through == Lsn(lsn)))
    });
    assert_eq!(frozen, Some((1, true)));
    let bound = LOG_PER_MEMTABLE * limits.memtable_bytes;
    assert!((bound..bound + 300).contains(&written), "{written}");
    assert_eq!(engine.freeze(), None, "an empty one is not frozen");
}

#[test]
fn a_group_without_its_tables_keeps_what_is_in_memory() {
    let limits = Limits { memtable_bytes: 400, frozen_max: 2, cache_bytes: 0 };
    let mut engine = Engine::new(limits);
    let mut store = Store::default();
    for number in 0..6 {
        put(&mut engine, number, state(number, 100), u64::from(number) + 1);
    }
    let (frozen, through) = engine.freeze().unwrap();
    let tables = store.flush(&frozen, through);
    engine.flushed(tables.clone(), through).unwrap();
    put(&mut engine, 3, state(9, 10), 7);
    assert_eq!(tables.len(), 3);
    assert_eq!(
        tables.iter().map(|table| engine.group_of_table(table.id)).collect::<Vec<_>>(),
        [Some(0), Some(1), Some(2)]
    );
    // Keys 0, 3 and 6 are of group 0. One is in a memtable whose tables are being written.
    put(&mut engine, 6, state(6, 600), 8);
    let (_, through) = engine.freeze().unwrap();
    put(&mut engine, 3, state(9, 20), 9);
    engine.drop_group(0);
    assert_eq!(engine.group_of_table(tables[0].id), None);
    let mut known = |number| get(&mut engine, &store, &key(number), &mut |_| ());
    assert_eq!((known(0), known(3), known(6)), (None, Some(state(9, 20)), None));
    assert_eq!((known(1), known(5)), (Some(state(1, 100)), Some(state(5, 100))));
    engine.flushed(vec![], through).unwrap();
    assert_eq!(engine.remembered(&key(3)), Some((state(9, 20), Lsn(9))));
    assert_eq!(engine.remembered(&key(6)), None);
}

#[test]
fn a_state_in_memory_comes_with_its_position() {
    let mut engine = Engine::new(Limits::default());
    put(&mut engine, 1, state(1, 5), 7);
    let mut out = Outbox::new();
    assert!(matches!(engine.lookup(&key(1), &mut out), Lookup::Memory { lsn: Lsn(7), .. }));
    assert!(matches!(engine.lookup(&key(2), &mut out), Lookup::Absent));
}
