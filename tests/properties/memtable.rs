//! A memtable is a map, and counts its bytes exactly.

use anser_machine::{Depths, Lsn};
use anser_model::merkle::Fingerprint;
use anser_model::ring::Within;
use anser_model::{Key, KeyspaceId, PartitionId};
use anser_storage::{Memtable, StoreKey};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Keys that share long beginnings, among them some that are the beginning of another.
fn keys() -> impl Strategy<Value = StoreKey> {
    let text = (0..3_usize, prop::collection::vec(0..2_u8, 0..4));
    (0..3_u16, 0..2_u32, 0..2_u32, text).prop_map(|(partition, keyspace, within, (long, rest))| {
        let key = [vec![b'k'; 1 + 13 * long], rest].concat();
        let (partition, keyspace) = (PartitionId(partition), KeyspaceId(keyspace));
        StoreKey::new(partition, keyspace, Within(within), &Key::new(key).unwrap())
    })
}

fn states() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

/// What an entry is counted beside its key and state.
fn overhead() -> usize {
    let key = StoreKey::new(PartitionId(0), KeyspaceId(0), Within(0), &Key::new("k").unwrap());
    let mut memtable = Memtable::new();
    memtable.insert(&key, Bytes::new(), Fingerprint::NONE, Lsn(1), Fingerprint::NONE);
    memtable.bytes() - key.as_bytes().len()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_memtable_is_a_map(inserts in prop::collection::vec((keys(), states()), 0..60), others in prop::collection::vec(keys(), 20)) {
        let (mut memtable, mut map) = (Memtable::new(), BTreeMap::new());
        for ((key, state), lsn) in inserts.iter().zip(1..) {
            let counts = Fingerprint(u128::from(lsn));
            let old = memtable.insert(key, state.clone(), counts, Lsn(lsn), Fingerprint(7));
            let before = map.get(key.as_bytes()).map(|(_, Lsn(lsn))| u128::from(*lsn));
            prop_assert_eq!(old, Fingerprint(before.unwrap_or(7)));
            map.insert(key.as_bytes().clone(), (state.clone(), Lsn(lsn)));
        }
        for key in inserts.iter().map(|(key, _)| key).chain(&others) {
            let found = memtable.get(key).map(|stored| (stored.state.clone(), stored.lsn));
            prop_assert_eq!(found.as_ref(), map.get(key.as_bytes()));
        }
        let bytes = map.iter().map(|(key, (state, _))| key.len() + state.len() + overhead()).sum();
        prop_assert_eq!((memtable.len(), memtable.bytes()), (map.len(), bytes));
        prop_assert_eq!(memtable.through(), Lsn(inserts.len() as u64));
        // Frozen, it has the same entries in the order of their keys' bytes, and the next one is empty.
        let frozen = memtable.freeze(Depths::new());
        prop_assert!(frozen.entries.values().all(|stored| stored.replaces == Fingerprint(7)));
        prop_assert!(frozen.entries.values().all(|stored| stored.counts.0 == u128::from(stored.lsn.0)));
        let frozen = frozen.entries.iter().map(|(key, stored)| (key.as_bytes().clone(), (stored.state.clone(), stored.lsn)));
        prop_assert_eq!(frozen.collect::<Vec<_>>(), map.into_iter().collect::<Vec<_>>());
        prop_assert!(memtable.is_empty() && memtable.bytes() == 0);
    }
}
