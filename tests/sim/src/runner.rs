//! Runs many seeds, several at a time, and tells what came of them.

use crate::args::Command;
use crate::profile::Profile;
use crate::shrink::shrink;
use crate::{Options, Report, Violation, situations};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Most failing seeds after which no further one is begun.
const FAILURES_MAX: usize = 20;

/// What came of all runs.
#[derive(Debug, Default)]
struct Total {
    runs: u64,
    events: u64,
    virtual_us: u64,
    failed: Vec<(u64, &'static str, String)>,
    faults: BTreeMap<&'static str, u64>,
    checks: BTreeMap<&'static str, u64>,
    met: BTreeMap<&'static str, u64>,
}

impl Total {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.events += report.events;
        self.virtual_us += report.virtual_us;
        let parts = [
            (&mut self.faults, &report.faults),
            (&mut self.checks, &report.checks),
            (&mut self.met, &report.met),
        ];
        for (total, counts) in parts {
            for (name, count) in counts {
                *total.entry(name).or_default() += count;
            }
        }
    }
}

/// Runs what was asked for.
pub fn run(command: &Command) -> ExitCode {
    // A machine's panic is a finding of its run, told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let until = command.minutes.map(|minutes| begun + Duration::from_secs_f64(minutes * 60.0));
    let next = AtomicU64::new(command.seeds.start);
    let total = Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..command.jobs {
            scope.spawn(|| {
                while until.is_none_or(|until| Instant::now() < until) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= command.seeds.end
                        || total.lock().expect("no runner panics").failed.len() >= FAILURES_MAX
                    {
                        return;
                    }
                    for profile in &command.profiles {
                        run_seed(command, seed, profile, &total);
                    }
                }
            });
        }
    });
    let total = total.into_inner().expect("no runner panics");
    conclude(command, &total, begun.elapsed().as_secs_f64())
}

fn run_seed(command: &Command, seed: u64, profile: &Profile, total: &Mutex<Total>) {
    let mut report = crate::run(seed, profile, &command.options);
    for _ in 1..command.repeat {
        let again = crate::run(seed, profile, &Options { log: false, ..command.options.clone() });
        if (again.hash, again.events) != (report.hash, report.events) {
            let what = format!("hash {:016x} and then {:016x}", report.hash, again.hash);
            let at_us = report.virtual_us;
            report.violation.get_or_insert(Violation { invariant: "one_seed_one_run", at_us, what });
        }
    }
    let failure = report.violation.as_ref().map(|violation| {
        let small = if command.shrink { shrink(&report, profile, &command.options) } else { command.options.clone() };
        let log = write_log(&command.logs, seed, profile, &small);
        let log = log.map_or_else(|error| format!("not written, {error}"), |path| path.display().to_string());
        format!(
            "seed {seed} profile {}: {} broken at {:.6} s: {}; replay: cargo sim {seed} --profile {}{small}; log: {log}",
            profile.name,
            violation.invariant,
            violation.at_us as f64 / 1e6,
            violation.what.replace('\n', " "),
            profile.name
        )
    });
    let mut total = total.lock().expect("no runner panics");
    total.add(&report);
    for line in &report.lines {
        println!("{line}");
    }
    if command.hash {
        println!("seed {seed} profile {} hash {:016x} events {}", profile.name, report.hash, report.events);
    }
    if let Some(failure) = failure {
        if command.json {
            eprintln!("{failure}")
        } else {
            println!("{failure}")
        }
        total.failed.push((seed, profile.name, failure));
    }
}

/// Runs a failing seed once more, and writes its event log.
fn write_log(dir: &Path, seed: u64, profile: &Profile, options: &Options) -> std::io::Result<PathBuf> {
    let report = crate::run(seed, profile, &Options { log: true, ..options.clone() });
    std::fs::create_dir_all(dir)?;
    let path = dir.join(format!("{}-{seed}.log", profile.name));
    std::fs::write(&path, report.lines.join("\n") + "\n")?;
    Ok(path)
}

fn conclude(command: &Command, total: &Total, seconds: f64) -> ExitCode {
    let never: Vec<&str> =
        situations().filter(|name| total.met.get(name).copied().unwrap_or(0) == 0).collect();
    let virtual_seconds = total.virtual_us as f64 / 1e6;
    if command.json {
        let failed: Vec<_> = total
            .failed
            .iter()
            .map(|(seed, profile, what)| json!({"seed": seed, "profile": profile, "what": what}))
            .collect();
        let document = json!({
            "seeds": total.runs, "failed": failed, "virtual_seconds": virtual_seconds, "seconds": seconds,
            "events": total.events, "events_per_second": (total.events as f64 / seconds).round(),
            "faults": total.faults, "checks": total.checks, "situations": total.met, "never": never,
        });
        println!("{document}");
    } else {
        println!(
            "{} runs, {} failed; {virtual_seconds:.0} virtual seconds in {seconds:.1} s ({:.0} times real time), {} events ({:.0} a second)",
            total.runs,
            total.failed.len(),
            virtual_seconds / seconds,
            total.events,
            total.events as f64 / seconds
        );
        if !never.is_empty() {
            println!("never arose: {}", never.join("; "));
        }
    }
    let fine = total.failed.is_empty() && (never.is_empty() || !command.require_coverage);
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
