//! Merges over trees in memory, crashed anywhere.

use super::Merge;
use crate::store::memory::Memory;
use crate::store::{Manifest, TableEntry, Trees, install, recovery};
use crate::table::{Table, block};
use anser_machine::{Frozen, Lsn, Stored, TableId};
use anser_model::merkle::Fingerprint;
use bytes::Bytes;
use std::collections::BTreeMap;

type Map = BTreeMap<Bytes, Bytes>;

fn key(partition: u16, number: u32) -> Bytes {
    [&partition.to_be_bytes()[..], &number.to_be_bytes()].concat().into()
}

fn state(age: u8, number: u32) -> Bytes {
    vec![age; 30 + number as usize % 900].into()
}

struct Shop {
    trees: Memory,
    manifest: Manifest,
    next: u64,
    /// What look-ups must find.
    map: Map,
}

impl Shop {
    fn new() -> Shop {
        let trees = Memory::default();
        recovery::create(&trees).unwrap();
        Shop { trees, manifest: Manifest::default(), next: 1, map: Map::new() }
    }

    fn list(&mut self, change: impl FnOnce(&mut Manifest)) {
        change(&mut self.manifest);
        self.manifest.changes += 1;
        Manifest::CELL.write(&self.trees, &self.manifest.encode()).unwrap().sweep(&self.trees).unwrap();
    }

    fn flush(&mut self, age: u8, keys: impl Iterator<Item = (u16, u32)>) {
        let mut frozen = Frozen::default();
        for (partition, number) in keys {
            let (key, state) = (key(partition, number), state(age, number));
            let voids = self.map.insert(key.clone(), state.clone()).is_some();
            let replaces = if voids { Fingerprint(1) } else { Fingerprint::NONE };
            frozen
                .entries
                .insert(key.into(), Stored { state, lsn: Lsn(1), counts: Fingerprint(1), replaces });
        }
        let next = &mut self.next;
        let mut next_id = || {
            *next += 1;
            TableId(*next)
        };
        let tables = install::write_frozen(&self.trees, &mut next_id, 0, &frozen).unwrap();
        self.list(|manifest| manifest.install(0, tables.into_iter().map(|(entry, _)| entry), Lsn(1)));
        self.trees.sync().unwrap();
    }

    fn ids(&self) -> Vec<TableId> {
        self.manifest.tables.iter().map(|table| TableId(table.id)).collect()
    }

    fn merge(&mut self, inputs: &[TableId], step_bytes: usize) -> bool {
        let Some(mut merge) = Merge::begin(&self.trees, &self.manifest, 0, inputs).unwrap() else {
            return false;
        };
        let next = &mut self.next;
        let mut next_id = || {
            *next += 1;
            TableId(*next)
        };
        while !merge.step(&self.trees, step_bytes, &mut next_id).unwrap() {}
        let merged = merge.finish();
        self.list(|manifest| {
            manifest.replace(&merged.removed, merged.added.into_iter().map(|(entry, _)| entry))
        });
        true
    }
}

/// All that a store's tables hold, of each key the newest.
fn content(trees: &Memory, manifest: &Manifest) -> Map {
    let mut tables: Vec<&TableEntry> = manifest.tables.iter().collect();
    tables.sort_by_key(|table| table.age);
    let mut map = Map::new();
    for entry in tables {
        let meta = recovery::tables_of(trees, manifest, 0).unwrap().tables;
        let meta = meta.into_iter().find(|table| table.id.0 == entry.id).unwrap().meta;
        let table = Table::open(TableId(entry.id), meta).unwrap();
        for number in table.blocks() {
            let content = recovery::read_block(trees, table.id(), number).unwrap();
            map.extend(block::entries(&content).unwrap());
        }
    }
    map
}

fn three_runs() -> Shop {
    let mut shop = Shop::new();
    shop.flush(1, (0..40).map(|number| (3, number)));
    shop.flush(2, (20..60).map(|number| (4, number)).chain((0..10).map(|number| (3, number * 2))));
    shop.flush(3, (0..50).map(|number| (3, number * 3)));
    shop
}

#[test]
fn a_merge_changes_no_answer_wherever_a_crash_comes() {
    let mut shop = three_runs();
    let expected = shop.map.clone();
    assert_eq!(content(&shop.trees, &shop.manifest), expected);
    let inputs = shop.ids();
    assert!(shop.merge(&inputs, 500));
    assert_eq!(shop.manifest.tables.len(), 1);
    let changes = shop.trees.unsynced();
    for kept in (0..=changes).step_by(3).chain([changes]) {
        let crashed = shop.trees.crash(kept);
        let opened = recovery::open(&crashed).unwrap();
        assert_eq!(opened.manifest.tables.len(), if kept == changes { 1 } else { 3 });
        assert_eq!(content(&crashed, &opened.manifest), expected, "{kept} of {changes}");
        assert!(crashed.names().unwrap().iter().all(|name| opened.manifest.lists(*name)));
    }
}

#[test]
fn what_is_void_is_counted_until_it_is_gone() {
    let mut shop = three_runs();
    let voids = |shop: &Shop| shop.manifest.tables.iter().map(|table| table.voids).collect::<Vec<_>>();
    assert_eq!(voids(&shop), [0, 10, 14]);
    let newest = shop.ids().split_off(1);
    assert!(shop.merge(&newest, usize::MAX));
    let both = 4; // 0, 6, 12 and 18 times one are in both.
    assert_eq!(voids(&shop), [0, 10 + 14 - both]);
    let all = shop.ids();
    assert!(shop.merge(&all, usize::MAX));
    assert_eq!(voids(&shop), [0]);
}

#[test]
fn only_neighbours_of_one_group_are_merged() {
    let mut shop = three_runs();
    let ids = shop.ids();
    assert!(!shop.merge(&[ids[0], ids[2]], 500), "one lies between");
    assert!(!shop.merge(&[ids[0], TableId(99)], 500), "it is gone");
    assert!(!shop.merge(&[], 500));
    shop.flush(4, [(16, 1)].into_iter());
    let ids = shop.ids();
    assert!(!shop.merge(&[ids[2], ids[3]], 500), "another group");
    assert_eq!(content(&shop.trees, &shop.manifest), shop.map);
}

#[test]
fn large_tables_end_with_their_partition() {
    let mut shop = Shop::new();
    let noise = |number: u32| -> Bytes {
        let mut word = u64::from(number) | 1 << 40;
        let next = |_| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word as u8
        };
        (0..1 << 20).map(next).collect()
    };
    for age in 0..2 {
        let keys =
            (0..30_u32).map(|number| (key((number / 10) as u16, number * 2 + age), noise(number * 2 + age)));
        let frozen: Frozen = keys
            .map(|(key, state)| {
                (
                    key.into(),
                    Stored { state, lsn: Lsn(1), counts: Fingerprint::NONE, replaces: Fingerprint::NONE },
                )
            })
            .collect();
        let next = &mut shop.next;
        let mut next_id = || {
            *next += 1;
            TableId(*next)
        };
        let tables = install::write_frozen(&shop.trees, &mut next_id, 0, &frozen).unwrap();
        shop.manifest.install(0, tables.into_iter().map(|(entry, _)| entry), Lsn(1));
    }
    let inputs = shop.ids();
    assert!(shop.merge(&inputs, usize::MAX));
    let tables = recovery::tables_of(&shop.trees, &shop.manifest, 0).unwrap().tables;
    let partitions: Vec<(u8, u8)> = tables
        .into_iter()
        .map(|stored| Table::open(stored.id, stored.meta).unwrap())
        .map(|table| (table.range().0[1], table.range().1[1]))
        .collect();
    assert_eq!(partitions, [(0, 0), (1, 1), (2, 2)]);
    assert!(shop.manifest.tables.windows(2).all(|pair| pair[0].age == pair[1].age));
}
