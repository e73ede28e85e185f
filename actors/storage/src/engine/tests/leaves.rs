//! The hash trees of the engine are those of what it holds: through flushes, merges, losses of a group's tables, and crashes
//! between all of them.

use super::*;
use anser_model::merkle::{Tally, Tree, TreeId};
use anser_model::ring::Within;

/// The partitions of the test's keys, each of a group of its own.
const PARTITIONS: [u16; 3] = [0, 16, 32];

/// All that the engine holds of a partition.
fn all_of(engine: &mut Engine, store: &Store, partition: u16) -> Vec<(StoreKey, Bytes)> {
    let mut scan = Scan::new(PartitionId(partition), None, usize::MAX, usize::MAX);
    loop {
        match engine.scan(&mut scan) {
            Scanned::Page(page) => return page.entries,
            Scanned::Fetch(runs) => {
                for run in runs {
                    scan.hold(&run, store.fetch_run(&run));
                }
            }
            Scanned::Damaged { .. } => panic!("damaged"),
        }
    }
}

/// A partition's tree from nothing, at this depth.
fn summed_up(entries: &[(StoreKey, Bytes)], depth: u8) -> Tree {
    let mut tree = Tree::new(depth);
    for (key, state) in entries {
        let within = u32::from_be_bytes(*key.as_bytes()[6..].first_chunk().unwrap());
        tree.change(Within(within), Tally::of(counts(key, Some(state))));
    }
    tree
}

fn check(engine: &mut Engine, store: &Store, when: &dyn std::fmt::Debug) {
    for partition in PARTITIONS {
        let entries = all_of(engine, store, partition);
        let kept = engine.leaves(PartitionId(partition), KeyspaceId(1));
        let depth = kept.map_or(0, Tree::depth);
        let kept = kept.cloned().unwrap_or_else(|| Tree::new(0));
        assert_eq!(kept, summed_up(&entries, depth), "partition {partition} after {when:?}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    /// So many keys from this one on are written.
    Write {
        from: u16,
        keys: u16,
        length: usize,
    },
    Flush,
    Merge {
        group: u16,
        skip: usize,
        count: usize,
    },
    /// A group's tables can't be trusted; keys are written while they are dropped.
    Lose {
        group: u16,
        keys: u16,
        /// The process ends after this many stages of it.
        crash: Option<u8>,
    },
    Crash,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..600_u16, 1..60_u16, 0..300_usize)
            .prop_map(|(from, keys, length)| Change::Write { from, keys, length }),
        3 => Just(Change::Flush),
        3 => (0..3_u16, 0..3_usize, 1..6_usize)
            .prop_map(|(group, skip, count)| Change::Merge { group, skip, count }),
        2 => (0..3_u16, 0..12_u16, prop::option::of(0..3_u8))
            .prop_map(|(group, keys, crash)| Change::Lose { group, keys, crash }),
        2 => Just(Change::Crash),
    ]
}

/// An engine and its store, driven as a replica does it.
struct Kept {
    engine: Engine,
    store: Store,
    frozen: Vec<(Arc<Frozen>, Lsn)>,
    limits: Limits,
    /// Whether a group's tables are being dropped: nothing is frozen meanwhile.
    losing: bool,
}

impl Kept {
    fn write(&mut self, number: u16, length: usize) {
        if self.engine.is_full() && !self.losing {
            self.flush(None);
        }
        let lsn = Lsn(self.store.log.len() as u64 + 1);
        let (key, state) = (key(number), state(number, length));
        let before = get(&mut self.engine, &self.store, &key, &mut |_| ());
        let replaces = counts(&key, before.as_ref());
        let encoded = record::encode(&key, &state, replaces);
        self.store.log.push(LogRecord { lsn, bytes: encoded.bytes });
        self.engine.insert(&key, encoded.state, counts(&key, Some(&state)), lsn, replaces);
        self.freeze();
    }

    fn freeze(&mut self) {
        if !self.losing {
            self.frozen.extend(self.engine.freeze());
        }
    }

    /// The first frozen memtable becomes tables; those of a void group are not looked at.
    fn flush(&mut self, void: Option<u16>) {
        if self.frozen.is_empty() {
            return;
        }
        let (frozen, through) = self.frozen.remove(0);
        let mut tables = self.store.flush(&frozen, through);
        tables.retain(|table| Some(table.group) != void);
        self.engine.flushed(tables, through).unwrap();
        self.freeze();
    }

    fn merge(&mut self, group: u16, skip: usize, count: usize) {
        if let Some((removed, added)) = self.store.merge(group, skip, count) {
            self.engine.replaced(&removed, added).unwrap();
        }
    }

    /// The process ends, and is started again. `void` is a group whose tables are known to be void.
    fn crash(&mut self, void: Option<u16>) {
        let mut engine = Engine::new(self.limits);
        let tables = recovery::tables_of(&self.store.trees, &self.store.manifest, 0).unwrap().tables;
        engine.recovered_tables(tables).unwrap();
        if let Some(group) = void {
            engine.drop_group(group);
        }
        let through = self.store.manifest.flushed(0);
        let rest: Vec<LogRecord> =
            self.store.log.iter().filter(|record| record.lsn > through).cloned().collect();
        rest.chunks(7).for_each(|records| engine.recovered_log(records).unwrap());
        self.engine = engine;
        self.frozen.clear();
        self.freeze();
    }

    fn wipe(&mut self, group: u16) {
        for table in self.store.manifest.wipe(0, group) {
            self.store.trees.drop_tree(TreeName::Table(table)).unwrap();
        }
    }

    fn lose(&mut self, group: u16, keys: u16, crash: Option<u8>) {
        self.losing = true;
        self.engine.drop_group(group);
        check(&mut self.engine, &self.store, &"the loss");
        // Of the group and of others.
        (0..keys).for_each(|number| self.write(number * 4 + group, usize::from(keys)));
        // Tables that were asked for before are written, and dropped.
        if crash != Some(0) {
            while !self.frozen.is_empty() {
                self.flush(Some(group));
            }
            check(&mut self.engine, &self.store, &"the last flush before the wipe");
        }
        if crash.is_some_and(|stages| stages < 2) {
            self.crash(Some(group));
            check(&mut self.engine, &self.store, &"a crash before the wipe");
        }
        self.wipe(group);
        (0..keys).for_each(|number| self.write(number * 5 + group, usize::from(keys) + 1));
        self.losing = false;
        self.freeze();
        if crash == Some(2) {
            self.crash(None);
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Write { from, keys, length } => {
                (from..from + keys).for_each(|number| self.write(number, length));
            }
            Change::Flush => self.flush(None),
            Change::Merge { group, skip, count } => self.merge(group, skip, count),
            Change::Lose { group, keys, crash } => self.lose(group, keys, crash),
            Change::Crash => self.crash(None),
        }
        check(&mut self.engine, &self.store, &change);
    }
}

fn kept(limits: Limits) -> Kept {
    let engine = Engine::new(limits);
    Kept { engine, store: Store::default(), frozen: Vec::new(), limits, losing: false }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_leaves_are_those_of_what_is_held(
        changes in prop::collection::vec(change(), 1..40), memtable_bytes in 4000..40_000_usize,
    ) {
        let mut kept = kept(Limits { memtable_bytes, frozen_max: 2, cache_bytes: 1 << 20 });
        changes.into_iter().for_each(|change| kept.change(change));
        kept.change(Change::Crash);
    }
}

#[test]
fn a_tree_is_as_deep_as_its_tables_allow_and_a_merge_of_the_oldest_makes_it_deeper() {
    // A cache that its tree alone is too large for.
    let mut kept = kept(Limits { memtable_bytes: 20_000, frozen_max: 1, cache_bytes: 400 });
    let depth = |kept: &Kept| kept.engine.leaves(PartitionId(0), KeyspaceId(1)).unwrap().depth();
    let id = TreeId { partition: PartitionId(0), keyspace: KeyspaceId(1) };
    let write = |kept: &mut Kept, keys: std::ops::Range<u16>| {
        keys.for_each(|number| kept.write(number * 3, 10));
        while !kept.frozen.is_empty() {
            kept.flush(None);
        }
        check(&mut kept.engine, &kept.store, &"a write");
    };
    write(&mut kept, 0..60);
    assert!(kept.store.manifest.tables.len() == 1 && depth(&kept) == 0);
    write(&mut kept, 60..400);
    assert_eq!(depth(&kept), 0, "the first table tells one leaf");
    assert!(kept.engine.tables().iter().any(|table| table.coarse));
    assert_eq!(kept.engine.trees.keys_max(id), Some(i64::MAX), "until other tables come");
    assert!(kept.engine.tree_bytes() > size_of::<Tally>() * 17, "what is finer is kept for later");
    kept.crash(None);
    assert_eq!(depth(&kept), 0);
    let tables = kept.store.manifest.tables.len();
    kept.merge(0, 0, tables - 1);
    check(&mut kept.engine, &kept.store, &"a merge without the oldest");
    assert_eq!(depth(&kept), 0);
    kept.merge(0, 0, 2);
    check(&mut kept.engine, &kept.store, &"a merge of all");
    assert_eq!(depth(&kept), 1);
    let (cache, trees) = (kept.engine.cache.bytes_max(), kept.engine.tree_bytes());
    assert_eq!(cache, kept.limits.cache_beside(trees), "the cache knows of the trees");
    assert!(cache < kept.limits.cache_bytes, "beside {trees} bytes");
    assert_eq!(kept.engine.trees.keys_max(id), Some(1024));
    assert!(kept.engine.tables().iter().all(|table| !table.coarse));
    let tree_bytes = kept.engine.leaves(PartitionId(0), KeyspaceId(1)).unwrap().bytes();
    assert_eq!(kept.engine.tree_bytes(), tree_bytes, "nothing is kept twice");
    kept.crash(None);
    assert_eq!(depth(&kept), 1);
    check(&mut kept.engine, &kept.store, &"a crash");
}

#[test]
fn trees_in_memory_become_deeper_as_keys_come() {
    let mut engine = Engine::new(Limits::default());
    for number in 0..200 {
        put(&mut engine, number * 3, state(number, 1), u64::from(number) + 1);
        let tree = engine.leaves(PartitionId(0), KeyspaceId(1)).unwrap();
        assert_eq!((tree.depth(), tree.root().keys), (u8::from(number >= 64), i64::from(number) + 1));
    }
    check(&mut engine, &Store::default(), &"all");
    assert_eq!(engine.leaves(PartitionId(7), KeyspaceId(1)), None);
}

#[test]
fn the_cache_gives_way_to_hash_trees_but_keeps_a_part() {
    let limits = Limits { cache_bytes: 800, ..Limits::default() };
    let table = [(0, 800), (800, 800), (801, 799), (1500, 100), (1501, 100), (usize::MAX, 100)];
    for (trees, cache) in table {
        assert_eq!(limits.cache_beside(trees), cache, "beside trees of {trees} bytes");
    }
}
