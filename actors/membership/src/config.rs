//! What a node's membership is made with: itself, and the pace of its probes.

use alloc::string::String;
use anser_model::Member;
use anser_model::ring::{DcName, NodeName, Weight, ZoneName};
use core::net::SocketAddr;

/// What a node's membership is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its identity.
    pub member: Member,
    /// Shards of its data folder.
    pub shards: u32,
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
    /// The cluster it may be in, as its certificate says.
    pub cluster_name: String,
    /// The pace of probes.
    pub probing: Probing,
    /// How often this actor was rebuilt.
    pub life: u32,
    /// For the order of probes.
    pub random_seed: u64,
}

/// The pace of probes and gossip. With the defaults, and three nodes, one that stops is suspected by all within 1.6 s and
/// dead to all within 3 s.
#[derive(Clone, Copy, Debug)]
pub struct Probing {
    /// Between two probes of peers not dead; never 0.
    pub probe_interval_ms: u64,
    /// How long the answer may take before others are asked to try.
    pub direct_timeout_ms: u64,
    /// How long theirs may take before the peer is suspected.
    pub indirect_timeout_ms: u64,
    /// How long a suspect may take to say otherwise.
    pub suspicion_ms: u64,
    /// Between two rounds of rumours, while there are fresh ones; never 0.
    pub gossip_interval_ms: u64,
    /// Between two probes of dead peers, for ever; never 0.
    pub dead_probe_interval_ms: u64,
    /// Between two exchanges of all beliefs with somebody; never 0.
    pub push_pull_interval_ms: u64,
}

impl Default for Probing {
    fn default() -> Probing {
        Probing {
            probe_interval_ms: 400,
            direct_timeout_ms: 300,
            indirect_timeout_ms: 300,
            suspicion_ms: 1200,
            gossip_interval_ms: 150,
            dead_probe_interval_ms: 2000,
            push_pull_interval_ms: 10_000,
        }
    }
}
