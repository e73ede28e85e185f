//! Makes a failing run small: shorter, fewer clients and keys, and without the faults that it does not need, as long as the same
//! invariant breaks.

use crate::profile::Profile;
use crate::{Options, Report};

/// Most runs that are tried.
const RUNS_MAX: usize = 500;

struct Shrinking<'a> {
    seed: u64,
    profile: &'a Profile,
    invariant: &'static str,
    best: Options,
    runs: usize,
}

/// The options of a smaller run that breaks the same invariant.
pub(crate) fn shrink(report: &Report, profile: &Profile, options: &Options) -> Options {
    let Some(violation) = &report.violation else { return options.clone() };
    let best = Options { log: false, ..options.clone() };
    let mut shrinking =
        Shrinking { seed: report.seed, profile, invariant: violation.invariant, best, runs: 0 };
    shrinking.shorten(violation.at_us / 1000);
    shrinking.thin_out();
    shrinking.leave_faults_out(report.occurred);
    shrinking.best
}

impl Shrinking<'_> {
    /// Takes a change if the run still fails as it did.
    fn attempt(&mut self, change: impl FnOnce(&mut Options)) -> bool {
        let mut changed = self.best.clone();
        change(&mut changed);
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let again = crate::run(self.seed, self.profile, &changed);
        let same = again.violation.is_some_and(|violation| violation.invariant == self.invariant);
        if same {
            self.best = changed;
        }
        same
    }

    /// Ends the faults earlier, by halves; what broke at a time needs nothing after it.
    fn shorten(&mut self, broken_ms: u64) {
        let mut faults_ms = self.profile.with(&self.best).faults_ms.min(broken_ms);
        while faults_ms > 100 && self.attempt(|options| options.faults_ms = Some(faults_ms)) {
            faults_ms /= 2;
        }
    }

    fn thin_out(&mut self) {
        let clients = self.profile.with(&self.best).clients;
        for fewer in 1..clients {
            if self.attempt(|options| options.clients = Some(fewer)) {
                break;
            }
        }
        let keys = self.profile.with(&self.best).keys;
        for fewer in 1..keys {
            if self.attempt(|options| options.keys = Some(fewer)) {
                break;
            }
        }
    }

    /// Leaves out halves of the faults, then quarters, and so on down to each alone.
    fn leave_faults_out(&mut self, occurred: u64) {
        let mut span = occurred;
        while span > 0 {
            let mut from = 0;
            while from < occurred {
                let some = from..occurred.min(from + span);
                if some.clone().any(|number| !self.best.skip.contains(&number)) {
                    self.attempt(|options| options.skip.extend(some));
                }
                from += span;
            }
            span /= 2;
        }
    }
}
