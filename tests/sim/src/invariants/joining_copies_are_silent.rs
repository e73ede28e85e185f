//! A copy that lost what it held answers nothing until it is refilled: no reads, no pages for others, and it mints nothing.

use anser_proto::replicate::ReplicaReply;
use anser_proto::{Body, Envelope};

/// Judges what such a copy says.
pub(crate) fn check(said: &Envelope) -> Result<(), String> {
    match &said.body {
        Body::Replicated(
            ReplicaReply::Minted { .. }
            | ReplicaReply::State { .. }
            | ReplicaReply::Digest { .. }
            | ReplicaReply::Page { .. },
        ) => Err(format!("a copy that is not refilled says {:?}", said.body)),
        _ => Ok(()),
    }
}
