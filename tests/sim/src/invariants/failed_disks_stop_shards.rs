//! A shard whose disk has failed says so at once, and from then on answers everything by a refusal, until it is built again:
//! what it has in memory may never be durable, and nobody but the operator can mend it.

use anser_proto::{Body, Envelope};

/// Judges what a shard tells its node of itself, once it has heard that its disk has failed.
pub(crate) fn check_told(serving: Option<bool>) -> Result<(), String> {
    match serving {
        Some(false) => Ok(()),
        Some(true) | None => Err("a shard goes on after its disk has failed".to_owned()),
    }
}

/// Judges what such a shard sends.
pub(crate) fn check_said(said: &Envelope) -> Result<(), String> {
    match &said.body {
        Body::Refused(_) => Ok(()),
        _ => Err(format!("a shard whose disk has failed says {:?}", said.body)),
    }
}
