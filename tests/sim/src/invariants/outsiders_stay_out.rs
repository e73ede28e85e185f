//! A node whose folder is not the one that the ring names is no member: it is at no step, holds nothing, and neither asks,
//! acknowledges nor answers as one.

use anser_model::Step;
use anser_proto::client::{ClientReply, Outcome};
use anser_proto::{Body, Envelope};

/// Judges what such a node says.
pub(crate) fn check(said: &Envelope) -> Result<(), String> {
    let harmless = match &said.body {
        Body::Gossip(_) | Body::AdminReply(_) | Body::Refused(_) => true,
        Body::ClientReply(ClientReply { outcome, .. })
        | Body::ForwardPutReply(ClientReply { outcome, .. }) => match outcome {
            Outcome::Failed(_) | Outcome::Ring(_) | Outcome::Cluster(_) => true,
            Outcome::Put(_) | Outcome::Get(_) => false,
        },
        Body::Replicate(_) | Body::Replicated(_) | Body::ForwardPut(_) | Body::Client(_) | Body::Admin(_) => {
            false
        }
    };
    if harmless && said.step == Step(0) {
        Ok(())
    } else {
        Err(format!("a node outside says at step {}: {:?}", said.step.0, said.body))
    }
}
