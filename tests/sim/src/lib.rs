//! The simulator: whole clusters of the production machines in virtual time, from one seed.
//!
//! The machines are the very ones that a node hosts; what is simulated is everything around them: time, network, disks,
//! clocks, processes, clients. A run is a pure function of its seed, profile and options. Deliberately absent: the node, its
//! host and QUIC, which have tests of their own; anything that reads a real clock but the runner that times itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // A surprise in here is a bug, found by panicking.

pub mod args;
mod clients;
mod coverage;
mod dice;
mod disk;
mod faults;
mod founding;
mod invariants;
mod journal;
pub mod linear;
mod phases;
mod profile;
pub mod runner;
mod schedule;
mod shrink;
mod truth;
mod verdicts;
mod world;

pub use phases::{run, situations};
pub use profile::{PROFILES, Profile, profile};
use std::collections::BTreeSet;
pub use verdicts::Violation;

/// What one run is asked to do beside its seed and profile.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keep the event log.
    pub log: bool,
    /// Leave these occurrences of faults out.
    pub skip: BTreeSet<u64>,
    /// Disks that say that they synced and did not: no store survives them, and the invariants must say so.
    pub lying_disks: bool,
    /// In place of the profile's: clients, keys in each keyspace, milliseconds of faults.
    pub clients: Option<usize>,
    /// See `clients`.
    pub keys: Option<usize>,
    /// See `clients`.
    pub faults_ms: Option<u64>,
}

impl std::fmt::Display for Options {
    /// As the command line has them, but for the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(clients) = self.clients {
            write!(f, " --clients {clients}")?;
        }
        if let Some(keys) = self.keys {
            write!(f, " --keys {keys}")?;
        }
        if let Some(faults_ms) = self.faults_ms {
            write!(f, " --faults-ms {faults_ms}")?;
        }
        if !self.skip.is_empty() {
            let skip: Vec<String> = self.skip.iter().map(u64::to_string).collect();
            write!(f, " --skip {}", skip.join(","))?;
        }
        if self.lying_disks { f.write_str(" --lying-disks") } else { Ok(()) }
    }
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Its profile's name.
    pub profile: &'static str,
    /// Hash of everything that happened, in order.
    pub hash: u64,
    /// How many things happened.
    pub events: u64,
    /// Microseconds of virtual time.
    pub virtual_us: u64,
    /// What was injected, and how often.
    pub faults: Vec<(&'static str, u64)>,
    /// How often each invariant was evaluated.
    pub checks: Vec<(&'static str, u64)>,
    /// How often each situation arose.
    pub met: Vec<(&'static str, u64)>,
    /// How many faults occurred (or were left out), for whoever wants to leave some out.
    pub occurred: u64,
    /// The broken invariant, if one was.
    pub violation: Option<Violation>,
    /// The event log, if asked for.
    pub lines: Vec<String>,
}
