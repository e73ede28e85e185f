//! How a command fails: one kind an exit status, one line of text. The only place that knows exit statuses.
//!
//! Keeps I-7 up to the user: *unknown* has a status of its own, and nothing else is ever given it.

use anser_client::{ClusterError, ConnectError, GetError, PutError};
use std::fmt;

/// What kind of failure it was. Its number is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// The key does not exist.
    Missing,
    /// Wrong usage or bad input. Nothing happened.
    Usage,
    /// Refused before any replica was asked. Nothing happened.
    Unavailable,
    /// It may or may not have been applied.
    Unknown,
    /// A failed precondition, too many siblings, or a get that found several versions.
    Conflict,
    /// The certificate does not allow it.
    NotAllowed,
    /// No address of the profile answered.
    Unreachable,
    /// Ended by the user before it was done.
    Interrupted,
    /// A bug.
    Bug,
}

/// Why a command did not succeed: what failed, why, and what to do, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of what kind.
    pub kind: FailureKind,
    /// The line.
    pub line: String,
}

/// The exit status of a failure. (0 is success.)
pub fn exit_code(failure: &Failure) -> u8 {
    match failure.kind {
        FailureKind::Missing => 1,
        FailureKind::Usage => 2,
        FailureKind::Unavailable => 3,
        FailureKind::Unknown => 4,
        FailureKind::Conflict => 5,
        FailureKind::NotAllowed => 6,
        FailureKind::Unreachable => 7,
        FailureKind::Bug => 70,
        FailureKind::Interrupted => 130,
    }
}

impl Failure {
    /// A failure of a kind, with its line.
    pub fn new(kind: FailureKind, line: impl fmt::Display) -> Failure {
        Failure { kind, line: one_line(&line.to_string()) }
    }

    /// Wrong usage or bad input.
    pub fn usage(line: impl fmt::Display) -> Failure {
        Failure::new(FailureKind::Usage, line)
    }

    /// A bug.
    pub fn bug(line: impl fmt::Display) -> Failure {
        Failure::new(FailureKind::Bug, line)
    }

    /// The same, after the name of what was done.
    #[must_use]
    pub fn at(self, what: impl fmt::Display) -> Failure {
        Failure { kind: self.kind, line: one_line(&format!("{what}: {}", self.line)) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    /// A failure of a command that has no kinds of its own: the kind of what is at its bottom, if that has one.
    fn from(error: anyhow::Error) -> Failure {
        let line = format!("{error:#}");
        let kind = error.chain().find_map(|cause| {
            None.or_else(|| cause.downcast_ref::<Failure>().map(|failure| failure.kind))
                .or_else(|| cause.downcast_ref().map(ConnectError::kind))
                .or_else(|| cause.downcast_ref().map(PutError::kind))
                .or_else(|| cause.downcast_ref().map(GetError::kind))
        });
        Failure::new(kind.unwrap_or(FailureKind::Usage), line)
    }
}

/// Errors of the client, each of a kind.
trait Kinded {
    /// Its kind.
    fn kind(&self) -> FailureKind;
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        Failure::new(error.kind(), error)
    }
}

impl Kinded for ConnectError {
    fn kind(&self) -> FailureKind {
        match self {
            ConnectError::NoAddress | ConnectError::Credentials(_) => FailureKind::Usage,
            ConnectError::NotAllowed { .. } => FailureKind::NotAllowed,
            ConnectError::Unreachable { .. } => FailureKind::Unreachable,
        }
    }
}

impl From<PutError> for Failure {
    fn from(error: PutError) -> Failure {
        Failure::new(error.kind(), error)
    }
}

impl Kinded for PutError {
    fn kind(&self) -> FailureKind {
        match self {
            PutError::ValueTooLarge { .. }
            | PutError::UnknownKeyspace
            | PutError::UnmeetableLevel { .. }
            | PutError::BadContext(_)
            | PutError::ContextNeeded => FailureKind::Usage,
            PutError::BadClock { .. }
            | PutError::TooOld
            | PutError::Unavailable { .. }
            | PutError::Overloaded
            | PutError::DiskFull
            | PutError::NotReady => FailureKind::Unavailable,
            PutError::TooManySiblings => FailureKind::Conflict,
            PutError::NotAllowed => FailureKind::NotAllowed,
            PutError::Unreachable { .. } => FailureKind::Unreachable,
            PutError::Unknown { .. } => FailureKind::Unknown,
        }
    }
}

impl From<GetError> for Failure {
    fn from(error: GetError) -> Failure {
        Failure::new(error.kind(), error)
    }
}

impl Kinded for GetError {
    fn kind(&self) -> FailureKind {
        match self {
            GetError::UnknownKeyspace | GetError::UnmeetableLevel { .. } => FailureKind::Usage,
            GetError::Unavailable { .. } | GetError::Overloaded | GetError::NotReady => {
                FailureKind::Unavailable
            }
            GetError::NotAllowed => FailureKind::NotAllowed,
            GetError::Unreachable { .. } => FailureKind::Unreachable,
            GetError::NotAnswered { .. } => FailureKind::Unknown,
            GetError::Nonsense(_) => FailureKind::Bug,
        }
    }
}

impl From<ClusterError> for Failure {
    fn from(ClusterError(error): ClusterError) -> Failure {
        Failure::from(error)
    }
}

/// A text on one line, whatever was in it.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(error: PutError) -> u8 {
        exit_code(&Failure::from(error))
    }

    #[test]
    fn every_failed_put_has_its_exit_status() {
        assert_eq!(put(PutError::ValueTooLarge { limit: 1 }), 2);
        assert_eq!(put(PutError::UnknownKeyspace), 2);
        assert_eq!(put(PutError::UnmeetableLevel { asked: 9, there: 3 }), 2);
        assert_eq!(put(PutError::BadContext("damaged".to_owned())), 2);
        assert_eq!(put(PutError::Unavailable { needed: 2, alive: 1 }), 3);
        assert_eq!(put(PutError::Overloaded), 3);
        assert_eq!(put(PutError::DiskFull), 3);
        assert_eq!(put(PutError::NotReady), 3);
        assert_eq!(put(PutError::Unknown { acked: 1, needed: 2, why: "silence".to_owned() }), 4);
        assert_eq!(put(PutError::TooManySiblings), 5);
        assert_eq!(put(PutError::NotAllowed), 6);
        assert_eq!(put(PutError::Unreachable { tried: 3 }), 7);
    }

    #[test]
    fn every_failed_get_has_its_exit_status() {
        let get = |error: GetError| exit_code(&Failure::from(error));
        assert_eq!(get(GetError::UnknownKeyspace), 2);
        assert_eq!(get(GetError::Unavailable { needed: 2, alive: 1 }), 3);
        assert_eq!(get(GetError::NotAnswered { answered: 1, needed: 2, why: "silence".to_owned() }), 4);
        assert_eq!(get(GetError::NotAllowed), 6);
        assert_eq!(get(GetError::Unreachable { tried: 3 }), 7);
        assert_eq!(get(GetError::Nonsense("a ring".to_owned())), 70);
    }

    #[test]
    fn every_failed_connection_has_its_exit_status() {
        let connect = |error: ConnectError| exit_code(&Failure::from(error));
        assert_eq!(connect(ConnectError::NoAddress), 2);
        assert_eq!(connect(ConnectError::Credentials("no such file".to_owned())), 2);
        assert_eq!(
            connect(ConnectError::NotAllowed { why: "another authority".to_owned(), tried: vec![] }),
            6
        );
        assert_eq!(connect(ConnectError::Unreachable { tried: vec![] }), 7);
    }

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::usage("a\nb").at("put\r\ndefault/k");
        assert_eq!(failure.to_string(), "put default/k: a b");
    }
}
