//! What a bench measured, as text and as JSON.

use super::workload::Op;
use crate::cli::failure::Failure;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// The longest latency that is told apart, in microseconds: a time-out's.
const LATENCY_US_MAX: u64 = 600_000_000;
/// Significant digits of latencies.
const DIGITS: u8 = 3;

/// The measure of one kind of operation.
#[derive(Debug)]
pub struct Measure {
    latency: Histogram<u64>,
    errors: u64,
}

/// The measures of all operations.
#[derive(Debug)]
pub struct Measures {
    empty: Histogram<u64>,
    by_op: BTreeMap<Op, Measure>,
    /// Gets of keys that were not there.
    pub missing: u64,
}

/// `bench --json`.
#[derive(Debug, Serialize)]
pub struct Report {
    ops: u64,
    errors: u64,
    refused: u64,
    verified: u64,
    missing: u64,
    seconds: f64,
    ops_per_second: f64,
    latency_us: Latency,
    by_op: BTreeMap<&'static str, OpReport>,
}

#[derive(Debug, Serialize)]
struct OpReport {
    ops: u64,
    errors: u64,
    ops_per_second: f64,
    latency_us: Latency,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
    mean: f64,
}

impl Measures {
    /// None yet.
    pub fn new() -> Result<Measures, Failure> {
        let empty = Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS).map_err(Failure::bug)?;
        Ok(Measures { empty, by_op: BTreeMap::new(), missing: 0 })
    }

    /// Takes an operation in; of one that failed, only that it did.
    pub fn note(&mut self, op: Op, latency_us: u64, done: bool) {
        let fresh = || Measure { latency: self.empty.clone(), errors: 0 };
        let measure = self.by_op.entry(op).or_insert_with(fresh);
        if done {
            measure.latency.saturating_record(latency_us.clamp(1, LATENCY_US_MAX));
        } else {
            measure.errors += 1;
        }
    }

    /// The report of a run so long.
    pub fn report(&self, seconds: f64, refused: u64, verified: u64) -> Report {
        let mut all = self.empty.clone();
        for measure in self.by_op.values() {
            let _same_bounds = all.add(&measure.latency);
        }
        let by_op = self.by_op.iter().map(|(op, measure)| {
            let ops = measure.latency.len();
            let latency_us = Latency::of(&measure.latency);
            let ops_per_second = rate(ops, seconds);
            (op.name(), OpReport { ops, errors: measure.errors, ops_per_second, latency_us })
        });
        Report {
            ops: all.len(),
            errors: self.by_op.values().map(|measure| measure.errors).sum(),
            refused,
            verified,
            missing: self.missing,
            seconds,
            ops_per_second: rate(all.len(), seconds),
            latency_us: Latency::of(&all),
            by_op: by_op.collect(),
        }
    }
}

impl Report {
    /// Operations that failed.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} operations in {:.1} s: {:.0} a second; {} errors, {} refusals retried, {} keys verified\n",
            self.ops, self.seconds, self.ops_per_second, self.errors, self.refused, self.verified
        );
        text.push_str("                     ops    a second   p50 us   p90 us   p99 us p99.9 us   max us");
        for (name, op) in &self.by_op {
            let latency = &op.latency_us;
            text.push_str(&format!(
                "\n{name:<17} {:>10} {:>10.0} {:>8} {:>8} {:>8} {:>8} {:>8}",
                op.ops, op.ops_per_second, latency.p50, latency.p90, latency.p99, latency.p999, latency.max
            ));
        }
        if self.missing > 0 {
            text.push_str(&format!("\n{} gets found no key; --load writes all keys first", self.missing));
        }
        text
    }
}

impl Latency {
    fn of(latency: &Histogram<u64>) -> Latency {
        let at = |quantile| latency.value_at_quantile(quantile);
        let mean = (latency.mean() * 10.0).round() / 10.0;
        Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: latency.max(), mean }
    }
}

fn rate(ops: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { (ops as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_promised_fields() {
        let mut measures = Measures::new().unwrap();
        for latency_us in 1..=1000 {
            measures.note(Op::Put, latency_us, true);
        }
        measures.note(Op::Get, 50, true);
        measures.note(Op::Get, 0, false);
        let json = serde_json::to_value(measures.report(2.0, 3, 4)).unwrap();
        assert_eq!(json["ops"], 1001);
        assert_eq!((&json["errors"], &json["refused"], &json["verified"]), (&1.into(), &3.into(), &4.into()));
        assert_eq!((&json["seconds"], &json["ops_per_second"]), (&2.0.into(), &500.5.into()));
        for (field, latency_us) in [("p50", 500), ("p99", 991), ("p999", 1000), ("max", 1000)] {
            let shown = json["latency_us"][field].as_u64().unwrap();
            assert!(shown.abs_diff(latency_us) <= 10, "{field}: {shown}");
        }
        assert_eq!(json["by_op"]["put"]["ops"], 1000);
        assert_eq!(json["by_op"]["get"]["errors"], 1);
    }

    #[test]
    fn a_run_without_operations_is_reported_too() {
        let report = Measures::new().unwrap().report(0.0, 0, 0);
        assert_eq!(report.errors(), 0);
        assert!(report.text().starts_with("0 operations in 0.0 s"));
    }
}
