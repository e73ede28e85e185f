//! Why an operation did not succeed, one closed enum an operation, and whether anything changed.
//!
//! Keeps I-7: *failed* is never said of a write that a copy may hold. Any attempt whose end was not seen makes the whole
//! write unknown, whatever later attempts were told.

use crate::pursuit::{Cause, Ending};
use anser_proto::client::Failure;
use std::net::SocketAddr;

/// Whether an operation that did not succeed changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// Nothing changed, and nothing will.
    Failed,
    /// It may or may not have been applied, now or a little later.
    Unknown,
}

/// An address that was tried, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The address.
    pub address: SocketAddr,
    /// Why it did not answer.
    pub why: String,
}

/// Why there is no connection to the cluster. Nothing changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The profile names no address.
    #[error("the profile names no address; add one to [cluster] addresses")]
    NoAddress,
    /// The profile's certificates or key can't be read or used.
    #[error("the profile's credentials can't be used: {0}")]
    Credentials(String),
    /// A node refused the client's certificate, or the node's own is not of the profile's authority; no other answered.
    #[error(
        "not allowed: {why}; use a certificate of the cluster's own authority (tried {})",
        addresses(tried)
    )]
    NotAllowed {
        /// What was wrong with it.
        why: String,
        /// Every address.
        tried: Vec<Tried>,
    },
    /// No address answered.
    #[error("the cluster cannot be reached; tried {}; check that its nodes run", list(tried))]
    Unreachable {
        /// Every address.
        tried: Vec<Tried>,
    },
}

/// The addresses that were tried, for one line.
fn addresses(tried: &[Tried]) -> String {
    tried.iter().map(|tried| tried.address.to_string()).collect::<Vec<_>>().join(", ")
}

/// The addresses that were tried and what came of it, for one line.
fn list(tried: &[Tried]) -> String {
    let each: Vec<String> = tried.iter().map(|tried| format!("{} ({})", tried.address, tried.why)).collect();
    each.join(", ")
}

/// How many replicas answered, if a coordinator told.
fn counted(answered: u32, needed: u32) -> String {
    if needed == 0 { String::new() } else { format!(" ({answered} of the {needed} replicas needed)") }
}

/// Why a put or a delete did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// Past the value limit. Nothing changed.
    #[error("the value is too large; the limit is {limit} bytes")]
    ValueTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// No such keyspace. Nothing changed.
    #[error("there is no such keyspace; `default` always exists")]
    UnknownKeyspace,
    /// The level can't be met by this keyspace's replicas, whoever is up. Nothing changed.
    #[error("the level needs {asked} replicas, the key has {there}; ask for at most {there}")]
    UnmeetableLevel {
        /// Replicas asked for.
        asked: u32,
        /// Replicas of the key.
        there: u32,
    },
    /// The context token was refused. Nothing changed.
    #[error("{0}")]
    BadContext(String),
    /// The keyspace refuses writes without context. Nothing changed.
    #[error("the keyspace takes no write without context; read the key and write with the context it gives")]
    ContextNeeded,
    /// As many siblings as a key may have. Nothing changed.
    #[error(
        "the key has as many conflicting versions as it may; read it and write with its context to settle them"
    )]
    TooManySiblings,
    /// The client's clock is too far off the cluster's, even after following it. Nothing changed.
    #[error("the clock here is too far off the node's (which is at {node_ms} ms since 1970); set the clock")]
    BadClock {
        /// The node's clock, in milliseconds since 1970.
        node_ms: u64,
    },
    /// The write's clock is so old that its retries could not be told from new writes. Nothing changed.
    #[error("the write is too old to be taken; write it anew")]
    TooOld,
    /// The certificate does not allow it. Nothing changed.
    #[error("the certificate does not allow this; use another profile")]
    NotAllowed,
    /// Too few replicas are up; none was asked. Nothing changed.
    #[error(
        "unavailable: the level needs {needed} replicas and {alive} are up; nothing was written, try again later"
    )]
    Unavailable {
        /// Answers the level needs.
        needed: u32,
        /// Replicas that seem alive.
        alive: u32,
    },
    /// The nodes had no room for it until the time-out. Nothing changed.
    #[error("overloaded: the nodes had no room for it in time; nothing was written, try again later")]
    Overloaded,
    /// The disks of the key's replicas are nearly full. Nothing changed; reads and deletes go on.
    #[error(
        "unavailable: the disks of the key's replicas are nearly full; nothing was written, make room on them or delete"
    )]
    DiskFull,
    /// The nodes that were reached did not serve until the time-out. Nothing changed.
    #[error("unavailable: the nodes do not serve yet; nothing was written, try again later")]
    NotReady,
    /// No node could be reached until the time-out. Nothing changed.
    #[error("the cluster cannot be reached; tried {tried} nodes; nothing was written, check that they run")]
    Unreachable {
        /// How many nodes were tried.
        tried: usize,
    },
    /// It was asked, and its end was not seen. **It may or may not have been applied.**
    #[error(
        "unknown: {why}{}; it may or may not have been applied, read the key to know",
        counted(*acked, *needed))]
    Unknown {
        /// Acknowledgements that a coordinator told of.
        acked: u32,
        /// Acknowledgements the level needs; 0 if no coordinator said.
        needed: u32,
        /// What was seen last.
        why: String,
    },
}

impl PutError {
    /// Whether anything may have changed.
    pub fn certainty(&self) -> Certainty {
        match self {
            PutError::Unknown { .. } => Certainty::Unknown,
            PutError::ValueTooLarge { .. }
            | PutError::UnknownKeyspace
            | PutError::UnmeetableLevel { .. }
            | PutError::BadContext(_)
            | PutError::ContextNeeded
            | PutError::TooManySiblings
            | PutError::BadClock { .. }
            | PutError::TooOld
            | PutError::NotAllowed
            | PutError::Unavailable { .. }
            | PutError::Overloaded
            | PutError::DiskFull
            | PutError::NotReady
            | PutError::Unreachable { .. } => Certainty::Failed,
        }
    }

    /// What a write's end means to its caller.
    pub(crate) fn of(ending: Ending) -> PutError {
        let Ending { maybe, acked, needed, cause } = ending;
        if maybe {
            return PutError::Unknown { acked, needed, why: cause.to_string() };
        }
        match cause {
            Cause::Denied(failure) => PutError::denied(failure),
            Cause::Overloaded => PutError::Overloaded,
            Cause::NotReady => PutError::NotReady,
            Cause::Unavailable { needed, alive } => PutError::Unavailable { needed, alive },
            Cause::Unreachable { tried } => PutError::Unreachable { tried },
            Cause::Silent(why) => PutError::Unknown { acked, needed, why },
        }
    }

    fn denied(failure: Failure) -> PutError {
        match failure {
            Failure::UnknownKeyspace => PutError::UnknownKeyspace,
            Failure::UnmeetableLevel { asked, there } => PutError::UnmeetableLevel { asked, there },
            Failure::BadContext(why) => PutError::BadContext(why),
            Failure::ContextNeeded => PutError::ContextNeeded,
            Failure::ValueTooLarge { limit } => PutError::ValueTooLarge { limit },
            Failure::TooManySiblings => PutError::TooManySiblings,
            Failure::BadClock { node_ms } => PutError::BadClock { node_ms },
            Failure::TooOld => PutError::TooOld,
            Failure::Overloaded => PutError::Overloaded,
            Failure::DiskFull => PutError::DiskFull,
            Failure::NotReady => PutError::NotReady,
            Failure::Unavailable { needed, alive } => PutError::Unavailable { needed, alive },
            Failure::NotAllowed => PutError::NotAllowed,
            Failure::Unknown { acked, needed } => {
                PutError::Unknown { acked, needed, why: "the level was not met in time".to_owned() }
            }
        }
    }
}

/// Why a get did not succeed. A get changes nothing that a user could see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GetError {
    /// No such keyspace.
    #[error("there is no such keyspace; `default` always exists")]
    UnknownKeyspace,
    /// The level can't be met by this keyspace's replicas, whoever is up.
    #[error("the level needs {asked} replicas, the key has {there}; ask for at most {there}")]
    UnmeetableLevel {
        /// Replicas asked for.
        asked: u32,
        /// Replicas of the key.
        there: u32,
    },
    /// The certificate does not allow it.
    #[error("the certificate does not allow this; use another profile")]
    NotAllowed,
    /// Too few replicas are up; none was asked.
    #[error(
        "unavailable: the level needs {needed} replicas and {alive} are up; try again later, or ask for a lower level"
    )]
    Unavailable {
        /// Answers the level needs.
        needed: u32,
        /// Replicas that seem alive.
        alive: u32,
    },
    /// The nodes had no room for it until the time-out.
    #[error("overloaded: the nodes had no room for it in time; try again later")]
    Overloaded,
    /// The nodes that were reached did not serve until the time-out.
    #[error("unavailable: the nodes do not serve yet; try again later")]
    NotReady,
    /// No node could be reached until the time-out.
    #[error("the cluster cannot be reached; tried {tried} nodes; check that they run")]
    Unreachable {
        /// How many nodes were tried.
        tried: usize,
    },
    /// It was asked, and not answered in time.
    #[error("no answer: {why}{}; try again, or ask for a lower level", counted(*answered, *needed))]
    NotAnswered {
        /// Replicas that a coordinator had answers of.
        answered: u32,
        /// Answers the level needs; 0 if no coordinator said.
        needed: u32,
        /// What was seen last.
        why: String,
    },
    /// The node answered what makes no sense for a read: a bug.
    #[error("a node answered a read with {0}; this is a bug, please report it")]
    Nonsense(String),
}

impl GetError {
    /// Always [`Certainty::Failed`]: a get changes nothing. Here so that both kinds of error can be asked alike.
    pub fn certainty(&self) -> Certainty {
        Certainty::Failed
    }

    /// What a read's end means to its caller.
    pub(crate) fn of(ending: Ending) -> GetError {
        let Ending { maybe: _, acked, needed, cause } = ending;
        match cause {
            Cause::Denied(failure) => GetError::denied(failure),
            Cause::Overloaded => GetError::Overloaded,
            Cause::NotReady => GetError::NotReady,
            Cause::Unavailable { needed, alive } => GetError::Unavailable { needed, alive },
            Cause::Unreachable { tried } => GetError::Unreachable { tried },
            Cause::Silent(why) => GetError::NotAnswered { answered: acked, needed, why },
        }
    }

    fn denied(failure: Failure) -> GetError {
        match failure {
            Failure::UnknownKeyspace => GetError::UnknownKeyspace,
            Failure::UnmeetableLevel { asked, there } => GetError::UnmeetableLevel { asked, there },
            Failure::Overloaded => GetError::Overloaded,
            Failure::NotReady => GetError::NotReady,
            Failure::Unavailable { needed, alive } => GetError::Unavailable { needed, alive },
            Failure::NotAllowed => GetError::NotAllowed,
            Failure::Unknown { acked, needed } => GetError::NotAnswered {
                answered: acked,
                needed,
                why: "the level was not met in time".to_owned(),
            },
            Failure::BadContext(_)
            | Failure::ContextNeeded
            | Failure::ValueTooLarge { .. }
            | Failure::TooManySiblings
            | Failure::DiskFull
            | Failure::BadClock { .. }
            | Failure::TooOld => GetError::Nonsense(format!("{failure:?}")),
        }
    }
}

/// Why the cluster was not described. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClusterError(#[from] pub GetError);

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(maybe: bool, cause: Cause) -> Ending {
        Ending { maybe, acked: 1, needed: 2, cause }
    }

    #[test]
    fn a_write_that_may_have_happened_is_never_said_to_have_failed() {
        let causes = [
            Cause::Denied(Failure::TooManySiblings),
            Cause::Denied(Failure::TooOld),
            Cause::Denied(Failure::UnknownKeyspace),
            Cause::Overloaded,
            Cause::NotReady,
            Cause::Unavailable { needed: 2, alive: 1 },
            Cause::Unreachable { tried: 3 },
            Cause::Silent("no answer".to_owned()),
        ];
        for cause in causes {
            let error = PutError::of(ending(true, cause.clone()));
            assert_eq!(error.certainty(), Certainty::Unknown, "{cause:?}");
        }
    }

    #[test]
    fn a_write_that_no_node_took_failed() {
        for cause in [
            Cause::Denied(Failure::BadContext("x".to_owned())),
            Cause::Overloaded,
            Cause::NotReady,
            Cause::Unavailable { needed: 2, alive: 1 },
            Cause::Unreachable { tried: 3 },
        ] {
            let error = PutError::of(ending(false, cause.clone()));
            assert_eq!(error.certainty(), Certainty::Failed, "{cause:?}");
        }
    }
}
