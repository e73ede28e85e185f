//! The first words on every connection: who speaks, in which cluster, since which start.
//!
//! A peer is up only after its hello: the dialler's handshake ends before the other side has judged its certificate.

use alloc::string::String;
use anser_model::{ClusterId, Member};
use serde::{Deserialize, Serialize};

/// What both sides say first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The cluster's name, as the certificates have it.
    pub cluster_name: String,
    /// The cluster, once founded. Two that differ part at once; one without an id yet may talk to one with.
    pub cluster: Option<ClusterId>,
    /// The speaker, if it is a node.
    pub member: Option<Member>,
    /// Random, drawn at the process's start: two live holders of one identity differ in it.
    pub boot: u64,
    /// What this connection is for.
    pub purpose: Purpose,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// Gossip in datagrams, and the control lane.
    Control,
    /// Data lanes.
    Data,
    /// Large messages and transfers, on the bulk endpoint.
    Bulk,
    /// A client or operator.
    Session,
}
