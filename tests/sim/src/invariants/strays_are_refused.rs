//! A copy does nothing that it was not to be asked: what is for a key of another partition, or for a partition that its node
//! does not hold, is refused. A version there would never be found again.

use anser_proto::{Body, Envelope};

/// Judges the answer to such a request.
pub(crate) fn check(said: &Envelope) -> Result<(), String> {
    match &said.body {
        Body::Refused(_) => Ok(()),
        _ => Err(format!("a request that went astray is answered {:?}", said.body)),
    }
}
