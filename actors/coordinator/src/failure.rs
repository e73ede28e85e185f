//! What refusals and failures mean: for the client, and for the write behind them. Plain decisions.
//!
//! Keeps I-7 at its root: an answer either says that nothing was minted by the request it answers, or counts as open.

use anser_machine::OutcomeKind;
use anser_model::level::Unmeetable;
use anser_proto::Refusal;
use anser_proto::client::{Failure, Outcome};

/// What an answer other than success says of a minter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MintAnswer {
    /// Nothing was minted there; another minter may. If none does, this is why.
    Elsewhere(Failure),
    /// Nothing was minted there yet; the same may be asked again once step or round are learned.
    Again,
    /// It may have been minted there.
    Open,
    /// Nothing was minted there, nor would it be elsewhere.
    Final(Failure),
}

/// What a refusal says of a minter. `unavailable` is the failure that stands for one that can't be reached.
pub(crate) fn of_refusal(refusal: Refusal, unavailable: &Failure, node_ms: u64) -> MintAnswer {
    match refusal {
        Refusal::Busy => MintAnswer::Elsewhere(Failure::Overloaded),
        Refusal::DiskFull => MintAnswer::Elsewhere(Failure::DiskFull),
        Refusal::NotSent => MintAnswer::Elsewhere(unavailable.clone()),
        Refusal::NotServing | Refusal::NotAllowed => MintAnswer::Elsewhere(Failure::NotReady),
        Refusal::StaleStep(_) | Refusal::FutureStep(_) | Refusal::StaleRound(_) => MintAnswer::Again,
        Refusal::TooOld => MintAnswer::Final(Failure::TooOld),
        Refusal::BadClock => MintAnswer::Final(Failure::BadClock { node_ms }),
        Refusal::TooManySiblings => MintAnswer::Final(Failure::TooManySiblings),
        // The copy may have minted, and others may have been told, before its disk or its actor failed.
        Refusal::DiskFailed | Refusal::Crashed => MintAnswer::Open,
    }
}

/// What another coordinator's failure says of its copy.
pub(crate) fn of_failure(failure: Failure) -> MintAnswer {
    match failure {
        Failure::Unknown { .. } => MintAnswer::Open,
        Failure::Overloaded | Failure::DiskFull | Failure::NotReady | Failure::Unavailable { .. } => {
            MintAnswer::Elsewhere(failure)
        }
        Failure::UnknownKeyspace
        | Failure::UnmeetableLevel { .. }
        | Failure::BadContext(_)
        | Failure::ContextNeeded
        | Failure::ValueTooLarge { .. }
        | Failure::TooManySiblings
        | Failure::BadClock { .. }
        | Failure::TooOld
        | Failure::NotAllowed => MintAnswer::Final(failure),
    }
}

/// Whether a failure answers a retry too. These are what a copy found when asked to mint: at a retry, an earlier attempt may
/// have been carried out before it became so.
pub(crate) fn answers_retries(failure: &Failure) -> bool {
    match failure {
        Failure::TooOld | Failure::BadClock { .. } | Failure::TooManySiblings => false,
        Failure::UnknownKeyspace
        | Failure::UnmeetableLevel { .. }
        | Failure::BadContext(_)
        | Failure::ContextNeeded
        | Failure::ValueTooLarge { .. }
        | Failure::Overloaded
        | Failure::DiskFull
        | Failure::NotReady
        | Failure::Unavailable { .. }
        | Failure::NotAllowed
        | Failure::Unknown { .. } => true,
    }
}

/// What becomes of a replica that refused to store or to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyAnswer {
    /// It may take it after a pause.
    Later,
    /// It is ahead in the ring chain.
    Step,
    /// It is ahead in the partition's rounds.
    Round(anser_model::Round),
    /// It will not.
    Never,
}

/// What a refusal says of a replica that was asked to store or to read: both may be asked again without harm.
pub(crate) fn of_copy(refusal: Refusal) -> CopyAnswer {
    match refusal {
        Refusal::Busy
        | Refusal::DiskFull
        | Refusal::NotSent
        | Refusal::NotServing
        | Refusal::Crashed
        | Refusal::FutureStep(_) => CopyAnswer::Later,
        Refusal::StaleStep(_) => CopyAnswer::Step,
        Refusal::StaleRound(round) => CopyAnswer::Round(round),
        Refusal::NotAllowed
        | Refusal::TooOld
        | Refusal::BadClock
        | Refusal::TooManySiblings
        | Refusal::DiskFailed => CopyAnswer::Never,
    }
}

/// The failure for a level that can't be met.
pub(crate) fn unmeetable(why: Unmeetable) -> Failure {
    let (asked, there) = match why {
        Unmeetable::Count { asked, there } => (asked, there),
        Unmeetable::NoneLocal => (1, 0),
    };
    Failure::UnmeetableLevel { asked: small(asked), there: small(there) }
}

/// How a request ended, as it is counted.
pub(crate) fn outcome_kind(outcome: &Outcome) -> OutcomeKind {
    match outcome {
        Outcome::Put(_) | Outcome::Get(_) | Outcome::Ring(_) | Outcome::Cluster(_) => OutcomeKind::Ok,
        Outcome::Failed(failure) => match failure {
            Failure::UnknownKeyspace
            | Failure::UnmeetableLevel { .. }
            | Failure::BadContext(_)
            | Failure::ContextNeeded
            | Failure::ValueTooLarge { .. }
            | Failure::TooManySiblings
            | Failure::BadClock { .. }
            | Failure::TooOld
            | Failure::NotAllowed => OutcomeKind::Invalid,
            Failure::Overloaded | Failure::DiskFull | Failure::NotReady | Failure::Unavailable { .. } => {
                OutcomeKind::Refused
            }
            Failure::Unknown { .. } => OutcomeKind::Unknown,
        },
    }
}

/// A count of replicas as failures carry it.
pub(crate) fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A count of replicas as receipts carry it.
pub(crate) fn tiny(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_model::{Round, Step};

    const UNAVAILABLE: Failure = Failure::Unavailable { needed: 2, alive: 1 };

    #[test]
    fn only_a_crash_and_a_failed_disk_leave_a_mint_open() {
        let table = [
            (Refusal::Busy, MintAnswer::Elsewhere(Failure::Overloaded)),
            (Refusal::DiskFull, MintAnswer::Elsewhere(Failure::DiskFull)),
            (Refusal::NotSent, MintAnswer::Elsewhere(UNAVAILABLE)),
            (Refusal::NotServing, MintAnswer::Elsewhere(Failure::NotReady)),
            (Refusal::NotAllowed, MintAnswer::Elsewhere(Failure::NotReady)),
            (Refusal::StaleStep(Step(2)), MintAnswer::Again),
            (Refusal::FutureStep(Step(1)), MintAnswer::Again),
            (Refusal::StaleRound(Round(3)), MintAnswer::Again),
            (Refusal::TooOld, MintAnswer::Final(Failure::TooOld)),
            (Refusal::BadClock, MintAnswer::Final(Failure::BadClock { node_ms: 9 })),
            (Refusal::TooManySiblings, MintAnswer::Final(Failure::TooManySiblings)),
            (Refusal::DiskFailed, MintAnswer::Open),
            (Refusal::Crashed, MintAnswer::Open),
        ];
        for (refusal, answer) in table {
            assert_eq!(of_refusal(refusal, &UNAVAILABLE, 9), answer, "{refusal:?}");
        }
    }

    #[test]
    fn only_unknown_leaves_a_forward_open() {
        assert_eq!(of_failure(Failure::Unknown { acked: 1, needed: 2 }), MintAnswer::Open);
        assert_eq!(of_failure(Failure::Overloaded), MintAnswer::Elsewhere(Failure::Overloaded));
        assert_eq!(of_failure(UNAVAILABLE), MintAnswer::Elsewhere(UNAVAILABLE));
        assert_eq!(of_failure(Failure::TooManySiblings), MintAnswer::Final(Failure::TooManySiblings));
    }
}
