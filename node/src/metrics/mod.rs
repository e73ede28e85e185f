//! The metrics of a node: the recorder, and what each name means.
//!
//! Keeps: every closed label set exists from the start, at 0; every histogram has buckets.

mod meter;
mod names;
#[cfg(test)]
mod tests;

pub use meter::Meter;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;

/// Seconds of anything that a request waits for: 50 microseconds to 10 seconds.
const SECONDS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];
/// Seconds of one machine step: 0.5 microseconds to 0.1 seconds.
const STEP_SECONDS: [f64; 9] =
    [0.000_000_5, 0.000_001, 0.000_002, 0.000_005, 0.000_02, 0.000_1, 0.001, 0.01, 0.1];
/// Seconds for which an actor holds its thread: 20 microseconds to 0.5 seconds.
const HELD_SECONDS: [f64; 7] = [0.000_02, 0.000_1, 0.001, 0.01, 0.05, 0.1, 0.5];
/// Counts of things that come together.
const COUNTS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0, 1024.0];

/// How often samples are summed up into their buckets. A busy node takes some 100,000 a second, of 8 bytes each.
pub const SUM_UP_INTERVAL: Duration = Duration::from_secs(1);

/// Installs the process's recorder; its handle renders the metrics page.
pub fn install() -> Result<PrometheusHandle> {
    let full = |name: &str| Matcher::Full(name.to_owned());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(full("anser_request_seconds"), &SECONDS)?
        .set_buckets_for_metric(full("anser_commit_seconds"), &SECONDS)?
        .set_buckets_for_metric(full("anser_actor_handle_seconds"), &STEP_SECONDS)?
        .set_buckets_for_metric(full("anser_actor_drain_seconds"), &HELD_SECONDS)?
        .set_buckets_for_metric(full("anser_commit_batch"), &COUNTS)?
        .set_buckets_for_metric(full("anser_siblings"), &COUNTS)?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).context("metrics are installed once a process")?;
    names::describe();
    // Publishes what was described.
    handle.run_upkeep();
    Ok(handle)
}

/// Sums samples up at each interval, until its task is ended: till then the recorder keeps every one, whether or not somebody
/// reads the page.
pub async fn sum_up(page: PrometheusHandle, interval: Duration) {
    let mut interval = tokio::time::interval(interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        page.run_upkeep();
    }
}
