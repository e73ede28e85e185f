//! Cells, manifest and recovery over trees in memory, crashed anywhere.

use super::cell::{Cell, sweep_tree};
use super::memory::Memory;
use super::*;
use crate::table::Table;
use anser_machine::{Frozen, Lsn, SlotName, Stored, StoredTable, TableId};
use anser_model::merkle::Fingerprint;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Crashes keep more with each one.
#[derive(Default)]
struct InMemory(usize);

impl conformance::Stand for InMemory {
    type Trees = Memory;

    fn fresh(&mut self) -> Memory {
        Memory::default()
    }

    fn reopened(&mut self, trees: Memory) -> Memory {
        assert_eq!(trees.unsynced(), 0);
        trees
    }

    fn killed(&mut self, trees: Memory) -> Memory {
        self.0 += 1;
        trees.crash(self.0 % (trees.unsynced() + 1))
    }
}

#[test]
fn memory_is_as_all_trees_are() {
    conformance::check(&mut InMemory::default());
}

const CELL: Cell = Cell { tree: TreeName::Slots, name: 7 };

fn content(byte: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| byte.wrapping_add((at % 251) as u8)).collect()
}

#[test]
fn tree_names_come_back() {
    for name in [TreeName::Manifest, TreeName::Slots, TreeName::Log(12), TreeName::Table(TableId(3))] {
        assert_eq!(TreeName::parse(&name.to_string()), Some(name));
    }
    for name in ["", "log", "log/", "log/x", "sst/-1", "manifest/1", "__sled__default"] {
        assert_eq!(TreeName::parse(name), None, "{name}");
    }
}

fn keys_in(trees: &Memory) -> usize {
    let mut keys = 0;
    trees
        .walk(CELL.tree, &mut |_, _| {
            keys += 1;
            core::ops::ControlFlow::Continue(())
        })
        .unwrap();
    keys
}

/// A cell's head, and its pieces.
fn keys_of(content: &[u8]) -> usize {
    if content.len() > 32 * 1024 { 1 + content.len().div_ceil(32 * 1024) } else { 1 }
}

#[test]
fn a_cell_has_its_old_content_or_its_new_one() {
    for (old, new) in [(10, 20), (10, 100_000), (100_000, 10), (100_000, 70_000), (0, 32 * 1024)] {
        let (old, new) = (content(1, old), content(2, new));
        let trees = Memory::default();
        assert_eq!(CELL.read(&trees), Ok(None));
        CELL.write(&trees, &old).unwrap().sweep(&trees).unwrap();
        trees.sync().unwrap();
        let stale = CELL.write(&trees, &new).unwrap();
        let changes = trees.unsynced();
        for kept in 0..=changes {
            let crashed = trees.crash(kept);
            sweep_tree(&crashed, CELL.tree).unwrap();
            let expected = if kept == changes { &new } else { &old };
            assert_eq!(CELL.read(&crashed).unwrap().as_deref(), Some(expected.as_slice()), "{kept}");
            assert_eq!(keys_in(&crashed), keys_of(expected), "swept");
        }
        trees.sync().unwrap();
        stale.sweep(&trees).unwrap();
        assert_eq!(keys_in(&trees), keys_of(&new), "swept");
        assert_eq!(CELL.read(&trees).unwrap().as_deref(), Some(new.as_slice()));
    }
}

#[test]
fn a_flip_in_a_cell_is_noticed() {
    for length in [20, 40_000] {
        let trees = Memory::default();
        CELL.write(&trees, &content(1, length)).unwrap().sweep(&trees).unwrap();
        let mut places = Vec::new();
        trees
            .walk(CELL.tree, &mut |key, value| {
                places.extend((0..value.len()).step_by(97.min(value.len())).map(|at| (key.to_vec(), at)));
                core::ops::ControlFlow::Continue(())
            })
            .unwrap();
        for (key, at) in places {
            trees.edit(CELL.tree, &key, |value| value[at] ^= 8);
            assert!(matches!(CELL.read(&trees), Err(StoreError::Damaged(_))), "{key:?} {at}");
            trees.edit(CELL.tree, &key, |value| value[at] ^= 8);
        }
    }
}

#[test]
fn slots_have_their_cells_and_a_damaged_one_damages_the_store() {
    let cells = [
        (SlotName::Ring, 3, 1),
        (SlotName::Incarnation, 3, 2),
        (SlotName::Peers, 3, 3),
        (SlotName::Copies, 0, 16),
        (SlotName::Copies, 3, 19),
    ];
    for (slot, shard, name) in cells {
        let cell = Cell::of(slot, shard);
        assert_eq!(cell, Cell { tree: TreeName::Slots, name });
        let trees = Memory::default();
        recovery::create(&trees).unwrap();
        cell.write(&trees, &content(1, 70)).unwrap().sweep(&trees).unwrap();
        recovery::open(&trees).unwrap();
        trees.edit(TreeName::Slots, &[name], |value| value[30] ^= 1);
        assert!(matches!(recovery::open(&trees), Err(StoreError::Damaged(_))), "{slot:?}");
    }
}

#[test]
fn a_group_is_wiped_and_no_other() {
    let entry = |id, shard, group| TableEntry {
        id,
        shard,
        group,
        age: id,
        voids: 0,
        meta_at: 0,
        chunks: 1,
        bytes: 1,
    };
    let tables = vec![entry(1, 0, 0), entry(2, 0, 1), entry(3, 1, 1), entry(4, 0, 1)];
    let mut manifest = Manifest { tables, ..Manifest::default() };
    assert_eq!(manifest.wipe(0, 1), [TableId(2), TableId(4)]);
    assert_eq!(manifest.tables.iter().map(|table| table.id).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(manifest.wipe(0, 1), []);
}

#[test]
fn the_manifest_has_its_golden_bytes() {
    let manifest = Manifest {
        changes: 9,
        next_table: 3,
        next_segment: 300,
        flushed: BTreeMap::from([(1, 5)]),
        tables: vec![TableEntry {
            id: 2,
            shard: 1,
            group: 7,
            age: 2,
            voids: 8,
            meta_at: 4,
            chunks: 5,
            bytes: 6,
        }],
        segments: vec![299],
    };
    let bytes = manifest.encode();
    assert_eq!(
        bytes,
        b"\x02\x09\x03\xac\x02\x01\x01\x05\x01\x02\x01\x07\x02\x08\x04\x05\x06\x01\xab\x02\xd0\x17\xd1\xa7",
        "{}",
        bytes.escape_ascii()
    );
    assert_eq!(Manifest::decode(&bytes), Ok(manifest));
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert_eq!(Manifest::decode(&flipped), Err(BadManifest), "byte {at}");
        assert_eq!(Manifest::decode(&bytes[..at]), Err(BadManifest), "cut at {at}");
    }
}

fn frozen(keys: std::ops::Range<u32>, byte: u8) -> Frozen {
    let stored = |key: u32| Stored {
        state: content(byte, key as usize * 7 % 900).into(),
        lsn: Lsn(1),
        counts: Fingerprint::NONE,
        replaces: Fingerprint::NONE,
    };
    keys.map(|key| (Bytes::from(format!("key{key:06}")).into(), stored(key))).collect()
}

fn install(trees: &Memory, manifest: &mut Manifest, id: u64, frozen: &Frozen, through: u64) {
    let tables = install::write_frozen(trees, &mut || TableId(id), 0, frozen).unwrap();
    manifest.install(0, tables.into_iter().map(|(entry, _)| entry), Lsn(through));
    Manifest::CELL.write(trees, &manifest.encode()).unwrap().sweep(trees).unwrap();
}

#[test]
fn a_table_counts_whole_or_not_at_all() {
    let trees = Memory::default();
    recovery::create(&trees).unwrap();
    let mut manifest = Manifest::default();
    install(&trees, &mut manifest, 1, &frozen(0..100, 1), 10);
    trees.sync().unwrap();
    install(&trees, &mut manifest, 2, &frozen(50..150, 2), 20);
    let changes = trees.unsynced();
    for kept in (0..=changes).step_by(7).chain([changes]) {
        let crashed = trees.crash(kept);
        let opened = recovery::open(&crashed).unwrap();
        let expected: &[u64] = if kept == changes { &[1, 2] } else { &[1] };
        let tables = recovery::tables_of(&crashed, &opened.manifest, 0).unwrap().tables;
        assert_eq!(tables.iter().map(|table| table.id.0).collect::<Vec<_>>(), expected);
        assert!(crashed.names().unwrap().iter().all(|name| opened.manifest.lists(*name)));
        for StoredTable { id, meta, .. } in tables {
            let table = Table::open(id, meta).unwrap();
            assert!(table.blocks().all(|block| recovery::read_block(&crashed, id, block).is_ok()));
        }
    }
}

#[test]
fn a_flip_in_a_table_is_noticed() {
    let trees = Memory::default();
    recovery::create(&trees).unwrap();
    let mut manifest = Manifest::default();
    let mut states = frozen(0..60, 1);
    states.entries.insert(
        Bytes::from_static(b"keylarge").into(),
        Stored { state: noise(20_000), lsn: Lsn(1), counts: Fingerprint::NONE, replaces: Fingerprint::NONE },
    );
    install(&trees, &mut manifest, 1, &states, 10);
    let entry = manifest.tables[0].clone();
    let meta = recovery::tables_of(&trees, &manifest, 0).unwrap().tables.remove(0).meta;
    let blocks: Vec<u32> = Table::open(TableId(1), meta).unwrap().blocks().collect();
    assert!(entry.chunks > 8 && blocks.len() < entry.chunks as usize);
    let sound = trees.chunks(TableId(1), entry.chunks);
    for chunk in 0..entry.chunks {
        let length = sound[chunk as usize].len();
        for at in (0..length).step_by(61).chain([length - 1]) {
            let mut chunks = sound.clone();
            chunks[chunk as usize][at] ^= 2;
            trees.put_chunks(TableId(1), &chunks);
            if chunk >= entry.meta_at {
                recovery::open(&trees).unwrap();
                let read = recovery::tables_of(&trees, &manifest, 0).unwrap();
                assert_eq!(
                    (read.tables, read.damaged),
                    (vec![], vec![entry.group]),
                    "chunk {chunk}, byte {at}"
                );
            } else {
                let block = *blocks.iter().rev().find(|block| **block <= chunk).unwrap();
                let read = recovery::read_block(&trees, TableId(1), block);
                assert!(matches!(read, Err(StoreError::Damaged(_))), "chunk {chunk}, byte {at}");
                // Neighbours before it are read all the same.
                let before = blocks.iter().position(|other| *other == block).unwrap();
                let run = recovery::read_blocks(&trees, TableId(1), 0, 64);
                assert_eq!(run.map_or(0, |run| run.len()), before, "chunk {chunk}, byte {at}");
            }
            trees.put_chunks(TableId(1), &sound);
        }
    }
}

fn noise(length: usize) -> Bytes {
    let mut word = 1_u64;
    let mut next = || {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (word >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn the_log_comes_back_by_shard_and_without_what_tables_hold() {
    let trees = Memory::default();
    recovery::create(&trees).unwrap();
    let manifest = Manifest {
        next_segment: 3,
        segments: vec![1, 2],
        flushed: BTreeMap::from([(0, 2), (5, 40)]),
        ..Manifest::default()
    };
    Manifest::CELL.write(&trees, &manifest.encode()).unwrap().sweep(&trees).unwrap();
    let put = |segment: u64, entries: &[(u32, u64)]| {
        let mut group = Vec::new();
        for (shard, lsn) in entries {
            log::put_entry(&mut group, *shard, Lsn(*lsn), &lsn.to_le_bytes());
        }
        let piece = &log::pieces(segment, 0, &group)[0];
        trees.put(TreeName::Log(segment), &0_u64.to_be_bytes(), piece).unwrap();
    };
    put(1, &[(0, 1), (0, 2), (1, 1), (0, 3)]);
    // The second segment repeats, behind newer records, what is left of an older one.
    put(2, &[(0, 4), (0, 3), (1, 2)]);
    let opened = recovery::open(&trees).unwrap();
    assert!(opened.has_reached(0, 2, 1) && !opened.has_reached(0, 2, 2) && !opened.has_reached(1, 2, 1));
    assert!(!opened.has_reached(0, 3, 1), "a segment that never was");
    assert!(opened.has_reached(0, 0, 9), "one that was dropped");
    let log_of = |shard| {
        let (records, next) = recovery::log_of(&trees, &opened.manifest, shard).unwrap();
        (records.iter().map(|record| record.lsn.0).collect::<Vec<_>>(), next.0)
    };
    assert_eq!(log_of(0), (vec![3, 4], 5));
    assert_eq!(log_of(1), (vec![1, 2], 3));
    assert_eq!(log_of(5), (vec![], 41));
    assert_eq!(log_of(6), (vec![], 1));
    let rest = recovery::rest_of(&trees, &opened.manifest, 1).unwrap();
    assert_eq!(rest.iter().map(|entry| (entry.shard, entry.lsn.0)).collect::<Vec<_>>(), [(1, 1), (0, 3)]);
    put(2, &[(0, 5), (0, 3), (1, 2)]);
    let gap = recovery::log_of(&trees, &opened.manifest, 0);
    assert!(matches!(gap, Err(StoreError::Damaged(_))), "a position is missing in whole segments: {gap:?}");
    assert_eq!(log_of(1), (vec![1, 2], 3), "another shard's");
    trees.drop_tree(TreeName::Log(2)).unwrap();
    assert!(matches!(recovery::open(&trees), Err(StoreError::Damaged(_))), "a segment is missing");
    trees.drop_tree(TreeName::Manifest).unwrap();
    assert!(matches!(recovery::open(&trees), Err(StoreError::Damaged(_))), "no manifest");
}

#[test]
fn a_shard_is_read_back_while_others_write() {
    let trees = Memory::default();
    recovery::create(&trees).unwrap();
    let manifest = Manifest { next_segment: 4, segments: vec![1, 2, 3], ..Manifest::default() };
    Manifest::CELL.write(&trees, &manifest.encode()).unwrap().sweep(&trees).unwrap();
    let put = |segment: u64, at: u64, lsn: u64| {
        let mut group = Vec::new();
        log::put_entry(&mut group, 0, Lsn(lsn), b"record");
        trees.put(TreeName::Log(segment), &at.to_be_bytes(), &log::pieces(segment, at, &group)[0]).unwrap();
    };
    (1..=3).for_each(|segment| log::begin(&trees, segment).unwrap());
    put(1, 0, 1);
    put(2, 0, 2);
    // What a reader sees that was between two keys when both were written: the later one only.
    put(2, 2, 4);
    let log_of = || {
        let (records, next) = recovery::log_of(&trees, &manifest, 0)?;
        Ok((records.iter().map(|record| record.lsn.0).collect::<Vec<_>>(), next.0))
    };
    assert_eq!(log_of(), Ok((vec![1, 2], 3)), "up to where the log ended");
    assert!(
        matches!(recovery::open(&trees), Err(StoreError::Damaged(_))),
        "nobody writes while it is opened"
    );
    put(2, 1, 3);
    put(1, 2, 9);
    assert!(matches!(log_of(), Err(StoreError::Damaged(_))), "a sealed segment has no holes");
}
