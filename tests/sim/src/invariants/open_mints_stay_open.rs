//! I-7 where answers are made: a coordinator that lost sight of a mint that it asked for, since the copy or the coordinator that
//! it asked crashed or its disk failed, never says of that write that nothing happened.

use super::shown;
use anser_model::Rid;
use anser_proto::client::{Failure, Outcome};

/// Judges what it answers.
pub(crate) fn check(rid: &Rid, outcome: &Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Failed(Failure::Unknown { .. })
        | Outcome::Put(_)
        | Outcome::Get(_)
        | Outcome::Ring(_)
        | Outcome::Cluster(_) => Ok(()),
        Outcome::Failed(failure) => {
            Err(format!("a mint of write {} is open, and its coordinator answers {failure:?}", shown(rid)))
        }
    }
}
