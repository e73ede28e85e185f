//! What the node knows of the ring and of its peers, for the network, the pages and the gauges.

use anser_machine::{CopiesSummary, Fact, FolderTrust, Peers};
use anser_model::NodeId;
use anser_model::ring::Record;
use anser_proto::Envelope;
use anser_quic::{ClusterCell, Direction, NetworkHandle, Traffic};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// A line of progress comes with so many partitions refilled.
const PROGRESS_PARTITIONS: usize = 16;

/// The newest facts, and the network that follows them.
#[derive(Default)]
pub(super) struct PeerBook {
    network: OnceLock<NetworkHandle>,
    cluster: Arc<ClusterCell>,
    known: Mutex<Known>,
    /// The folder is an old copy, and may be set aside.
    replaceable: Notify,
}

/// The newest facts.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// The ring record, once there is one.
    pub(super) record: Option<Arc<Record>>,
    /// The peers.
    pub(super) peers: Arc<Peers>,
    /// Which shards serve.
    pub(super) serving: BTreeMap<u32, bool>,
    /// How the shards' copies are.
    pub(super) copies: BTreeMap<u32, Arc<CopiesSummary>>,
    /// Since when copies wait for others that don't give theirs.
    pub(super) waiting_since: Option<Instant>,
    /// What its data folder is worth, once others said so.
    pub(super) folder: Option<FolderTrust>,
}

impl Known {
    /// The copies of all shards together: how many serve, how many are refilled, how many of those can't be.
    pub(super) fn copies(&self) -> (usize, usize, usize) {
        self.copies.values().fold((0, 0, 0), |(serving, joining, alone), copies| {
            let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
            (serving + count(copies.serving), joining + copies.joining.len(), alone + count(copies.alone))
        })
    }

    /// A peer's name, for people; its id where the ring does not name it.
    pub(super) fn name_of(&self, node: &NodeId) -> String {
        let entry = self.record.as_ref().and_then(|record| record.entry(node));
        entry.map_or_else(|| node.short(), |entry| entry.name.as_str().to_owned())
    }
}

impl PeerBook {
    /// The cluster's id, shared with the network.
    pub(super) fn cluster(&self) -> Arc<ClusterCell> {
        self.cluster.clone()
    }

    /// Puts the network in place.
    pub(super) fn set_network(&self, network: NetworkHandle) {
        self.network.get_or_init(|| network);
    }

    /// Sends messages to other nodes and to sessions.
    pub(super) fn send(&self, batch: Vec<Envelope>) {
        if let Some(network) = self.network.get() {
            network.send(batch);
        }
    }

    /// Follows a fact.
    pub(super) fn note(&self, fact: &Fact) {
        let mut known = self.lock();
        match fact {
            Fact::RingAdopted(record) => {
                self.cluster.set(record.cluster);
                known.record = Some(record.clone());
            }
            Fact::PeersChanged(peers) => {
                if let Some(network) = self.network.get() {
                    for (node, peer) in peers.iter() {
                        if known.peers.get(node).is_none_or(|before| before.address != peer.address) {
                            network.set_address(*node, peer.address);
                        }
                    }
                }
                known.peers = peers.clone();
            }
            Fact::ShardChanged { shard, serving } => {
                known.serving.insert(*shard, *serving);
            }
            Fact::CopiesChanged { shard, copies } => {
                tell_progress(*shard, known.copies.get(shard).map(AsRef::as_ref), copies);
                known.copies.insert(*shard, copies.clone());
                let waits = known.copies.values().any(|copies| copies.waiting > 0);
                known.waiting_since = known.waiting_since.or_else(|| Some(Instant::now())).filter(|_| waits);
            }
            Fact::FolderJudged(trust) => {
                known.folder = Some(*trust);
                self.tell_folder(*trust);
            }
            Fact::TablesChanged { .. }
            | Fact::RoomChanged(_)
            | Fact::LogGrown { .. }
            | Fact::PeerSeen { .. } => {}
        }
    }

    fn tell_folder(&self, trust: FolderTrust) {
        match trust {
            FolderTrust::Sound => {}
            FolderTrust::Old { replaceable: true } => {
                tracing::error!(
                    "the data folder is an older copy of itself, or another one took its place: other members remember \
                     more than it holds. It is set aside now"
                );
                self.replaceable.notify_one();
            }
            FolderTrust::Old { replaceable: false } => tracing::error!(
                "the data folder is an older copy of itself, or another one took its place: other members remember more \
                 than it holds. Nothing of it is served. It is set aside and refilled once every other member is up and \
                 whole. If several folders were put back, put back those of one moment; if another process runs with \
                 this node's key, end that one and start this one anew"
            ),
        }
    }

    /// Ends when the data folder turns out to be an old copy that may be set aside.
    pub(super) async fn folder_is_replaceable(&self) {
        self.replaceable.notified().await;
    }

    /// The newest facts.
    pub(super) fn known(&self) -> Known {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the wire's metrics up to date.
    pub(super) fn refresh_metrics(&self) {
        let Some(network) = self.network.get() else { return };
        for direction in Direction::ALL {
            for class in Traffic::ALL {
                let labels = [("direction", direction.name()), ("class", class.name())];
                metrics::counter!("anser_wire_bytes_total", &labels)
                    .absolute(network.stats().bytes(class, direction));
            }
        }
        for (node, rtt) in network.rtts() {
            metrics::gauge!("anser_wire_rtt_seconds", "peer" => self.lock().name_of(&node))
                .set(rtt.as_secs_f64());
        }
    }
}

/// Says how far the copies of a shard are refilled, at the beginning, at the end, and now and then between.
fn tell_progress(shard: u32, before: Option<&CopiesSummary>, now: &CopiesSummary) {
    let joining = |copies: &CopiesSummary| copies.joining.len();
    let was = before.map_or(0, joining);
    let left = joining(now);
    let lost = before.map_or(!now.losses.is_empty(), |before| before.losses != now.losses);
    if lost || left > was {
        tracing::warn!(
            shard,
            partitions = left,
            "copies lost what they held, and are refilled from other replicas"
        );
    } else if left == 0 && was > 0 {
        tracing::info!(shard, "all copies are refilled");
    } else if left < was && (left / PROGRESS_PARTITIONS) < (was / PROGRESS_PARTITIONS) {
        tracing::info!(shard, left, "copies are being refilled");
    }
    if now.alone > 0 && before.is_none_or(|before| before.alone != now.alone) {
        tracing::error!(
            shard,
            partitions = now.alone,
            "partitions have no other replica to be refilled from; put back the data folder that held them"
        );
    }
}
