//! The command line of `cargo sim`.

use crate::Options;
use crate::profile::{PROFILES, Profile, profile};
use std::ops::Range;
use std::path::PathBuf;

/// How to use it.
pub const USAGE: &str = "\
usage: cargo sim SEED | --seeds A..B   [--profile NAME] [--jobs N] [--minutes M] [--repeat N] [--json]
                                       [--require-coverage] [--log] [--logs DIR] [--hash] [--shrink]
                                       [--clients N] [--keys N] [--faults-ms N] [--skip FAULT,…] [--lying-disks]
                                       [--eager-timers]

  --seeds A..B         all seeds from A on, B excluded
  --profile NAME       calm, faults (the default), disks, partitions, churn, two_dcs, hot, turns, alone, old_copies, long;
                       all: one after the other
  --jobs N             seeds at a time (default: one for each processor)
  --minutes M          stop after so many minutes; without --seeds, go on from SEED until then
  --repeat N           run each seed N times, and fail if the runs are not one and the same
  --json               end with one JSON document; a failing seed's line goes to standard error
  --require-coverage   fail if a situation never arose
  --log                print the event log
  --logs DIR           where the logs of failing seeds are written (default: target/sim)
  --hash               print one line with the hash of each run
  --shrink             leave out what a failure doesn't need: time, clients, keys, faults
  --clients N, --keys N, --faults-ms N
                       in place of the profile's: clients, keys in each keyspace, milliseconds of faults
  --skip FAULT,…       leave out these faults, by their numbers in the log
  --lying-disks        let the disks lie about syncing (the run must fail)
  --eager-timers       give each machine a twin whose timeouts are called early and twice, and which must do the same";

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Command {
    /// The seeds.
    pub seeds: Range<u64>,
    /// The profiles, one of which each seed is run in; all of them if asked so.
    pub profiles: Vec<Profile>,
    /// Seeds at a time.
    pub jobs: usize,
    /// Minutes after which no further seed is begun.
    pub minutes: Option<f64>,
    /// How often each seed is run.
    pub repeat: u32,
    /// Where the logs of failing seeds are written.
    pub logs: PathBuf,
    /// End with JSON.
    pub json: bool,
    /// Fail if a situation never arose.
    pub require_coverage: bool,
    /// Print the hash of each run.
    pub hash: bool,
    /// Shrink failures.
    pub shrink: bool,
    /// For each run.
    pub options: Options,
}

impl Default for Command {
    /// No seed yet.
    fn default() -> Command {
        Command {
            seeds: 0..0,
            profiles: vec![profile("faults").expect("it is there")],
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            minutes: None,
            repeat: 1,
            logs: PathBuf::from("target/sim"),
            json: false,
            require_coverage: false,
            hash: false,
            shrink: false,
            options: Options::default(),
        }
    }
}

/// Reads the arguments.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut command = Command::default();
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let mut value =
            || inline.clone().or_else(|| args.next()).ok_or(format!("{name} needs a value\n{USAGE}"));
        match name.as_str() {
            "--seeds" => command.seeds = range(&value()?)?,
            "--profile" => command.profiles = profiles(&value()?)?,
            "--jobs" => command.jobs = number::<usize>(&value()?)?.max(1),
            "--minutes" => command.minutes = Some(number(&value()?)?),
            "--repeat" => command.repeat = number::<u32>(&value()?)?.max(1),
            "--logs" => command.logs = PathBuf::from(value()?),
            "--clients" => command.options.clients = Some(number(&value()?)?),
            "--keys" => command.options.keys = Some(number(&value()?)?),
            "--faults-ms" => command.options.faults_ms = Some(number(&value()?)?),
            "--skip" => command.options.skip = value()?.split(',').map(number).collect::<Result<_, _>>()?,
            "--json" => command.json = true,
            "--require-coverage" => command.require_coverage = true,
            "--log" => command.options.log = true,
            "--hash" => command.hash = true,
            "--shrink" => command.shrink = true,
            "--lying-disks" => command.options.lying_disks = true,
            "--eager-timers" => command.options.eager_timers = true,
            "--help" | "-h" => return Err(USAGE.to_owned()),
            seed if !seed.starts_with('-') => {
                let seed = number(seed)?;
                command.seeds = seed..seed + 1;
            }
            unknown => return Err(format!("unknown option {unknown}\n{USAGE}")),
        }
    }
    if command.seeds.is_empty() && command.minutes.is_none() {
        return Err(format!("no seed to run\n{USAGE}"));
    }
    if command.minutes.is_some() && command.seeds.end <= command.seeds.start + 1 {
        command.seeds.end = u64::MAX;
    }
    Ok(command)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is no number\n{USAGE}"))
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or(format!("{text:?} is no range of seeds\n{USAGE}"))?;
    let range = number(from)?..number(to)?;
    if range.is_empty() { Err(format!("{text:?} holds no seed\n{USAGE}")) } else { Ok(range) }
}

fn profiles(name: &str) -> Result<Vec<Profile>, String> {
    if name == "all" {
        return Ok(PROFILES.to_vec());
    }
    profile(name).map(|profile| vec![profile]).ok_or_else(|| {
        let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
        format!("no profile {name:?}; there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_seed_a_range_and_their_options_are_read() {
        assert_eq!(parsed("7").unwrap().seeds, 7..8);
        let command = parsed("--seeds 3..9 --profile=disks --jobs 1 --json --skip 2,5").unwrap();
        assert_eq!((command.seeds, command.profiles[0].name, command.jobs), (3..9, "disks", 1));
        assert!(command.json && command.options.skip.contains(&5));
        assert_eq!(parsed("--minutes 1").unwrap().seeds.end, u64::MAX);
        for wrong in ["", "x", "--seeds 4..4", "--seeds 4", "1 --profile none", "1 --none", "--jobs"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
