//! The pursuit of one operation over several nodes: whom to try next, for how long, when to wait, when to give up.
//!
//! It decides and touches nothing: time comes in as what is left of it. Keeps I-7 (*failed* is never said once an attempt
//! may have been carried out): from the first attempt whose end was not seen, `maybe` stays set. Deliberately absent:
//! sockets, and what the operation is.

use anser_proto::client::{Failure, Outcome};
use std::fmt;
use std::time::Duration;

/// An attempt gets this share of the time that is left, so that a node that went silent is survived within one call.
const ATTEMPT_SHARE: f64 = 0.4;
/// The first attempt gets no more, however long the time-out: a silent node is noticed by then. It doubles with each node
/// that was silent, since then it is more likely the work that is slow.
const ATTEMPT_FIRST_MAX: Duration = Duration::from_millis(800);
/// Where it is known how long a node usually takes, the first attempt gets so many times that: a retry carries the same
/// request id, so one too early costs some work and nothing else.
const ATTEMPT_FIRST_USUAL: u32 = 20;
/// But no less than this.
const ATTEMPT_FIRST_MIN: Duration = Duration::from_millis(150);
/// No attempt gets more.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
/// Below this, what is left is not shared any more: the last attempt gets all of it.
const ATTEMPT_SHARED_MIN: Duration = Duration::from_millis(250);
/// What an attempt is given at least for each MiB that it carries.
const ATTEMPT_A_MIB: Duration = Duration::from_millis(100);
/// With less time than this left, no attempt is begun.
const ATTEMPT_MIN: Duration = Duration::from_millis(2);
/// The first wait after a refusal; it doubles with each.
const BACKOFF_FIRST: Duration = Duration::from_millis(4);
/// The longest wait between attempts.
const BACKOFF_MAX: Duration = Duration::from_millis(250);
/// How often it must be said that too few replicas are up before it is believed: the first to say so may be cut off itself.
const UNAVAILABLE_TIMES: usize = 2;

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// It was carried out.
    Done(Outcome),
    /// The node was not reached. Nothing happened.
    NotSent,
    /// The node, or the way to it, has no room. Nothing happened.
    Overloaded,
    /// The node does not serve now. Nothing happened.
    NotReady,
    /// The node says that too few replicas are up. Nothing happened.
    Unavailable { needed: u32, alive: u32 },
    /// Its end was not seen, or the level was not met: it may have happened.
    Unsure { acked: u32, needed: u32, why: &'static str },
    /// Refused, and every node would. Nothing happened.
    Denied(Failure),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Move {
    /// Try the candidate of this index, for so long; `retry` says that an earlier attempt may have been carried out.
    Try { candidate: usize, slice: Duration, retry: bool },
    /// Wait so long, then ask again.
    Wait(Duration),
    /// Over.
    GiveUp(Ending),
}

/// Why a pursuit ended without success.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ending {
    /// Whether an attempt may have been carried out.
    pub maybe: bool,
    /// Most acknowledgements that a coordinator told of.
    pub acked: u32,
    /// Acknowledgements needed, by the same coordinator; 0 if none told.
    pub needed: u32,
    /// What was seen last.
    pub cause: Cause,
}

/// What a pursuit saw last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cause {
    /// A refusal that every node would give.
    Denied(Failure),
    /// No room, until the end.
    Overloaded,
    /// Not serving, until the end.
    NotReady,
    /// Too few replicas up.
    Unavailable { needed: u32, alive: u32 },
    /// No candidate was reached.
    Unreachable { tried: usize },
    /// Some candidate was asked, and its answer was not seen in time.
    Silent(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Denied(failure) => {
                write!(f, "an attempt went unanswered, and the next was refused ({failure:?})")
            }
            Cause::Overloaded => f.write_str("an attempt went unanswered, and the nodes then had no room"),
            Cause::NotReady => f.write_str("an attempt went unanswered, and no node served then"),
            Cause::Unavailable { needed, alive } => {
                write!(f, "an attempt went unanswered, and then {alive} of {needed} replicas were up")
            }
            Cause::Unreachable { .. } => {
                f.write_str("an attempt went unanswered, and no node was reached then")
            }
            Cause::Silent(why) => f.write_str(why),
        }
    }
}

/// One operation's way through its candidates.
#[derive(Debug)]
pub(crate) struct Pursuit {
    candidates: usize,
    slice_min: Duration,
    first_max: Duration,
    at: usize,
    waits: u32,
    wait_due: bool,
    refused: u64,
    unavailable: usize,
    silent: u32,
    ending: Ending,
    denied: bool,
}

impl Pursuit {
    /// Of an operation with so many candidates, the best first, that carries so many bytes.
    pub fn new(candidates: usize, bytes: usize) -> Pursuit {
        let slice_min = ATTEMPT_A_MIB.mul_f64(bytes as f64 / f64::from(1 << 20));
        let cause = Cause::Unreachable { tried: candidates };
        let ending = Ending { maybe: false, acked: 0, needed: 0, cause };
        Pursuit {
            candidates,
            slice_min,
            first_max: ATTEMPT_FIRST_MAX,
            at: 0,
            waits: 0,
            wait_due: false,
            refused: 0,
            unavailable: 0,
            silent: 0,
            ending,
            denied: false,
        }
    }

    /// Of an operation that its first candidate usually carries out in this time; zero if that is not known.
    pub fn usually(mut self, time: Duration) -> Pursuit {
        if !time.is_zero() {
            self.first_max = (time * ATTEMPT_FIRST_USUAL).clamp(ATTEMPT_FIRST_MIN, ATTEMPT_FIRST_MAX);
        }
        self
    }

    /// What to do, with so much time left. `jitter` is random, from 0 to 1.
    pub fn next(&mut self, left: Duration, jitter: f64) -> Move {
        if self.denied || self.candidates == 0 || left < ATTEMPT_MIN {
            return Move::GiveUp(self.ending.clone());
        }
        if self.wait_due {
            self.wait_due = false;
            let doubled = BACKOFF_FIRST.saturating_mul(1 << self.waits.min(16)).min(BACKOFF_MAX);
            self.waits = self.waits.saturating_add(1);
            return Move::Wait(doubled.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0)).min(left));
        }
        let slice_max = self.first_max.saturating_mul(1 << self.silent.min(8)).min(ATTEMPT_MAX);
        let slice = if left <= ATTEMPT_SHARED_MIN {
            left
        } else {
            left.mul_f64(ATTEMPT_SHARE).min(slice_max).max(self.slice_min).min(left)
        };
        Move::Try { candidate: self.at % self.candidates, slice, retry: self.ending.maybe }
    }

    /// Takes in what came of the attempt; the outcome, if it is done.
    pub fn answered(&mut self, answer: Answer) -> Option<Outcome> {
        match answer {
            Answer::Done(outcome) => return Some(outcome),
            Answer::NotSent => self.move_on(),
            Answer::Overloaded => {
                self.refused = self.refused.saturating_add(1);
                self.ending.cause = Cause::Overloaded;
                self.move_on();
                self.wait_due = true;
            }
            Answer::NotReady => {
                self.refused = self.refused.saturating_add(1);
                self.ending.cause = Cause::NotReady;
                self.move_on();
            }
            Answer::Unavailable { needed, alive } => {
                self.unavailable += 1;
                self.ending.cause = Cause::Unavailable { needed, alive };
                self.denied = self.unavailable >= UNAVAILABLE_TIMES.min(self.candidates);
                self.move_on();
            }
            Answer::Unsure { acked, needed, why } => {
                self.ending.maybe = true;
                self.silent = self.silent.saturating_add(1);
                if needed > 0 && acked >= self.ending.acked {
                    (self.ending.acked, self.ending.needed) = (acked, needed);
                }
                self.ending.cause = Cause::Silent(why.to_owned());
                self.move_on();
            }
            Answer::Denied(failure) => {
                self.ending.cause = Cause::Denied(failure);
                self.denied = true;
            }
        }
        None
    }

    /// How many attempts were refused for want of room or readiness.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// To the next candidate; once all were tried, after a wait.
    fn move_on(&mut self) {
        self.at += 1;
        self.wait_due = self.at.is_multiple_of(self.candidates.max(1));
    }
}

#[cfg(test)]
mod tests;
