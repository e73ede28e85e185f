//! What one attempt's end means: from what the transport or the node said, to what the pursuit takes in.
//!
//! Keeps I-7: whatever is not known to have left nothing behind counts as *may have happened*.

use crate::pursuit::Answer;
use anser_model::Hlc;
use anser_proto::client::{ClientReply, Failure, Outcome};
use anser_proto::{Body, Refusal};
use anser_quic::CallError;

/// What an attempt came to, and the node's clock if it told.
pub(crate) fn answer(result: Result<Body, CallError>) -> (Answer, Option<Hlc>) {
    match result {
        Ok(Body::ClientReply(ClientReply { clock, outcome })) => (of_outcome(outcome), Some(clock)),
        Ok(Body::Refused(refusal)) => (of_refusal(refusal), None),
        Ok(
            Body::Gossip(_)
            | Body::Replicate(_)
            | Body::Replicated(_)
            | Body::ForwardPut(_)
            | Body::ForwardPutReply(_)
            | Body::Client(_)
            | Body::Admin(_)
            | Body::AdminReply(_),
        ) => (unsure("a node answered something else"), None),
        Err(CallError::NotSent) => (Answer::NotSent, None),
        Err(CallError::Busy) => (Answer::Overloaded, None),
        Err(CallError::Lost) => (unsure("the connection was lost before the answer"), None),
        Err(CallError::TimedOut) => (unsure("no answer in time"), None),
    }
}

fn of_outcome(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Put(_) | Outcome::Get(_) | Outcome::Ring(_) | Outcome::Cluster(_) => Answer::Done(outcome),
        Outcome::Failed(failure) => match failure {
            Failure::Overloaded => Answer::Overloaded,
            Failure::NotReady => Answer::NotReady,
            Failure::Unavailable { needed, alive } => Answer::Unavailable { needed, alive },
            Failure::Unknown { acked, needed } => {
                Answer::Unsure { acked, needed, why: "the level was not met in time" }
            }
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
        },
    }
}

fn of_refusal(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Busy => Answer::Overloaded,
        Refusal::NotSent
        | Refusal::NotServing
        | Refusal::StaleStep(_)
        | Refusal::FutureStep(_)
        | Refusal::StaleRound(_) => Answer::NotReady,
        Refusal::NotAllowed => Answer::Denied(Failure::NotAllowed),
        Refusal::TooOld => Answer::Denied(Failure::TooOld),
        Refusal::TooManySiblings => Answer::Denied(Failure::TooManySiblings),
        Refusal::DiskFull => Answer::Denied(Failure::DiskFull),
        Refusal::BadClock => unsure("a node refused the write's clock without telling its own"),
        Refusal::DiskFailed => unsure("a node's disk failed"),
        Refusal::Crashed => unsure("a node's actor was restarted before the answer"),
    }
}

fn unsure(why: &'static str) -> Answer {
    Answer::Unsure { acked: 0, needed: 0, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_left_nothing_behind_is_said_to_have() {
        let harmless = [
            Err(CallError::NotSent),
            Err(CallError::Busy),
            Ok(Body::Refused(Refusal::Busy)),
            Ok(Body::Refused(Refusal::NotServing)),
        ];
        for result in harmless {
            assert!(!matches!(answer(result).0, Answer::Unsure { .. } | Answer::Done(_)));
        }
        let unseen = [
            Err(CallError::Lost),
            Err(CallError::TimedOut),
            Ok(Body::Refused(Refusal::Crashed)),
            Ok(Body::Refused(Refusal::DiskFailed)),
        ];
        for result in unseen {
            assert!(matches!(answer(result).0, Answer::Unsure { .. }));
        }
    }
}
