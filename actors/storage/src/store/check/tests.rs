//! A sound store is called sound, and whatever byte of what counts is changed, it is told where.

use super::*;
use crate::fingerprint_of;
use crate::store::memory::Memory;
use crate::store::{install, log};
use crate::table::{self, chunk};
use anser_machine::{Frozen, Stored, TableId};
use anser_model::merkle::Fingerprint;
use anser_model::ring::Within;
use anser_model::state::{Seen, Write};
use anser_model::{Actor, Body, Hlc, Key, KeyspaceId, Life, NodeId, Rid};

const SHARDS: u32 = 2;

fn key(number: u32) -> StoreKey {
    let partition = PartitionId(u16::try_from(number % 7).unwrap());
    let within = Within(number.wrapping_mul(0x9e37_79b9));
    StoreKey::new(
        partition,
        KeyspaceId(1),
        within,
        &Key::new(format!("key{number:05}").into_bytes()).unwrap(),
    )
}

fn state(number: u32, length: usize) -> Bytes {
    let mut state = KeyState::default();
    // Not compressible.
    let value: Vec<u8> = (0..length).map(|at| (at * at * 31 + at * 7 + number as usize) as u8).collect();
    let write = Write {
        rid: Rid { writer: 1, seq: u64::from(number) },
        issued: Hlc(1),
        expires: None,
        body: Body::Value(value.into()),
        seen: Seen::Present,
    };
    state.mint(Actor { node: NodeId([7; 16]), life: Life(1) }, 1, &write).unwrap();
    state.encode()
}

/// A memtable of these keys; `replaces` tells whether all of them are in a table.
fn frozen(keys: std::ops::Range<u32>, replaces: bool) -> Frozen {
    let length = |number: u32| if number % 40 == 3 { 9000 } else { 150 };
    let stored = |number| {
        let state = state(number, length(number));
        let counts = fingerprint_of(key(number).as_bytes(), &state).unwrap();
        let replaces = if replaces { counts } else { Fingerprint::NONE };
        Stored { state, lsn: Lsn(1), counts, replaces }
    };
    keys.map(|number| (key(number).headed().clone(), stored(number))).collect()
}

/// Two tables of the first shard, two segments, slots in the head and in pieces.
fn store() -> (Memory, Manifest) {
    let trees = Memory::default();
    let mut manifest =
        Manifest { next_table: 3, next_segment: 3, segments: vec![1, 2], ..Manifest::default() };
    for (id, keys) in [(1, 0..60), (2, 30..50)] {
        let written = install::write_frozen(&trees, &mut || TableId(id), 0, &frozen(keys, id == 2)).unwrap();
        manifest.tables.extend(written.into_iter().map(|(entry, _)| entry));
    }
    manifest.flushed.insert(0, 4);
    let mut lsn = [0, 0];
    for segment in [1, 2] {
        let mut next = 0;
        for group in 0..4_u32 {
            let mut content = Vec::new();
            for shard in [0, 1, 1] {
                lsn[shard as usize] += 1;
                let length = if group == 2 { 50_000 } else { 100 };
                // All states of a key count as the same here: they have one dot.
                let replaces = fingerprint_of(key(group).as_bytes(), &state(group, length)).unwrap();
                let encoded = record::encode(&key(group), &state(group, length), replaces);
                log::put_entry(&mut content, shard, Lsn(lsn[shard as usize]), &encoded.bytes);
            }
            for piece in log::pieces(segment, next, &content) {
                trees.put(TreeName::Log(segment), &next.to_be_bytes(), &piece).unwrap();
                next += 1;
            }
        }
        trees.put(TreeName::Log(segment), &next.to_be_bytes(), &[]).unwrap();
    }
    for (name, length) in [(1, 100), (2, 40_000)] {
        let cell = Cell { tree: TreeName::Slots, name };
        cell.write(&trees, &vec![name; length]).unwrap().sweep(&trees).unwrap();
    }
    Manifest::CELL.write(&trees, &manifest.encode()).unwrap().sweep(&trees).unwrap();
    (trees, manifest)
}

fn findings(trees: &Memory) -> Vec<Finding> {
    let mut all = Vec::new();
    check(trees, SHARDS, &mut |finding| all.push(finding));
    all
}

fn damages(trees: &Memory) -> Vec<(Place, String)> {
    let all = findings(trees).into_iter();
    all.filter_map(|finding| match finding {
        Finding::Damage { place, what } => Some((place, what)),
        Finding::Manifest(..)
        | Finding::Void(_)
        | Finding::Slot { .. }
        | Finding::Segment(_)
        | Finding::Block { .. }
        | Finding::Table(_) => None,
    })
    .collect()
}

/// Every value that counts, by tree and key.
fn values(trees: &Memory) -> Vec<(TreeName, Vec<u8>, usize)> {
    let mut all = Vec::new();
    for tree in trees.names().unwrap() {
        trees
            .walk(tree, &mut |key, value| {
                all.push((tree, key.to_vec(), value.len()));
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    all
}

#[test]
fn a_sound_store_is_called_sound_and_counted() {
    let (trees, manifest) = store();
    trees.put(TreeName::Table(TableId(9)), b"left by a crash", b"x").unwrap();
    assert_eq!(damages(&trees), []);
    let (mut keys, mut records, mut unflushed, mut slots, mut bytes) = (0, 0, 0, 0, 0);
    for finding in findings(&trees) {
        match finding {
            Finding::Manifest(found, _) => assert_eq!(found, manifest),
            Finding::Void(trees) => assert_eq!(trees, 1),
            Finding::Slot { .. } => slots += 1,
            Finding::Segment(seen) => {
                records += seen.records;
                unflushed += seen.unflushed;
                assert_eq!(seen.by_partition.values().sum::<u64>(), seen.unflushed);
            }
            Finding::Block { bytes: more } => bytes += more,
            Finding::Table(seen) => {
                keys += seen.keys;
                assert_eq!(seen.by_partition.values().sum::<u64>(), seen.keys);
                assert!(seen.first < seen.last);
            }
            Finding::Damage { .. } => unreachable!("it is sound"),
        }
    }
    assert_eq!((keys, records, unflushed, slots), (80, 24, 20, 2));
    assert_eq!(bytes, manifest.tables.iter().map(|entry| entry.bytes).sum::<u64>());
}

#[test]
fn every_changed_byte_is_told() {
    let (trees, _) = store();
    let mut changed = 0;
    for (tree, key, length) in values(&trees) {
        // All of the first and the last bytes, which are the frame, and some of the content.
        let places = (0..length).filter(|at| *at < 24 || length - at < 12 || at % 173 == 0);
        for at in places {
            trees.edit(tree, &key, |value| value[at] ^= 1 << (at % 8));
            assert!(!damages(&trees).is_empty(), "byte {at} of {key:?} in {tree}");
            trees.edit(tree, &key, |value| value[at] ^= 1 << (at % 8));
            changed += 1;
        }
    }
    assert!(changed > 2000, "{changed}");
    assert_eq!(damages(&trees), []);
}

#[test]
fn what_is_cut_short_emptied_or_gone_is_told() {
    let (trees, _) = store();
    let written: Vec<_> = values(&trees).into_iter().filter(|(_, _, length)| *length > 0).collect();
    let end = written.iter().rfind(|(tree, _, _)| *tree == TreeName::Log(2)).unwrap().clone();
    for (tree, key, length) in written {
        // A slot that was never saved has no key either; where the log ends, a folder's witness knows.
        let may_go = (tree == TreeName::Slots && key.len() == 1) || (tree, &key) == (end.0, &end.1);
        let whole = trees.get(tree, &key).unwrap().unwrap();
        for kept in [0, 1, length / 2, length - 1] {
            trees.put(tree, &key, &whole[..kept]).unwrap();
            let told = !damages(&trees).is_empty();
            assert!(told || (kept == 0 && may_go), "{kept} bytes of {key:?} in {tree}");
        }
        trees.remove(tree, &key).unwrap();
        assert!(may_go || !damages(&trees).is_empty(), "{key:?} of {tree} is gone");
        trees.put(tree, &key, &whole).unwrap();
    }
    for tree in trees.names().unwrap() {
        let (trees, _) = store();
        trees.drop_tree(tree).unwrap();
        assert!(tree == TreeName::Slots || !damages(&trees).is_empty(), "{tree} is gone");
    }
}

#[test]
fn a_damage_hides_nothing_else() {
    let (trees, manifest) = store();
    let edit = |table: usize, chunk: u32| {
        let entry = &manifest.tables[table];
        let mut chunks = trees.chunks(TableId(entry.id), entry.chunks);
        chunks[chunk as usize][20] ^= 1;
        trees.put_chunks(TableId(entry.id), &chunks);
    };
    edit(0, 0);
    edit(0, 3);
    edit(1, manifest.tables[1].meta_at);
    trees.edit(TreeName::Log(1), &1_u64.to_be_bytes(), |value| value[20] ^= 1);
    trees.edit(TreeName::Slots, &[1], |value| value[20] ^= 1);
    let told: Vec<Place> = damages(&trees).into_iter().map(|(place, _)| place).collect();
    let block = |block| Place::Block { table: 1, shard: 0, block };
    let expected =
        [Place::Slot(1), Place::Segment(1), block(0), block(3), Place::Table { table: 2, shard: 0 }];
    assert_eq!(told, expected);
}

/// Lays a table out whose parts are sound, and which as a whole is not.
fn tampered(change: impl Fn(&mut Vec<Vec<u8>>, &mut TableEntry)) -> Vec<(Place, String)> {
    let (trees, mut manifest) = store();
    let entry = manifest.tables.first_mut().unwrap();
    let mut chunks = trees.chunks(TableId(1), entry.chunks);
    change(&mut chunks, entry);
    trees.put_chunks(TableId(1), &chunks);
    Manifest::CELL.write(&trees, &manifest.encode()).unwrap().sweep(&trees).unwrap();
    damages(&trees)
}

#[test]
fn a_table_of_sound_parts_that_do_not_fit_is_told() {
    assert_eq!(tampered(|_, _| ()), []);
    let block_of = |keys: std::ops::Range<u32>| {
        let mut writer = table::block::BlockWriter::default();
        for (key, stored) in &frozen(keys, false).entries {
            writer.push(key.as_bytes(), &stored.state);
        }
        chunk::cut(TableId(1), 0, &table::block::pack(&writer.finish())).remove(0)
    };
    let told = tampered(|chunks, _| chunks[0] = block_of(1000..1001));
    assert!(told[0].1.contains("outside of the range"), "{told:?}");
    // Of the first partition, and before the second key of it.
    let told = tampered(|chunks, _| chunks[0] = block_of(0..1));
    assert!(told[0].1.contains("keys, and should have"), "{told:?}");
    let told = tampered(|_, entry| entry.bytes += 1);
    assert!(told[0].1.contains("is listed with"), "{told:?}");
    let told = tampered(|_, entry| entry.chunks += 1);
    assert!(told[0].1.contains("is listed with"), "{told:?}");
    let told = tampered(|_, entry| entry.group += 1);
    assert!(told[0].1.contains("another group"), "{told:?}");
    let told = tampered(|_, entry| entry.shard = SHARDS);
    assert!(told[0].1.contains("shards only"), "{told:?}");
}

/// Changes a table's metadata, and seals it again.
fn with_meta(change: impl Fn(&mut Vec<u8>)) -> Vec<(Place, String)> {
    tampered(|chunks, entry| {
        let get =
            |number: u32| Ok::<_, chunk::BadChunk>(chunks.get(number as usize).cloned().map(Bytes::from));
        let (meta, _) = chunk::join(TableId(1), entry.meta_at, get).unwrap();
        let mut meta = meta[..meta.len() - 4].to_vec();
        change(&mut meta);
        crate::cursor::put_checksum(&mut meta);
        chunks.truncate(entry.meta_at as usize);
        chunks.extend(chunk::cut(TableId(1), entry.meta_at, &meta));
    })
}

#[test]
fn a_filter_or_an_index_that_does_not_fit_is_told() {
    assert_eq!(with_meta(|_| ()), []);
    // Where the counts of entries and blocks are, behind the changes of hash trees.
    let counts_at = |meta: &[u8]| {
        let mut cursor = crate::cursor::Cursor(&meta[1..]);
        cursor.counted().unwrap();
        meta.len() - cursor.0.len()
    };
    let filter = |meta: &[u8]| {
        let at = counts_at(meta) + 2;
        let mut cursor = crate::cursor::Cursor(&meta[at..]);
        let greatest = cursor.counted().unwrap().len();
        let bits = cursor.counted().unwrap().len();
        (at + 1 + greatest + 1)..(at + 1 + greatest + 1 + bits)
    };
    let told = with_meta(|meta| {
        let place = filter(meta);
        meta[place].fill(0);
    });
    assert!(told[0].1.contains("not in the table's filter"), "{told:?}");
    let told = with_meta(|meta| {
        let at = counts_at(meta);
        meta[at + 2 + 5] ^= 1;
    });
    assert!(told[0].1.contains("greatest") || told[0].1.contains("outside of the range"), "{told:?}");
    let told = with_meta(|meta| {
        let at = counts_at(meta);
        meta[at] += 1;
    });
    assert!(told[0].1.contains("should have 61"), "{told:?}");
}

#[test]
fn leaves_that_are_not_those_of_the_keys_are_told() {
    let leaves = Place::Leaves { shard: 0, group: 0 };
    // The hash of the first leaf of the first tree.
    let told = with_meta(|meta| meta[12] ^= 1);
    assert_eq!(told.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [leaves], "{told:?}");
    assert!(told[0].1.contains("keyspace 1 in partition 0 are not those of their keys"), "{told:?}");
}

#[test]
fn a_record_that_does_not_say_what_it_replaces_is_told() {
    let (trees, manifest) = store();
    let append = |key: &StoreKey, replaces: Fingerprint| {
        let bytes = record::encode(key, &state(1, 10), replaces).bytes;
        let mut content = Vec::new();
        log::put_entry(&mut content, 0, Lsn(9), &bytes);
        let pieces = log::pieces(9, 0, &content);
        trees.put(TreeName::Log(9), &0_u64.to_be_bytes(), &pieces[0]).unwrap();
        let mut manifest = manifest.clone();
        manifest.segments.push(9);
        Manifest::CELL.write(&trees, &manifest.encode()).unwrap().sweep(&trees).unwrap();
        damages(&trees)
    };
    let counts = |number| fingerprint_of(key(number).as_bytes(), &state(number, 10)).unwrap();
    assert_eq!(append(&key(20), counts(20)), []);
    let of_group = |told: &[(Place, String)], what: &str| {
        assert!(
            matches!(told, [(Place::Leaves { shard: 0, group: 0 }, said)] if said.contains(what)),
            "{told:?}"
        );
    };
    of_group(&append(&key(20), counts(21)), "what the tables hold");
    of_group(&append(&key(20), Fingerprint::NONE), "what the tables hold");
    of_group(&append(&key(100), counts(100)), "what no table holds");
    assert_eq!(append(&key(100), Fingerprint::NONE), []);
    // The log has that key already, in a record that no table holds.
    of_group(&append(&key(3), counts(4)), "the one before it");
    assert_eq!(append(&key(3), counts(3)), []);
}

#[test]
fn a_position_that_is_missing_between_segments_is_told() {
    let (trees, _) = store();
    let mut last =
        values(&trees).into_iter().filter(|(tree, _, length)| *tree == TreeName::Log(1) && *length > 0);
    let (tree, key, _) = last.next_back().unwrap();
    // As if the segment had never come so far.
    trees.put(tree, &key, &[]).unwrap();
    let told = damages(&trees);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, Place::Log { shard: 1 });
    assert!(told[0].1.contains("position 7"), "{told:?}");
}
