//! The shell in virtual time: the production machines in the host do, step by step, what they do alone.
//!
//! A cluster of three nodes (membership, coordinator, two replicas, compactor) runs twice from one seed: with its machines
//! stepped by hand, and with each in an actor of the host, all on one thread in paused time. Nodes crash and start again
//! from their disks, machines panic at any step, messages are lost. What is compared: for each actor and each millisecond
//! of virtual time, all that it said of each kind (facts and counts; disk requests with the life that asks; messages), in
//! order. What is not: how the host batches them, and the order across kinds, which it does not keep. Everything that
//! follows depends on what was said, so both runs part for good at the first difference.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod bare;
mod cast;
mod clients;
mod cluster;
mod hosted;
mod machines;
mod stage;

use bare::Bare;
use cluster::{Cluster, Plot};
use hosted::Hosted;
use stage::Stage;

const TROUBLED: Plot =
    Plot { doomed: 500_000, crashes: 2, lost: 30_000, trouble_until_ms: 3000, until_ms: 4000 };
const CALM: Plot = Plot { doomed: 0, crashes: 0, lost: 0, trouble_until_ms: 0, until_ms: 2000 };
/// All kinds of trouble in little time, to be run many times.
const SHORT: Plot =
    Plot { doomed: 700_000, crashes: 1, lost: 30_000, trouble_until_ms: 1200, until_ms: 1400 };
const RUNS: usize = 100;

fn bare(seed: u64, plot: Plot) -> Cluster<Bare> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(Cluster::new(Bare::default(), seed, plot).run())
}

fn hosted(seed: u64, plot: Plot) -> Cluster<Hosted> {
    Hosted::run(async |stage| Cluster::new(stage, seed, plot).run().await)
}

/// How many lines tell of something.
fn count<S: Stage>(cluster: &Cluster<S>, what: &str) -> usize {
    cluster.lines.iter().filter(|line| line.contains(what)).count()
}

fn assert_same<S: Stage, T: Stage>(seed: u64, one: &Cluster<S>, other: &Cluster<T>) {
    for (nth, (one, other)) in one.lines.iter().zip(&other.lines).enumerate() {
        assert_eq!(one, other, "seed {seed}, line {nth}");
    }
    assert_eq!((one.lines.len(), one.rebuilds), (other.lines.len(), other.rebuilds), "seed {seed}");
}

#[test]
fn hosted_machines_do_what_they_do_alone() {
    const MET: [&str; 8] = [
        "Refused(Crashed)",
        "Refused(NotServing)",
        "crashes",
        "Flush {",
        "Merge {",
        "Fetch {",
        "ForwardPut(",
        "Unknown {",
    ];
    let mut met = [0; MET.len()];
    let (mut rebuilds, mut succeeded) = (0, 0);
    for seed in 0..8 {
        let (bare, hosted) = (bare(seed, TROUBLED), hosted(seed, TROUBLED));
        assert_same(seed, &bare, &hosted);
        for (met, what) in met.iter_mut().zip(MET) {
            *met += count(&hosted, what);
        }
        rebuilds += hosted.rebuilds;
        succeeded += hosted.done().0;
    }
    assert!(
        rebuilds > 40 && succeeded > 1000 && !met.contains(&0),
        "{rebuilds} {succeeded} {met:?} of {MET:?}"
    );
}

#[test]
fn a_calm_cluster_in_the_host_answers_everything() {
    let cluster = hosted(7, CALM);
    let (succeeded, unknown) = cluster.done();
    assert!(succeeded > 100 && unknown == 0 && cluster.rebuilds == 0, "{succeeded} {unknown}");
    assert_eq!(count(&cluster, "Failed("), 0);
}

#[test]
fn one_seed_is_one_trace_a_hundred_times_over() {
    let first = hosted(4, SHORT);
    assert!(first.rebuilds > 0 && count(&first, "crashes") > 0 && first.done().0 > 50);
    for _ in 1..RUNS {
        assert_same(4, &first, &hosted(4, SHORT));
    }
    assert_ne!(hosted(2, SHORT).lines, first.lines, "another seed, another trace");
}
