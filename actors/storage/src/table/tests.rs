//! Tables against the map that they were written from.

use super::*;
use anser_machine::TableId;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

const TABLE: TableId = TableId(5);

fn write(entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Finished {
    super::write(TABLE, entries.iter().map(|(key, state)| (key.as_slice(), state.as_slice())))
}

fn read(finished: &Finished, number: u32) -> Result<Bytes, chunk::BadChunk> {
    let get = |number: u32| Ok(finished.chunks.get(number as usize).cloned().map(Bytes::from));
    chunk::join(TABLE, number, get).map(|(bytes, _)| bytes)
}

/// One block, however large.
fn block_of(entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Bytes {
    let mut writer = block::BlockWriter::default();
    entries.iter().for_each(|(key, state)| writer.push(key, state));
    writer.finish().into()
}

fn lookup(finished: &Finished, table: &Table, key: &[u8]) -> Option<Bytes> {
    let block = table.block_of(key)?;
    let content = block::unpack(&read(finished, block).unwrap()).unwrap();
    block::search(&content, key).unwrap()
}

#[test]
fn block_and_metadata_have_their_golden_bytes() {
    let entries = [("apple", "red"), ("apply", "now"), ("bee", "")];
    let entries = entries.map(|(key, state)| (key.into(), state.into()));
    let finished = write(&entries.into_iter().collect());
    assert_eq!(finished.meta_at, 1);
    let packed = read(&finished, 0).unwrap();
    assert_eq!(
        packed.as_ref(),
        b"\x00\x20\0\0\0\x00\x05\x03applered\x04\x01\x03ynow\x00\x03\x00bee\0\0\0\0\x01\0\0\0",
        "{}",
        packed.escape_ascii()
    );
    let chunk = &finished.chunks[0];
    assert_eq!(&chunk[..9], b"\x01\0\0\0\0\x01\0\0\0");
    assert_eq!(&chunk[chunk.len() - 4..], b"\xc4\x03\xa1\x92", "{}", chunk.escape_ascii());
    assert_eq!(read(&finished, 1), Ok(finished.meta.clone()));
    assert_eq!(
        finished.meta.as_ref(),
        b"\x02\x01\x00\x03\x01\x03bee\x08\x93`\x04M\x93L\x10\x02\x00\x05apple\xd2\xba\x04\xbb",
        "{}",
        finished.meta.escape_ascii()
    );
}

#[test]
fn repeated_text_is_compressed_and_large_states_are_cut() {
    let mut block = block::BlockWriter::default();
    block.push(b"key", &[b'a'; 4000]);
    let content = block.finish();
    let packed = Bytes::from(block::pack(&content));
    assert!(packed.len() < 200 && packed[0] == 1);
    assert_eq!(block::unpack(&packed).unwrap(), content);
    let false_length = [&[1][..], &u32::MAX.to_le_bytes(), &packed[5..]].concat();
    assert_eq!(block::unpack(&false_length.into()), Err(block::BadBlock));
    for length in [0, 1, chunk::CHUNK_BYTES, chunk::CHUNK_BYTES + 1, 1 << 20] {
        let chunks = chunk::cut(TABLE, 3, &vec![7; length]);
        assert!(chunks.iter().all(|chunk| chunk.len() <= chunk::CHUNK_BYTES + 13));
        let get =
            |number: u32| Ok::<_, chunk::BadChunk>(chunks.get(number as usize - 3).cloned().map(Bytes::from));
        let (joined, count) = chunk::join(TABLE, 3, get).unwrap();
        assert_eq!((joined.len(), count as usize), (length, chunks.len()));
        assert!(chunk::join(TABLE, 4, get).is_err(), "not the first chunk");
        assert!(chunk::join(TableId(6), 3, get).is_err(), "another table's");
    }
}

#[test]
fn the_index_is_small_for_long_keys() {
    let entries = (0..200_u32).map(|key| {
        let long = [vec![b'x'; 1000], key.to_be_bytes().to_vec(), vec![b'y'; 9000]].concat();
        (long, vec![1])
    });
    let entries: BTreeMap<Vec<u8>, Vec<u8>> = entries.collect();
    let finished = write(&entries);
    let table = Table::open(TABLE, finished.meta.clone()).unwrap();
    assert!(finished.meta.len() < 230_000, "{}", finished.meta.len());
    for (key, state) in &entries {
        assert_eq!(lookup(&finished, &table, key).as_deref(), Some(state.as_slice()));
        assert_eq!(lookup(&finished, &table, &key[..1002]), None);
    }
}

fn some_entries() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
    let key = prop::collection::vec(0..4_u8, 1..12);
    let state = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..300),
        1 => prop::collection::vec(any::<u8>(), 3000..12_000),
    ];
    prop::collection::btree_map(key, state, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_table_is_the_map_it_was_written_from(
        entries in some_entries(),
        others in prop::collection::vec(prop::collection::vec(0..4_u8, 0..13), 50),
    ) {
        let finished = write(&entries);
        let table = Table::open(TABLE, finished.meta.clone()).unwrap();
        prop_assert_eq!(table.entries(), entries.len() as u64);
        for (key, state) in &entries {
            prop_assert!(table.might_hold(key));
            let found = lookup(&finished, &table, key);
            prop_assert_eq!(found.as_deref(), Some(state.as_slice()));
        }
        for key in others {
            prop_assert_eq!(lookup(&finished, &table, &key).map(Vec::from), entries.get(&key).cloned());
        }
        let mut all = Vec::new();
        for number in table.blocks() {
            all.extend(block::entries(&block::unpack(&read(&finished, number).unwrap()).unwrap()).unwrap());
        }
        let expected: Vec<(Bytes, Bytes)> =
            entries.into_iter().map(|(key, state)| (key.into(), state.into())).collect();
        prop_assert_eq!(all, expected);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), key in any::<[u8; 3]>()) {
        let mut sealed = bytes.clone();
        crate::cursor::put_checksum(&mut sealed);
        let bytes = Bytes::from(bytes);
        let _ = block::search(&bytes, &key);
        let _ = block::entries(&bytes);
        let _ = block::unpack(&bytes);
        let _ = Table::open(TABLE, sealed.into()).map(|table| table.block_of(&key));
        let _ = crate::record::decode(&bytes);
    }

    #[test]
    fn a_walk_from_a_key_is_the_rest_of_a_whole_walk(entries in some_entries(), from in prop::collection::vec(0..5_u8, 0..4)) {
        let block = block_of(&entries);
        let mut walk = block::Entries::from(block.clone(), &from).unwrap();
        let mut rest = Vec::new();
        while let Some((key, state)) = walk.entry() {
            rest.push((Bytes::copy_from_slice(key), state.share()));
            walk.advance().unwrap();
        }
        let expected = block::entries(&block).unwrap().into_iter().filter(|(key, _)| key.as_ref() >= from.as_slice());
        prop_assert_eq!(rest, expected.collect::<Vec<_>>());
    }

    /// Past the checksums: what is walked here no table returns.
    #[test]
    fn damaged_blocks_are_walked_without_a_panic(
        entries in some_entries(), key in any::<[u8; 3]>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=u8::MAX), 1..8),
    ) {
        let mut block = block_of(&entries).to_vec();
        for (at, flip) in flips {
            let at = at.index(block.len());
            block[at] ^= flip;
        }
        let block = Bytes::from(block);
        let _ = block::search(&block, &key);
        let _ = block::entries(&block);
        if let Ok(mut walk) = block::Entries::from(block, &key) {
            while walk.entry().is_some() && walk.advance().is_ok() {}
        }
    }

    #[test]
    fn every_flip_is_noticed(entries in some_entries(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut finished = write(&entries);
        let chunk = at.index(finished.chunks.len());
        let byte = at.index(finished.chunks[chunk].len());
        finished.chunks[chunk][byte] ^= 1_u8 << bit;
        let table = Table::open(TABLE, finished.meta.clone()).unwrap();
        let failed = table.blocks().chain([finished.meta_at]).filter(|number| read(&finished, *number).is_err());
        prop_assert_eq!(failed.count(), 1);
        let mut meta = finished.meta.to_vec();
        let byte = at.index(meta.len());
        meta[byte] ^= 1_u8 << bit;
        prop_assert!(Table::open(TABLE, meta.into()).is_err());
    }
}
