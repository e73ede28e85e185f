//! What all parts of a node's network share: who we are, the peers, the sessions, the two endpoints.
//!
//! Deliberately absent: a lock that is held while anything is waited for, or while the node is told something.

use crate::credentials::Credentials;
use crate::handshake::Judge;
use crate::network::{Clock, ClusterCell, Inbound, Limits};
use crate::peer::Peer;
use crate::session::Sessions;
use crate::stats::Stats;
use anser_model::{Member, NodeId};
use anser_proto::Tick;
use anser_proto::hello::{Hello, Purpose};
use quinn::Endpoint;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// An endpoint and the runtime that drives it.
pub(crate) struct Half {
    pub endpoint: Endpoint,
    pub runtime: Handle,
}

pub(crate) struct Shared {
    pub me: NodeId,
    pub member: Member,
    pub credentials: Credentials,
    pub cluster: Arc<ClusterCell>,
    pub boot: u64,
    pub clock: Clock,
    pub limits: Limits,
    pub inbound: Arc<dyn Inbound>,
    pub stats: Stats,
    /// Control, data and sessions.
    pub main: Half,
    /// Large messages, on a thread of its own.
    pub bulk: Half,
    pub bulk_port: u16,
    /// How we dial.
    pub dialler: quinn::ClientConfig,
    pub sessions: Sessions,
    /// Bytes of large frames that may be under way from nodes, and from sessions.
    pub node_budget: Arc<Semaphore>,
    pub session_budget: Arc<Semaphore>,
    /// The lanes: what a drain waits for.
    pub lanes: TaskTracker,
    /// Ends the bulk thread.
    pub stop_bulk: CancellationToken,
    pub closing: AtomicBool,
    pub peers: RwLock<HashMap<NodeId, Arc<Peer>>>,
}

impl Shared {
    pub fn now(&self) -> Tick {
        (self.clock)()
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The half that serves a purpose.
    pub fn half(&self, purpose: Purpose) -> &Half {
        match purpose {
            Purpose::Control | Purpose::Data | Purpose::Session => &self.main,
            Purpose::Bulk => &self.bulk,
        }
    }

    /// Our hello.
    pub fn hello(&self, purpose: Purpose) -> Hello {
        Hello {
            cluster_name: self.credentials.identity().cluster.clone(),
            cluster: self.cluster.get(),
            member: Some(self.member),
            boot: self.boot,
            purpose,
            bulk_port: Some(self.bulk_port),
        }
    }

    /// What hellos are judged by.
    pub fn judge(&self) -> Judge<'_> {
        Judge { cluster_name: &self.credentials.identity().cluster, cluster: self.cluster.get(), me: self.me }
    }

    pub fn peer(&self, node: NodeId) -> Option<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    pub fn all_peers(&self) -> Vec<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The peer, made if it is new.
    pub fn peer_or_new(&self, node: NodeId) -> Arc<Peer> {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(peers.entry(node).or_insert_with(|| Arc::new(Peer::new(node, &self.limits))))
    }
}
