//! Groups that are whole, torn, flipped and misplaced.

use super::*;
use crate::store::memory::Memory;

fn write(trees: &Memory, segment: u64, first: u64, entries: &[(u32, u64, Vec<u8>)]) -> u64 {
    let mut content = Vec::new();
    for (shard, lsn, record) in entries {
        put_entry(&mut content, *shard, Lsn(*lsn), record);
    }
    let cut = pieces(segment, first, &content);
    for (sequence, piece) in (first..).zip(&cut) {
        trees.put(TreeName::Log(segment), &sequence.to_be_bytes(), piece).unwrap();
    }
    first + cut.len() as u64
}

/// Shard, position and length of each record.
type Seen = Vec<(u32, u64, usize)>;

fn read(trees: &Memory, segment: u64) -> Result<(Seen, bool), StoreError> {
    let mut seen = Vec::new();
    let replayed = replay(trees, segment, &mut |entry| {
        seen.push((entry.shard, entry.lsn.0, entry.bytes.len()));
    })?;
    Ok((seen, replayed.torn))
}

#[test]
fn a_piece_has_its_golden_bytes() {
    let mut content = Vec::new();
    put_entry(&mut content, 3, Lsn(300), b"record");
    assert_eq!(content, b"\x03\xac\x02\x06record");
    let piece = &pieces(1, 2, &content)[0];
    assert_eq!(
        piece.as_slice(),
        b"\x01\x01\x02\0\0\0\0\0\0\0\x03\xac\x02\x06record\x45\x1c\x70\xa3",
        "{}",
        piece.escape_ascii()
    );
}

#[test]
fn groups_come_back_in_order() {
    let trees = Memory::default();
    begin(&trees, 1).unwrap();
    let next = write(&trees, 1, 0, &[(0, 1, vec![1; 10]), (1, 1, vec![2; 20])]);
    let next = write(&trees, 1, next, &[(0, 2, vec![3; 200_000])]);
    assert_eq!(next, 1 + 4, "a large record is several pieces");
    write(&trees, 1, next, &[(0, 3, vec![])]);
    let seen = [(0, 1, 10), (1, 1, 20), (0, 2, 200_000), (0, 3, 0)];
    assert_eq!(read(&trees, 1), Ok((seen.to_vec(), false)));
    let replayed = replay(&trees, 1, &mut |_| ()).unwrap();
    assert_eq!(replayed.last, BTreeMap::from([(0, Lsn(3)), (1, Lsn(1))]));
    assert_eq!(replayed.pieces, 6);
}

#[test]
fn a_crash_anywhere_keeps_whole_groups_only() {
    let trees = Memory::default();
    begin(&trees, 1).unwrap();
    trees.sync().unwrap();
    let next = write(&trees, 1, 0, &[(0, 1, vec![1; 10])]);
    let next = write(&trees, 1, next, &[(0, 2, vec![2; 150_000])]);
    write(&trees, 1, next, &[(0, 3, vec![3; 10])]);
    assert_eq!(trees.unsynced(), 5);
    let whole = [(0, 1, 10), (0, 2, 150_000), (0, 3, 10)];
    for (kept, groups, torn) in
        [(0, 0, false), (1, 1, false), (2, 1, true), (3, 1, true), (4, 2, false), (5, 3, false)]
    {
        assert_eq!(read(&trees.crash(kept), 1), Ok((whole[..groups].to_vec(), torn)), "{kept} kept");
    }
}

#[test]
fn damage_is_an_error() {
    let trees = || {
        let trees = Memory::default();
        begin(&trees, 1).unwrap();
        let next = write(&trees, 1, 0, &[(0, 1, vec![1; 10])]);
        let next = write(&trees, 1, next, &[(0, 2, vec![2; 100_000])]);
        write(&trees, 1, next, &[(0, 3, vec![3; 10])]);
        trees
    };
    let tree = TreeName::Log(1);
    let key = |sequence: u64| sequence.to_be_bytes();
    let is_damaged = |trees: &Memory| matches!(read(trees, 1), Err(StoreError::Damaged(_)));
    let length = trees().get(tree, &key(0)).unwrap().unwrap().len();
    for at in 0..length {
        let trees = trees();
        trees.edit(tree, &key(0), |value| value[at] ^= 1);
        assert!(is_damaged(&trees), "byte {at}");
    }
    let cut = trees();
    cut.edit(tree, &key(1), |value| value.truncate(3));
    assert!(is_damaged(&cut), "cut short");
    let hole = trees();
    hole.put(tree, &key(1), &[]).unwrap();
    assert!(is_damaged(&hole), "a piece undone within");
    let missing = trees();
    missing.remove(tree, &key(LAY_OUT_KEYS - 1)).unwrap();
    missing.remove(tree, &key(7)).unwrap();
    assert!(is_damaged(&missing), "a key gone");
    let moved = trees();
    let piece = moved.get(tree, &key(3)).unwrap().unwrap();
    moved.put(tree, &key(0), &piece).unwrap();
    assert!(is_damaged(&moved), "a right piece in a wrong place");
    let unfinished = trees();
    let group = pieces(1, 1, &[0; 100_000]);
    unfinished.put(tree, &key(2), &pieces(1, 2, &[0; 10])[0]).unwrap();
    unfinished.put(tree, &key(1), &group[0]).unwrap();
    assert!(is_damaged(&unfinished), "an unfinished group before another");
}
