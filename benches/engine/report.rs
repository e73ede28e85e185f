//! What was measured, and how it is printed.

use crate::{histogram, record, sizes};
use hdrhistogram::Histogram;
use rustix::fs::{major, minor, syncfs};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

/// Which number of a device's `stat` has the sectors that were written.
const SECTORS_WRITTEN: usize = 6;
/// How long it may take to get quiet.
const QUIET_WITHIN: Duration = Duration::from_secs(20);

/// Bytes that were written.
#[derive(Clone, Copy, Default)]
pub struct Written {
    /// That this process handed to the system. (Not `write_bytes` of `/proc`, which told up to 2.7 times as much where
    /// the device itself told about the same as this: it counts what becomes dirty, it seems by whole large folios.)
    calls: u64,
    /// That the device wrote, whoever asked for them; 0 if it is not looked at.
    device: u64,
}

impl Written {
    /// So far. With the device's, all that was written before is there by now.
    pub fn so_far() -> Written {
        let Some(folder) = &sizes().device else { return Written { calls: handed_over(), device: 0 } };
        let folder = File::open(folder).unwrap();
        syncfs(&folder).unwrap();
        let device = folder.metadata().unwrap().dev();
        let place = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
        let stat = fs::read_to_string(&place).unwrap();
        let sectors: u64 = stat.split_whitespace().nth(SECTORS_WRITTEN).unwrap().parse().unwrap();
        Written { calls: handed_over(), device: sectors * 512 }
    }

    /// Adds what was written since.
    pub fn add_since(&mut self, before: Written, now: Written) {
        self.calls += now.calls - before.calls;
        self.device += now.device - before.device;
    }
}

fn handed_over() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or_default()
}

/// What was written, once nothing more is.
pub fn quiet() -> Written {
    let (begun, mut since, mut bytes) = (Instant::now(), Instant::now(), handed_over());
    while since.elapsed() < sizes().quiet && begun.elapsed() < QUIET_WITHIN {
        std::thread::park_timeout(Duration::from_millis(20));
        let now = handed_over();
        if now != bytes {
            (since, bytes) = (Instant::now(), now);
        }
    }
    Written::so_far()
}

/// Of one store in one row.
pub struct Measured {
    ops: u64,
    time: Duration,
    latency_ns: Histogram<u64>,
    /// Until its background work was done.
    pub settling: Duration,
    /// Bytes of keys and states that were written by the work.
    pub user: u64,
    /// What all of it came to.
    pub written: Written,
    /// Bytes of its files at the end.
    pub on_disk: u64,
    filters: (u64, u64),
}

impl Default for Measured {
    fn default() -> Measured {
        Measured {
            ops: 0,
            time: Duration::ZERO,
            latency_ns: histogram(),
            settling: Duration::ZERO,
            user: 0,
            written: Written::default(),
            on_disk: 0,
            filters: (0, 0),
        }
    }
}

impl Measured {
    /// One call that did so much.
    pub fn op(&mut self, ops: u64, took: Duration) {
        self.ops(ops, took);
        record(&mut self.latency_ns, took);
    }

    /// Many that were timed together.
    pub fn ops(&mut self, ops: u64, took: Duration) {
        self.ops += ops;
        self.time += took;
    }

    /// What filters were asked in vain, and let pass.
    pub fn filters(&mut self, before: (u64, u64), after: (u64, u64)) {
        self.filters.0 += after.0.saturating_sub(before.0);
        self.filters.1 += after.1.saturating_sub(before.1);
    }

    /// Operations a second.
    pub fn per_second(&self) -> f64 {
        self.ops as f64 / self.time.as_secs_f64()
    }

    /// What the slowest call in a thousand took, in microseconds.
    pub fn slowest_us(&self) -> f64 {
        self.latency_ns.value_at_quantile(0.999) as f64 / 1e3
    }

    /// The quantiles, in microseconds.
    pub fn latencies(&self) -> String {
        if self.latency_ns.is_empty() {
            return "-".into();
        }
        let at = |quantile| self.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
        format!("{:.1} / {:.1} / {:.1}", at(0.5), at(0.99), at(0.999))
    }
}

/// One row.
pub struct Row {
    name: &'static str,
    /// Of the two stores.
    pub measured: [Measured; 2],
}

impl Row {
    /// An empty one.
    pub fn new(name: &'static str) -> Row {
        Row { name, measured: [Measured::default(), Measured::default()] }
    }

    /// What the columns are.
    pub fn head(names: [&str; 2]) {
        let [first, second] = names;
        println!(
            "{:<26} {:>12} {:>12} {:>7}   {:<28} {:<28}",
            "",
            format!("{first} ops/s"),
            format!("{second} ops/s"),
            "ratio",
            format!("{first} us p50/p99/p99.9"),
            format!("{second} us p50/p99/p99.9")
        );
    }

    /// How fast.
    pub fn print(&self) {
        let [first, second] = &self.measured;
        let (mine, others) = (first.per_second(), second.per_second());
        println!(
            "{:<26} {mine:>12.0} {others:>12.0} {:>7.2}   {:<28} {:<28}",
            self.name,
            mine / others,
            first.latencies(),
            second.latencies()
        );
    }

    /// What it cost, if it wrote or asked filters.
    pub fn print_costs(&self, user_bytes: u64) {
        let [first, second] = &self.measured;
        let pair = |of: &dyn Fn(&Measured) -> f64| format!("{:.2} / {:.2}", of(first), of(second));
        if first.user > 0 {
            println!(
                "  {:<24} bytes written per byte {}, by the device {}, on disk per byte {}, settled after {} s",
                self.name,
                pair(&|of| of.written.calls as f64 / of.user as f64),
                pair(&|of| of.written.device as f64 / of.user as f64),
                pair(&|of| of.on_disk as f64 / user_bytes as f64),
                pair(&|of| of.settling.as_secs_f64())
            );
        } else if first.filters.0 > 0 {
            println!(
                "  {:<24} filters asked in vain {} a get, wrong {} of 100",
                self.name,
                pair(&|of| of.filters.0 as f64 / of.ops as f64),
                pair(&|of| 100.0 * of.filters.1 as f64 / of.filters.0.max(1) as f64)
            );
        }
    }
}
