//! What an attempt's answer means to a client. Keeps I-7 on the client's side: what is not known to have left nothing
//! behind may have happened.

use anser_proto::client::{ClientReply, Failure, GetReply, Outcome, PutReply};
use anser_proto::{Body, Refusal};

/// See the module.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The put met its level.
    Put(PutReply),
    /// The get met its level.
    Got(GetReply),
    /// Nothing happened; another node, or the same later, may do it.
    Nothing(Failure),
    /// It may have happened.
    Unsure,
    /// Nothing happened, and every node would refuse it.
    Denied(Failure),
}

/// Reads an answer.
pub(crate) fn answer(body: Body) -> Answer {
    match body {
        Body::ClientReply(ClientReply { outcome, .. }) => match outcome {
            Outcome::Put(reply) => Answer::Put(reply),
            Outcome::Get(reply) => Answer::Got(reply),
            Outcome::Failed(failure) => of_failure(failure),
            Outcome::Ring(_) | Outcome::Cluster(_) => Answer::Unsure,
        },
        Body::Refused(refusal) => of_refusal(refusal),
        _ => Answer::Unsure,
    }
}

fn of_failure(failure: Failure) -> Answer {
    match failure {
        Failure::Overloaded | Failure::NotReady | Failure::Unavailable { .. } => Answer::Nothing(failure),
        Failure::Unknown { .. } => Answer::Unsure,
        Failure::UnknownKeyspace
        | Failure::UnmeetableLevel { .. }
        | Failure::BadContext(_)
        | Failure::ContextNeeded
        | Failure::ValueTooLarge { .. }
        | Failure::TooManySiblings
        | Failure::DiskFull
        | Failure::BadClock { .. }
        | Failure::TooOld
        | Failure::NotAllowed => Answer::Denied(failure),
    }
}

fn of_refusal(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Busy => Answer::Nothing(Failure::Overloaded),
        Refusal::NotSent
        | Refusal::NotServing
        | Refusal::StaleStep(_)
        | Refusal::FutureStep(_)
        | Refusal::StaleRound(_) => Answer::Nothing(Failure::NotReady),
        Refusal::NotAllowed => Answer::Denied(Failure::NotAllowed),
        Refusal::TooOld => Answer::Denied(Failure::TooOld),
        Refusal::TooManySiblings => Answer::Denied(Failure::TooManySiblings),
        Refusal::DiskFull => Answer::Denied(Failure::DiskFull),
        Refusal::BadClock | Refusal::DiskFailed | Refusal::Crashed => Answer::Unsure,
    }
}
