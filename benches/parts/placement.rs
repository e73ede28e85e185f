//! Placement at 1,000 nodes in two data centres: a table from nothing, one with a node more, and what each request asks of it.

use crate::sample::{self, KEYSPACE};
use anser_model::ring::{Placement, Replicas};
use anser_model::{NodeId, PartitionId};
use criterion::Criterion;
use std::hint::black_box;
use std::time::Duration;

const NODES: u16 = 1_000;
const DCS: u16 = 2;
/// About 50 replicas a node: 3 in each data centre.
const PARTITIONS: u16 = 8_192;

pub fn bench(criterion: &mut Criterion) {
    let profile = Replicas::PerDc(3);
    let profiles = [profile.clone()];
    let roster = sample::roster(NODES, DCS);
    let more = sample::roster(NODES + 1, DCS);
    let before = Placement::compute(1, PARTITIONS, &profiles, &roster, None).unwrap();

    let mut group = criterion.benchmark_group("placement at 1,000 nodes");
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    group.bench_function("compute", |bencher| {
        bencher.iter(|| Placement::compute(1, PARTITIONS, &profiles, black_box(&roster), None).unwrap());
    });
    group.bench_function("add a node", |bencher| {
        bencher
            .iter(|| Placement::compute(2, PARTITIONS, &profiles, black_box(&more), Some(&before)).unwrap());
    });
    group.finish();

    let record = sample::genesis(roster, PARTITIONS);
    let mut group = criterion.benchmark_group("placement at 1,000 nodes");
    let key = sample::key(1);
    group.bench_function("place of a key", |bencher| {
        bencher.iter(|| black_box(&record).place_of(KEYSPACE, black_box(&key)));
    });
    let mut partition = 0;
    let mut next = move || {
        partition = (partition + 4_001) % PARTITIONS;
        PartitionId(partition)
    };
    group.bench_function("replicas of a partition", |bencher| {
        bencher.iter(|| before.replicas(&profile, next()).map(|member| member.node).collect::<Vec<NodeId>>());
    });
    group.bench_function("fallbacks of a partition", |bencher| {
        bencher
            .iter(|| before.fallbacks(&profile, next()).map(|member| member.node).collect::<Vec<NodeId>>());
    });
    group.finish();
}
