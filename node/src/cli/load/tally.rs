//! What came of the rows of a load: how many, which failed, and where to take it up again.

use crate::cli::failure::{Failure, FailureKind};

/// Most failures that the report lists.
const LISTED_MAX: usize = 10;
/// With so many failures one after the other, the load stops: the cluster is not there, or the file is another one.
const FAILURES_IN_A_ROW_MAX: u64 = 200;

/// A count of rows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub done: u64,
    pub failed: u64,
    taken: u64,
    first_failed: Option<u64>,
    in_a_row: u64,
    listed: Vec<String>,
    worst: Option<Failure>,
}

impl Tally {
    /// A row was taken on.
    pub fn take(&mut self, place: u64) {
        self.taken = self.taken.max(place);
    }

    /// A row is stored, or as it should be.
    pub fn done(&mut self) {
        self.done += 1;
        self.in_a_row = 0;
    }

    /// A row is not (or perhaps) stored, or not as it should be.
    pub fn failed(&mut self, place: u64, failure: Failure) {
        self.failed += 1;
        self.in_a_row += 1;
        self.first_failed = Some(self.first_failed.map_or(place, |first| first.min(place)));
        if self.listed.len() < LISTED_MAX {
            self.listed.push(format!("line {place}: {failure}"));
        }
        let unknown = failure.kind == FailureKind::Unknown;
        let known_before = self.worst.as_ref().is_some_and(|worst| worst.kind != FailureKind::Unknown);
        if self.worst.is_none() || (unknown && known_before) {
            self.worst = Some(failure);
        }
    }

    /// Whether going on is of no use.
    pub fn is_hopeless(&self) -> bool {
        self.in_a_row >= FAILURES_IN_A_ROW_MAX
    }

    /// What failed, a line each, the first ones.
    pub fn report(&self) -> impl Iterator<Item = String> + '_ {
        let more = self.failed.saturating_sub(self.listed.len() as u64);
        let more = (more > 0).then(|| format!("and {more} more"));
        self.listed.iter().cloned().chain(more)
    }

    /// Where to begin so that nothing is left out; none if it is all done.
    pub fn resume_from(&self, stopped: bool) -> Option<u64> {
        let next = stopped.then_some(self.taken + 1);
        match (self.first_failed, next) {
            (Some(failed), Some(next)) => Some(failed.min(next)),
            (failed, next) => failed.or(next),
        }
    }

    /// How the load ends: an unknown row weighs more than any other, else the first failure tells.
    pub fn end(&self) -> Result<(), Failure> {
        match &self.worst {
            None => Ok(()),
            Some(worst) => Err(Failure::new(
                worst.kind,
                format!("{} of {} rows failed: {worst}", self.failed, self.failed + self.done),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "why")
    }

    #[test]
    fn a_load_without_failures_ends_well() {
        let mut tally = Tally::default();
        tally.take(1);
        tally.done();
        assert_eq!(tally.end(), Ok(()));
        assert_eq!(tally.resume_from(false), None);
        assert_eq!(tally.resume_from(true), Some(2));
    }

    #[test]
    fn it_is_taken_up_at_the_first_row_that_failed() {
        let mut tally = Tally::default();
        for place in 1..=9 {
            tally.take(place);
        }
        tally.failed(7, failure(FailureKind::Usage));
        tally.failed(4, failure(FailureKind::Unavailable));
        assert_eq!(tally.resume_from(false), Some(4));
        assert_eq!(tally.resume_from(true), Some(4));
    }

    #[test]
    fn an_unknown_row_decides_the_exit_status() {
        let mut tally = Tally::default();
        tally.failed(1, failure(FailureKind::Usage));
        assert_eq!(tally.end().unwrap_err().kind, FailureKind::Usage);
        tally.failed(2, failure(FailureKind::Unknown));
        tally.failed(3, failure(FailureKind::Usage));
        assert_eq!(tally.end().unwrap_err().kind, FailureKind::Unknown);
    }

    #[test]
    fn the_report_is_bounded_and_hopelessness_needs_a_row_of_failures() {
        let mut tally = Tally::default();
        for place in 0..FAILURES_IN_A_ROW_MAX {
            assert!(!tally.is_hopeless());
            tally.failed(place, failure(FailureKind::Unreachable));
        }
        assert!(tally.is_hopeless());
        assert_eq!(tally.report().count(), LISTED_MAX + 1);
        tally.done();
        assert!(!tally.is_hopeless());
    }
}
