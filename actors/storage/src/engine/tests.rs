//! The engine against a map, through freezes, flushes, fetches and reopening.

use super::*;
use crate::record;
use crate::table::{Finished, chunk};
use anser_model::{Key, KeyspaceId, PartitionId};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A disk that does at once what it is asked.
#[derive(Default)]
struct Store {
    tables: BTreeMap<TableId, Finished>,
    log: Vec<LogRecord>,
    through: Lsn,
}

impl Store {
    fn flush(&mut self, frozen: &Frozen, through: Lsn) -> (TableId, Bytes) {
        let id = TableId(self.tables.len() as u64 + 1);
        let finished = crate::table::write(id, frozen);
        let meta = finished.meta.clone();
        self.tables.insert(id, finished);
        self.through = through;
        (id, meta)
    }

    fn fetch(&self, table: TableId, block: u32) -> Bytes {
        let finished = &self.tables[&table];
        let get = |number: u32| {
            Ok::<_, chunk::BadChunk>(finished.chunks.get(number as usize).cloned().map(Bytes::from))
        };
        block::unpack(&chunk::join(table, block, get).unwrap().0).unwrap()
    }

    fn reopen(&self, limits: Limits) -> Engine {
        let mut engine = Engine::new(limits);
        let tables = self.tables.iter().rev().map(|(id, table)| (*id, table.meta.clone())).collect();
        engine.recovered_tables(tables).unwrap();
        let rest: Vec<LogRecord> =
            self.log.iter().filter(|record| record.lsn > self.through).cloned().collect();
        engine.recovered_log(&rest).unwrap();
        engine
    }
}

fn key(number: u16) -> StoreKey {
    StoreKey::new(
        PartitionId(number % 3),
        KeyspaceId(1),
        &Key::new(format!("key{}", number / 3).into_bytes()).unwrap(),
    )
}

fn state(number: u16, length: usize) -> Bytes {
    (0..length).map(|at| (at * usize::from(number + 1) % 253) as u8).collect()
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
                let block = store.fetch(search.table(), search.block());
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
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..60_u16, prop_oneof![9 => 0..400_usize, 1 => 4000..9000_usize])
            .prop_map(|(key, length)| Step::Insert { key, length }),
        1 => Just(Step::Flush),
        4 => (0..70_u16).prop_map(Step::Get),
        1 => (0..60_u16, 0..400_usize).prop_map(|(key, length)| Step::GetMeanwhile { key, length }),
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
    fn insert(&mut self, number: u16, length: usize) {
        if self.engine.is_full() {
            self.flush();
        }
        let lsn = Lsn(self.store.log.len() as u64 + 1);
        let encoded = record::encode(&key(number), &state(number, length));
        self.store.log.push(LogRecord { lsn, bytes: encoded.bytes });
        self.engine.insert(&key(number), encoded.state, lsn);
        self.map.insert(number, state(number, length));
        self.frozen.extend(self.engine.freeze());
        assert!(self.frozen.len() <= self.limits.frozen_max);
    }

    fn flush(&mut self) {
        if self.frozen.is_empty() {
            return;
        }
        let (frozen, through) = self.frozen.remove(0);
        let (id, meta) = self.store.flush(&frozen, through);
        self.engine.flushed(id, meta, through).unwrap();
        self.frozen.extend(self.engine.freeze());
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
                let block = self.store.fetch(search.table(), search.block());
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
        let mut model = Model {
            engine: Engine::new(limits),
            store: Store::default(),
            map: BTreeMap::new(),
            frozen: Vec::new(),
            limits,
        };
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
    engine.insert(&key(1), state(1, 100), Lsn(1));
    assert_eq!(engine.memtable_bytes(), entry + 100);
    engine.insert(&key(1), state(1, 30), Lsn(2));
    assert_eq!(engine.memtable_bytes(), entry + 30);
    assert_eq!(engine.freeze(), None);
    engine.insert(&key(2), state(2, 2000), Lsn(3));
    let (frozen, through) = engine.freeze().unwrap();
    assert_eq!((frozen.len(), through), (2, Lsn(3)));
    assert_eq!(engine.memtable_bytes(), 2 * entry + 2030, "a frozen one counts until it is a table");
    assert!(!engine.is_full());
    engine.insert(&key(2), state(2, 2000), Lsn(4));
    assert!(engine.is_full());
    assert_eq!(engine.freeze(), None, "one waits already");
    let meta = crate::table::write(TableId(1), &frozen).meta;
    engine.flushed(TableId(1), meta, through).unwrap();
    assert!(!engine.is_full());
    assert_eq!(engine.memtable_bytes(), entry + 2000);
    assert!(engine.freeze().is_some());
}

#[test]
fn keys_written_over_and_over_do_not_keep_the_log_for_ever() {
    let limits = Limits { memtable_bytes: 1000, frozen_max: 1, cache_bytes: 0 };
    let mut engine = Engine::new(limits);
    let mut written = 0;
    let frozen = (1..100).find_map(|lsn| {
        engine.insert(&key(1), state(1, 100), Lsn(lsn));
        written += 100 + key(1).as_bytes().len();
        engine.freeze().map(|(frozen, through)| (frozen.len(), through == Lsn(lsn)))
    });
    assert_eq!(frozen, Some((1, true)));
    let bound = LOG_PER_MEMTABLE * limits.memtable_bytes;
    assert!((bound..bound + 300).contains(&written), "{written}");
    assert_eq!(engine.freeze(), None, "an empty one is not frozen");
}

#[test]
fn a_state_in_memory_comes_with_its_position() {
    let mut engine = Engine::new(Limits::default());
    engine.insert(&key(1), state(1, 5), Lsn(7));
    let mut out = Outbox::new();
    assert!(matches!(engine.lookup(&key(1), &mut out), Lookup::Memory { lsn: Lsn(7), .. }));
    assert!(matches!(engine.lookup(&key(2), &mut out), Lookup::Absent));
}
