//! One node, as the client sees it: its address, the connection to it once there is one, how fast it answers, and
//! whether it lately failed to.

use anser_model::NodeId;
use anser_proto::{Body, Role};
use anser_quic::{CallError, ClientConnection, ClientEndpoint};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The longest that a dial may take, over the longest links.
const DIAL_MAX: Duration = Duration::from_secs(1);
/// The longest that an operation waits for a dial before it tries another node; the dial goes on beside it.
const DIAL_PATIENCE: Duration = Duration::from_millis(250);
/// New latencies weigh one part in so many.
const LATENCY_WEIGHT: u64 = 8;

/// A node and the way to it.
pub(crate) struct Peer {
    /// Who it is.
    pub node: NodeId,
    /// Where it listens.
    pub address: SocketAddr,
    link: RwLock<Option<ClientConnection>>,
    dialling: Arc<tokio::sync::Mutex<()>>,
    latency_us: [AtomicU64; 2],
    failures: AtomicU32,
}

/// What a node is asked to do, as far as its time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Answer from memory or a table.
    Read,
    /// Have it durable on several nodes.
    Write,
}

impl Peer {
    /// A node that is not connected yet.
    pub fn new(node: NodeId, address: SocketAddr) -> Peer {
        Peer {
            node,
            address,
            link: RwLock::new(None),
            dialling: Arc::default(),
            latency_us: Default::default(),
            failures: AtomicU32::new(0),
        }
    }

    /// Gives it a connection that is there already.
    pub fn adopt(&self, connection: ClientConnection) {
        self.set_link(connection);
    }

    /// How fast it was lately; zero if not known.
    pub fn latency(&self, work: Work) -> Duration {
        Duration::from_micros(self.cell(work).load(Ordering::Relaxed))
    }

    fn cell(&self, work: Work) -> &AtomicU64 {
        let [reads, writes] = &self.latency_us;
        match work {
            Work::Read => reads,
            Work::Write => writes,
        }
    }

    /// How often it failed to answer since it last did.
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Takes the time of some work in.
    pub fn note_latency(&self, work: Work, took: Duration) {
        let new = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let old = self.cell(work).load(Ordering::Relaxed);
        let next = if old == 0 { new } else { old - old / LATENCY_WEIGHT + new / LATENCY_WEIGHT };
        self.cell(work).store(next, Ordering::Relaxed);
    }

    /// Asks it, after dialling if need be; all within `slice`.
    pub async fn call(
        self: &Arc<Self>,
        endpoint: &ClientEndpoint,
        to: Role,
        body: Body,
        slice: Duration,
    ) -> Result<Body, CallError> {
        let begun = Instant::now();
        let link = match self.link() {
            Some(link) => link,
            None => self.dial(endpoint, slice.min(DIAL_PATIENCE)).await.ok_or(CallError::NotSent)?,
        };
        let result = link.call(to, body, slice.saturating_sub(begun.elapsed())).await;
        match result {
            Ok(_) => {
                if self.failures() != 0 {
                    self.failures.store(0, Ordering::Relaxed);
                }
            }
            Err(CallError::Busy) => {}
            Err(CallError::NotSent | CallError::Lost | CallError::TimedOut) => self.note_failure(),
        }
        result
    }

    fn note_failure(&self) {
        let failures = self.failures().saturating_add(1);
        self.failures.store(failures, Ordering::Relaxed);
    }

    /// The connection, if it is open.
    fn link(&self) -> Option<ClientConnection> {
        let link = self.link.read().unwrap_or_else(PoisonError::into_inner);
        link.as_ref().filter(|link| !link.is_closed()).cloned()
    }

    fn set_link(&self, link: ClientConnection) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = Some(link);
    }

    /// Connects. Of many who want to, one dials and the others wait for it, none longer than `patience`.
    async fn dial(
        self: &Arc<Self>,
        endpoint: &ClientEndpoint,
        patience: Duration,
    ) -> Option<ClientConnection> {
        let failures = self.failures();
        let dialled = async {
            let turn = Arc::clone(&self.dialling).lock_owned().await;
            if let Some(link) = self.link() {
                return Some(link);
            }
            if self.failures() > failures {
                return None; // Whoever dialled meanwhile found nobody.
            }
            let (peer, endpoint) = (Arc::clone(self), endpoint.clone());
            let dial = tokio::spawn(async move {
                let _turn = turn;
                let link = endpoint.connect(peer.address, DIAL_MAX).await.ok();
                let link = link.filter(|link| link.node() == peer.node)?;
                peer.set_link(link.clone());
                Some(link)
            });
            dial.await.ok().flatten()
        };
        let link = tokio::time::timeout(patience, dialled).await.ok().flatten();
        if link.is_none() && self.failures() == failures {
            self.note_failure();
        }
        link
    }
}
