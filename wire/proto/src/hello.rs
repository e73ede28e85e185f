//! The first words on every connection: who speaks, in which cluster, since which start.
//!
//! A peer is up only after its hello: the dialler's handshake ends before the other side has judged its certificate.

use crate::frame::{FRAME_VERSION, FrameError};
use alloc::string::String;
use alloc::vec::Vec;
use anser_model::{ClusterId, Member};
use serde::{Deserialize, Serialize};

/// Longest encoded hello, in bytes.
pub const HELLO_BYTES_MAX: usize = 512;

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
    /// The port of the speaker's bulk endpoint, if it is a node.
    pub bulk_port: Option<u16>,
}

impl Hello {
    /// A version byte, then the hello.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let mut bytes = alloc::vec![FRAME_VERSION];
        bytes.extend(postcard::to_allocvec(self).map_err(|_| FrameError::Malformed)?);
        if bytes.len() > HELLO_BYTES_MAX { Err(FrameError::TooLong(bytes.len())) } else { Ok(bytes) }
    }

    /// Reads a hello back. Total, in memory bounded by the input's length.
    pub fn decode(bytes: &[u8]) -> Result<Hello, FrameError> {
        if bytes.len() > HELLO_BYTES_MAX {
            return Err(FrameError::TooLong(bytes.len()));
        }
        let (version, rest) = bytes.split_first().ok_or(FrameError::Empty)?;
        if *version != FRAME_VERSION {
            return Err(FrameError::Version(*version));
        }
        match postcard::take_from_bytes(rest) {
            Ok((hello, [])) => Ok(hello),
            Ok(_) | Err(_) => Err(FrameError::Malformed),
        }
    }
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
