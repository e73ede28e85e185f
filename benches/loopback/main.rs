//! A cluster of three real node processes on this machine, loaded through the client SDK: what one operation costs them all.
//!
//! Figures are CPU time (user and system) summed over the three server processes, divided by operations: on a machine that
//! servers and client share, elapsed time says little about servers. `cargo bench --bench loopback`.
//! Deliberately absent: thresholds that fail; the targets are printed beside what was measured.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise, as a test does"
)]

#[path = "../asked/mod.rs"]
mod asked;
mod cpu;
mod crowd;
mod servers;

use asked::Asked;
use cpu::Cpu;
use crowd::{Crowd, Run};
use servers::Servers;
use std::time::Duration;

/// Operations that are not counted, so that connections and caches are warm.
const WARM_UP: u64 = 5_000;
/// Puts of new keys that are measured.
const PUTS: u64 = 100_000;
/// Gets of those keys that are measured.
const GETS: u64 = 200_000;
/// Microseconds of CPU that a put is meant to stay within, and a get.
const TARGET_US: (f64, f64) = (120.0, 60.0);
/// How long idle servers are watched.
const IDLE: Duration = Duration::from_secs(1);

fn main() {
    let (warm_up, puts, gets) = match Asked::of_arguments("loopback") {
        Asked::Nothing => return,
        Asked::Measure => (WARM_UP, PUTS, GETS),
        Asked::Test => (64, 300, 600),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let servers = Servers::start();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let crowd = Crowd::new(servers.client().await);
        crowd.puts(puts, warm_up).await;
        crowd.gets(puts, warm_up, warm_up).await;
        let idle = servers.settle().await;
        println!(
            "three servers on this machine; 64 outstanding, values of 100 bytes, W=2 durable and R=2 of N=3"
        );
        let before = servers.cpu();
        tokio::time::sleep(IDLE).await;
        println!(
            "idle: {:.1} ms CPU/s ({} ms to settle)",
            servers.cpu().since(&before).total_us() / 1e3 / IDLE.as_secs_f64(),
            idle.as_millis()
        );
        measure("put", TARGET_US.0, puts, &servers, crowd.puts(0, puts)).await;
        measure("get", TARGET_US.1, gets, &servers, crowd.gets(0, puts, gets)).await;
        crowd.close().await;
    });
    servers.stop();
}

/// Measures a load. What the servers still do after its last answer (tables, repairs) counts as its own.
async fn measure(name: &str, target_us: f64, count: u64, servers: &Servers, load: impl Future<Output = Run>) {
    let commits_before = servers.commits();
    let (before, own_before) = (servers.cpu(), Cpu::of_this_process());
    let run = load.await;
    let own = Cpu::of_this_process().since(&own_before);
    servers.settle().await;
    let spent = servers.cpu().since(&before);
    let each = |us: f64| us / count as f64;
    let at = |quantile: f64| run.latency_us.value_at_quantile(quantile);
    println!(
        "{name}: {:.1} us CPU/op (target {target_us:.0}), {:.0} ops/s, p50 {} us, p99 {} us, p99.9 {} us, max {} us",
        each(spent.total_us()),
        count as f64 / run.elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999),
        run.latency_us.max()
    );
    println!(
        "     user {:.1} + system {:.1} us; of {count} operations {} failed; client {:.1} us CPU/op, {} attempts",
        each(spent.user_us),
        each(spent.system_us),
        run.failed,
        each(own.total_us()),
        run.attempts
    );
    let commits = servers.commits();
    let groups = commits.groups - commits_before.groups;
    if groups > 0.0 {
        println!(
            "     {groups:.0} syncs, {:.1} records each",
            (commits.records - commits_before.records) / groups
        );
    }
    assert_eq!(run.failed, 0, "operations failed: {:?}", run.failure);
}
