//! Protocol 4.8: a folder that was put back from an old copy is recognised by what others remember of it, and its copies answer
//! nothing; and no other folder is taken for one.

use anser_machine::FolderTrust;
use anser_proto::replicate::ReplicaReply;
use anser_proto::{Body, Envelope};

/// Judges what a node makes of its folder.
pub(crate) fn check_trust(put_back: bool, trust: FolderTrust) -> Result<(), String> {
    match trust {
        FolderTrust::Old { .. } if !put_back => {
            Err("a folder that was not put back counts as old".to_owned())
        }
        FolderTrust::Sound | FolderTrust::Old { .. } => Ok(()),
    }
}

/// Judges what a copy says from a folder that was put back.
pub(crate) fn check_said(said: &Envelope) -> Result<(), String> {
    match &said.body {
        Body::Replicated(
            ReplicaReply::Durable
            | ReplicaReply::Minted { .. }
            | ReplicaReply::State { .. }
            | ReplicaReply::Digest { .. }
            | ReplicaReply::Page { .. },
        ) => Err(format!("a copy in an old folder says {:?}", said.body)),
        _ => Ok(()),
    }
}

/// Judges the end: all that were put back have been recognised.
pub(crate) fn check_end(put_back: &[usize]) -> Result<(), String> {
    match put_back {
        [] => Ok(()),
        nodes => Err(format!("the old folders of nodes {nodes:?} were not recognised")),
    }
}
