//! The conversation of membership actors: probes, rumours, and the spread of ring records.
//!
//! Source: Das et al., "SWIM" (2002); Dadgar et al., "Lifeguard" (2017).

use alloc::vec::Vec;
use anser_model::{FolderId, NodeId, Step};
use bytes::Bytes;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// Most rumours in one datagram message: with them a datagram stays under 1 kB.
pub const RUMOURS_PER_DATAGRAM_MAX: usize = 12;

/// What membership actors say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gossip {
    /// Are you there? The envelope's `op` pairs it with its answer.
    Probe {
        /// Rumours on the way.
        rumours: Vec<Rumour>,
        /// How far the speaker's own folder is.
        mark: Mark,
    },
    /// I am.
    ProbeAck {
        /// Rumours on the way.
        rumours: Vec<Rumour>,
        /// How far the speaker's own folder is.
        mark: Mark,
        /// What the speaker knows of the folder that it was asked with.
        heard: Heard,
    },
    /// Please probe another for me.
    ProbeFor {
        /// Whom.
        target: NodeId,
        /// Rumours on the way.
        rumours: Vec<Rumour>,
    },
    /// The other answered.
    ProbeForAck {
        /// Who.
        target: NodeId,
        /// Rumours on the way.
        rumours: Vec<Rumour>,
    },
    /// All I believe, for all you believe. On the control lane.
    PushPull {
        /// About everybody.
        rumours: Vec<Rumour>,
    },
    /// All I believe.
    PushPullReply {
        /// About everybody.
        rumours: Vec<Rumour>,
    },
    /// Please send the ring records after this step.
    PullRing {
        /// The newest step I have; 0 for none.
        have: Step,
    },
    /// Encoded ring records, in order.
    PushRing {
        /// The records.
        records: Vec<Bytes>,
    },
}

/// How far a node's data folder is, in its own words. It only grows: a folder that says less than others remember is an older
/// copy of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The folder.
    pub folder: FolderId,
    /// How many records its logs held durably, in all shards, since it was made; 0 until they are read back.
    pub records: u64,
    /// How far the node may trust it.
    pub trust: Trust,
}

/// How far a node may trust its own folder, by what others remember of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Trust {
    /// The others are being asked.
    #[default]
    Asking,
    /// Nobody is known to remember more of it, but not everybody has answered; or some of its copies are being refilled.
    Unsure,
    /// Every other member has answered, none remembers it to have been further, and all of its copies are whole.
    Sound,
    /// Somebody does: it is an old copy.
    Old,
}

/// What one node remembers of another's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heard {
    /// Nothing.
    Nothing,
    /// That it held so many records.
    Records(u64),
    /// That another folder took its place.
    Replaced,
}

/// What one node believes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rumour {
    /// About whom.
    pub node: NodeId,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its incarnation: only itself raises it.
    pub incarnation: u64,
    /// What is believed.
    pub state: PeerState,
}

/// Whether a member seems alive. At equal incarnations the later one here wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PeerState {
    /// It answers.
    Alive,
    /// It did not answer, and may still say otherwise.
    Suspect,
    /// It was suspected, and did not say otherwise in time.
    Dead,
}

impl PeerState {
    /// The name, as metrics and users see it.
    pub fn name(self) -> &'static str {
        match self {
            PeerState::Alive => "alive",
            PeerState::Suspect => "suspect",
            PeerState::Dead => "dead",
        }
    }
}

impl Gossip {
    /// Whether it is small and fit to be lost; the others need the control lane.
    pub fn fits_datagram(&self) -> bool {
        match self {
            Gossip::Probe { rumours, .. }
            | Gossip::ProbeAck { rumours, .. }
            | Gossip::ProbeFor { rumours, .. }
            | Gossip::ProbeForAck { rumours, .. } => rumours.len() <= RUMOURS_PER_DATAGRAM_MAX,
            Gossip::PushPull { .. }
            | Gossip::PushPullReply { .. }
            | Gossip::PullRing { .. }
            | Gossip::PushRing { .. } => false,
        }
    }
}
