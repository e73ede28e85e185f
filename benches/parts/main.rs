//! What each part costs alone, without sockets, threads or disk: codec, versions, placement, memtable, and one quorum round
//! through the machines.
//!
//! One part: `cargo bench --bench parts -- codec`. As a test (`cargo test --benches`) each case runs once.
//! Deliberately absent: thresholds. Figures of two runs differ by what else the machine does; compare within one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise, as a test does"
)]

mod codec;
mod memtable;
mod placement;
mod round;
mod sample;
mod versions;

use criterion::Criterion;
use std::time::Duration;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
        .configure_from_args();
    codec::bench(&mut criterion);
    versions::bench(&mut criterion);
    placement::bench(&mut criterion);
    memtable::bench(&mut criterion);
    round::bench(&mut criterion);
    criterion.final_summary();
}
