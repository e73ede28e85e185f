//! `bench`: a load generator that checks what it reads.
//!
//! With `--rate` the load is open: each operation is due at a time that does not depend on the answers before it, and its
//! latency counts from there, so that a stall is measured in full.

mod report;
mod run;
mod sample;
mod workload;

use super::failure::{Failure, FailureKind};
use super::{ClientArgs, output, parse};
use anser_client::{KeyspaceName, Level};
use run::Bench;
use std::time::Duration;
use workload::{Distribution, Workload};

/// `anser bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  anser bench --workload put --seconds 10
  anser bench --workload a --keys 100000 --load --concurrency 128
  anser bench --workload b --rate 5000 --json

Keys are named bench-000000000000 and so on, in keyspace default unless told. What it wrote is read back
at the end, of a sample of the keys; a wrong answer exits with 70.")]
pub struct BenchArgs {
    /// The mix of operations: put, get, or one of YCSB's (a, b, c, d, f)
    #[arg(long, value_name = "MIX", default_value = "a")]
    workload: Workload,
    /// How many keys
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    keys: u64,
    /// Which keys are chosen how often [default: the workload's]
    #[arg(long, value_name = "HOW")]
    distribution: Option<Distribution>,
    /// How long values are
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    value_bytes: u32,
    /// How many requests are outstanding, at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=8192))]
    concurrency: u16,
    /// For how long
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = positive)]
    seconds: f64,
    /// So many operations a second, whatever the answers (open loop) [default: each after an answer]
    #[arg(long, value_name = "R", value_parser = positive)]
    rate: Option<f64>,
    /// Write all keys first; not measured
    #[arg(long)]
    load: bool,
    /// In which keyspace
    #[arg(long, value_name = "NAME", value_parser = parse::keyspace, default_value = parse::KEYSPACE_DEFAULT)]
    keyspace: KeyspaceName,
    /// The level of reads and writes [default: the keyspace's]
    #[arg(long, value_name = "LEVEL", value_parser = parse::level, conflicts_with_all = ["w", "r"])]
    consistency: Option<Level>,
    /// How many replicas must have a write on disk
    #[arg(long, value_name = "N", value_parser = parse::count)]
    w: Option<Level>,
    /// How many replicas must answer a read
    #[arg(long, value_name = "N", value_parser = parse::count)]
    r: Option<Level>,
    /// How long an operation may take over all attempts
    #[arg(long, value_name = "DURATION", value_parser = parse::timeout, default_value = "2s")]
    timeout: Duration,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.filter(|number| *number <= 1e9).ok_or_else(|| "a number above 0".to_owned())
}

impl BenchArgs {
    /// Runs it.
    pub async fn run(self) -> Result<(), Failure> {
        let at = |failure: Failure| failure.at("bench");
        if self.workload == Workload::E {
            return Err(at(Failure::usage(
                "workload e needs scans, which are not available yet; take another",
            )));
        }
        let client = self.client.connect().await.map_err(at)?;
        let bench = Bench::new(client, &self).map_err(at)?;
        if self.load {
            bench.preload().await.map_err(at)?;
        }
        let measured = bench.measure().await;
        let checked = bench.verify().await;
        let report = bench.report(measured, checked.verified)?;
        if self.json {
            output::json(&report)?
        } else {
            output::line(&report.text())?
        }
        bench.close().await;
        if let Some(wrong) = checked.wrong.first() {
            let line = format!(
                "{} keys read back wrongly: {wrong}; this is a bug, please report it",
                checked.wrong.len()
            );
            return Err(at(Failure::new(FailureKind::Bug, line)));
        }
        match bench.first_failure() {
            Some(failure) => {
                let line = format!("{} operations failed, as this one: {failure}", report.errors());
                Err(at(Failure::new(failure.kind, line)))
            }
            None => Ok(()),
        }
    }
}
