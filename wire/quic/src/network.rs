//! A node's network, as the node sees it: what it is started with, what it hands in, how it is sent through.
//!
//! The data endpoint lives on the runtime that `start` is called in, the bulk endpoint on a thread of its own, so that large
//! transfers never stand before small messages. Keeps: [`NetworkHandle::send`] never waits and never grows a queue past its
//! bound; what can't be sent is either refused to its sender or, where it is no request, dropped.

use crate::credentials::Credentials;
use crate::identity::Identity;
use crate::shared::Shared;
use crate::stats::Stats;
use anser_model::{ClusterId, Member, NodeId};
use anser_proto::hello::Hello;
use anser_proto::{Envelope, Tick};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// The process's monotonic clock.
pub type Clock = Arc<dyn Fn() -> Tick + Send + Sync>;

/// What a node's network is started with.
#[derive(Clone)]
pub struct NetworkConfig {
    /// The node's credentials.
    pub credentials: Credentials,
    /// Where to listen for nodes, clients and operators. Port 0 takes a free one.
    pub quic: SocketAddr,
    /// Where to listen for bulk. Peers learn the port in the hello; the host is that of the other endpoint.
    pub bulk: SocketAddr,
    /// The node and its data folder.
    pub member: Member,
    /// The cluster's id, once known.
    pub cluster: Arc<ClusterCell>,
    /// Random, drawn at the process's start.
    pub boot: u64,
    /// The clock of deadlines.
    pub clock: Clock,
    /// Bounds.
    pub limits: Limits,
}

/// The cluster's id, once the node knows it: set at boot or at the founding.
#[derive(Debug, Default)]
pub struct ClusterCell(RwLock<Option<ClusterId>>);

impl ClusterCell {
    /// A cell that holds this.
    pub fn new(cluster: Option<ClusterId>) -> ClusterCell {
        ClusterCell(RwLock::new(cluster))
    }

    /// The id, if known.
    pub fn get(&self) -> Option<ClusterId> {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this is the id.
    pub fn set(&self, cluster: ClusterId) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
    }
}

/// The bounds of a node's network.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions at a time.
    pub sessions_max: usize,
    /// Requests of one session under way; more are refused as busy.
    pub session_requests_max: usize,
    /// Bytes of one session's requests under way, and of answers it has not taken yet; past it requests are refused as busy.
    pub session_bytes_max: usize,
    /// Messages that wait for one peer's lanes, where requests past it are refused as busy, and for one session.
    pub lane_messages_max: usize,
    /// Bytes that wait there.
    pub lane_bytes_max: usize,
    /// Messages that wait for one peer's bulk connection.
    pub bulk_messages_max: usize,
    /// Bytes that wait there.
    pub bulk_bytes_max: usize,
    /// Bytes of large messages being received, over all peers; sessions have the same apart.
    pub bulk_receive_bytes_max: usize,
    /// How long messages wait for a peer that is not connected, in milliseconds.
    pub unconnected_wait_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        const MIB: usize = 1024 * 1024;
        Limits {
            sessions_max: 4096,
            session_requests_max: 8192,
            session_bytes_max: 64 * MIB,
            lane_messages_max: 8192,
            lane_bytes_max: 32 * MIB,
            bulk_messages_max: 256,
            bulk_bytes_max: 256 * MIB,
            bulk_receive_bytes_max: 256 * MIB,
            unconnected_wait_ms: 500,
        }
    }
}

/// Where a batch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A peer; every `from.node` in the batch is this, by its certificate.
    Node(NodeId),
    /// A session; every `from` in the batch is its address at this node.
    Session(u32),
    /// This network itself: refusals of requests that this node wanted sent.
    Own,
}

/// What a network tells its node. Called on the network's threads and, for refusals, within `send`: it must not wait.
pub trait Inbound: Send + Sync + 'static {
    /// Messages came in: all that one wakeup brought.
    fn deliver(&self, from: Source, batch: Vec<Envelope>);

    /// A peer's control connection is up: certificates and hellos were judged on both sides.
    fn peer_up(&self, node: NodeId, rtt: Duration);

    /// A peer's control connection is gone.
    fn peer_down(&self, node: NodeId);

    /// A node said hello on a control connection, from this address. Comes before `peer_up`.
    fn learned(&self, node: NodeId, address: SocketAddr, hello: &Hello);

    /// A client or operator connected.
    fn session_opened(&self, session: u32, identity: &Identity);

    /// It is gone.
    fn session_closed(&self, session: u32);

    /// Somebody was refused, or refused us; the words are of a closed set.
    fn rejected(&self, why: &'static str);
}

/// Why a network did not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address can't be bound.
    #[error("can't listen on {address}/udp ({what}): {why}")]
    Socket {
        /// Which address.
        address: SocketAddr,
        /// What it is for.
        what: &'static str,
        /// What the system said.
        why: std::io::Error,
    },
    /// The credentials can't be used for TLS.
    #[error("the credentials can't be used: {0}")]
    Credentials(String),
    /// The credentials are not a node's, or those of another node than `member`.
    #[error("the certificate is not this node's: {0}")]
    NotThisNode(&'static str),
}

/// A node's network; dropping it closes it at once.
pub struct NodeNetwork {
    handle: NetworkHandle,
    quic: SocketAddr,
    bulk: SocketAddr,
}

/// A way to send, for any thread.
#[derive(Clone)]
pub struct NetworkHandle(Arc<Shared>);

impl NodeNetwork {
    /// Binds and starts. Call it inside the runtime (or arbiter) that the data endpoint is to live on.
    pub fn start(config: NetworkConfig, inbound: Arc<dyn Inbound>) -> Result<NodeNetwork, BindError> {
        let (shared, quic, bulk) = crate::start::start(config, inbound)?;
        Ok(NodeNetwork { handle: NetworkHandle(shared), quic, bulk })
    }

    /// Starts on endpoints that are open already, both driven by the runtime that this is called in.
    #[cfg(test)]
    pub(crate) fn start_on(
        config: NetworkConfig,
        inbound: Arc<dyn Inbound>,
        main: quinn::Endpoint,
        bulk: quinn::Endpoint,
    ) -> Result<NodeNetwork, BindError> {
        let (quic, bulk_address) = (config.quic, config.bulk);
        let shared = crate::start::start_on(config, inbound, main, bulk)?;
        Ok(NodeNetwork { handle: NetworkHandle(shared), quic, bulk: bulk_address })
    }

    /// A way to send.
    pub fn handle(&self) -> NetworkHandle {
        self.handle.clone()
    }

    /// Where the data endpoint listens.
    pub fn quic_address(&self) -> SocketAddr {
        self.quic
    }

    /// Where the bulk endpoint listens.
    pub fn bulk_address(&self) -> SocketAddr {
        self.bulk
    }

    /// Takes no more connections, sends what is queued, closes everything with a reason. Bounded to a few seconds.
    pub async fn close(&self) {
        crate::start::close(&self.handle.0).await;
    }
}

impl Drop for NodeNetwork {
    fn drop(&mut self) {
        crate::start::close_at_once(&self.handle.0);
    }
}

impl NetworkHandle {
    /// Sends messages to other nodes and to sessions. A request that can't be sent comes back as
    /// [`anser_proto::Body::Refused`] through [`Inbound::deliver`], from [`Source::Own`].
    pub fn send(&self, batch: Vec<Envelope>) {
        self.0.send(batch);
    }

    /// A peer listens here. Nobody is dialled before there is something to say.
    pub fn set_address(&self, node: NodeId, address: SocketAddr) {
        if node != self.0.me && self.0.peer_or_new(node).set_address(address) {
            self.0.address_changed(node);
        }
    }

    /// Dials a node nobody has named yet; [`Inbound::learned`] tells who it is. One attempt.
    pub fn dial_seed(&self, address: SocketAddr) {
        let shared = Arc::clone(&self.0);
        self.0.main.runtime.spawn(crate::dial::dial_seed(shared, address));
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.0.stats
    }

    /// The round trip times of the connected peers.
    pub fn rtts(&self) -> Vec<(NodeId, Duration)> {
        let peers = self.0.all_peers();
        peers.iter().filter_map(|peer| Some((peer.node, peer.control.kept()?.connection.rtt()))).collect()
    }

    /// Sessions now.
    pub fn sessions(&self) -> usize {
        self.0.sessions.len()
    }

    /// Seconds since 1970 from which this node's certificate is no longer valid.
    pub fn certificate_expires_at_s(&self) -> i64 {
        self.0.credentials.expires_at_s()
    }
}

#[cfg(test)]
impl NetworkHandle {
    pub(crate) fn kept_by_smaller(&self, node: NodeId, purpose: anser_proto::hello::Purpose) -> Option<bool> {
        let peer = self.0.peer(node)?;
        let link = peer.links().into_iter().find(|link| link.purpose == purpose)?;
        Some(link.kept()?.dialled_by == node.min(self.0.me))
    }
}
