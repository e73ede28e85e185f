//! The memtable with 100,000 keys in it, and reads through the engine that owns it.

use crate::sample::{self, KEYSPACE};
use anser_machine::{Lsn, Outbox};
use anser_model::PartitionId;
use anser_model::merkle::Fingerprint;
use anser_model::ring::{Within, place_of};
use anser_storage::{Engine, Limits, Lookup, Memtable, StoreKey, record};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use std::hint::black_box;

const KEYS: usize = 100_000;
/// Coprime to [`KEYS`]: keys come in no order.
const STRIDE: usize = 61_803;
/// Keys of one measured batch.
const BATCH: usize = 1_000;

pub fn bench(criterion: &mut Criterion) {
    let keys: Vec<StoreKey> = (0..KEYS + BATCH).map(store_key).collect();
    let state = sample::state(0).encode();
    let mut group = criterion.benchmark_group("memtable of 100,000 keys");
    group.throughput(Throughput::Elements(1));
    let mut table = Memtable::new();
    keys[..KEYS].iter().for_each(|key| {
        table.insert(key, state.clone(), Fingerprint(1), Lsn(1), Fingerprint::NONE);
    });
    let mut at = 0;
    let mut next = || {
        at = (at + STRIDE) % KEYS;
        &keys[at]
    };
    group.bench_function("overwrite", |bencher| {
        bencher.iter(|| table.insert(next(), state.clone(), Fingerprint(2), Lsn(2), Fingerprint(1)));
    });
    group.bench_function("lookup", |bencher| bencher.iter(|| table.get(black_box(next())).is_some()));

    let mut engine = engine(&keys[..KEYS], &state);
    let mut out = Outbox::new();
    group.bench_function("engine lookup", |bencher| {
        bencher.iter(|| match engine.lookup(black_box(next()), &mut out) {
            Lookup::Memory { state, .. } => state,
            other => panic!("not in memory: {other:?}"),
        });
    });
    group.bench_function("engine lookup of none", |bencher| {
        let absent = StoreKey::new(PartitionId(3), KEYSPACE, Within(7), &sample::key(u64::MAX));
        bencher.iter(|| matches!(engine.lookup(black_box(&absent), &mut out), Lookup::Absent));
    });
    group.bench_function("fingerprint", |bencher| {
        let state = sample::state(0);
        bencher.iter(|| Fingerprint::of(black_box(keys[0].as_bytes()), black_box(&state)));
    });
    group.bench_function("log record", |bencher| {
        bencher.iter(|| record::encode(black_box(&keys[0]), black_box(&state), Fingerprint(1)));
    });
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("insert 1,000 new keys", |bencher| {
        bencher.iter_batched_ref(
            || self::engine(&keys[..KEYS], &state),
            |engine| {
                for (key, lsn) in keys[KEYS..].iter().zip(2..) {
                    engine.insert(key, state.clone(), Fingerprint(2), Lsn(lsn), Fingerprint::NONE);
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// The `n`-th key, as a ring would place it.
fn store_key(n: usize) -> StoreKey {
    let n = u64::try_from(n).unwrap();
    let key = sample::key(n);
    let (partition, within) = place_of(1, 256, KEYSPACE, &key);
    StoreKey::new(partition, KEYSPACE, within, &key)
}

/// An engine that never freezes.
fn engine(keys: &[StoreKey], state: &Bytes) -> Engine {
    let mut engine = Engine::new(Limits { memtable_bytes: usize::MAX, ..Limits::default() });
    keys.iter().for_each(|key| {
        engine.insert(key, state.clone(), Fingerprint(1), Lsn(1), Fingerprint::NONE);
    });
    engine
}
