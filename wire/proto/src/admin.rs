//! The conversation of an operator with a node: the founding of a cluster.

use alloc::vec::Vec;
use anser_model::ring::{DcName, NodeName, Weight, ZoneName};
use anser_model::{Member, NodeId};
use bytes::Bytes;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// What an operator asks of a node's membership actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminRequest {
    /// Who are you, and are you in a cluster already?
    DescribeNode,
    /// Here is the genesis record, which names you, and where the members listen. Made durable before the answer.
    FoundCluster {
        /// The encoded genesis record.
        record: Bytes,
        /// Where the members listen.
        addresses: Vec<(NodeId, SocketAddr)>,
    },
}

/// What the node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminReply {
    /// Itself.
    Node(NodeDescription),
    /// The genesis is durable here.
    Founded,
    /// This node is in another cluster already; its genesis stays. Nothing changed.
    AlreadyFounded,
    /// The record does not name this node, or breaks a rule. Nothing changed.
    BadGenesis,
}

/// A node, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDescription {
    /// Its identity.
    pub member: Member,
    /// Its name.
    pub name: NodeName,
    /// Its data centre.
    pub dc: DcName,
    /// Its zone.
    pub zone: ZoneName,
    /// Its strength.
    pub weight: Weight,
    /// Where it tells others to reach it.
    pub address: SocketAddr,
    /// Its genesis record, encoded, if it has one.
    pub genesis: Option<Bytes>,
}
