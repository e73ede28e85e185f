//! The client: one handle, cheap to clone, for any number of operations at once.

use crate::clock::Clock;
use crate::error::{ClusterError, ConnectError, GetError, PutError};
use crate::options::{Found, GetOptions, PutOptions, TIMEOUT_MAX, Written};
use crate::peer::{Peer, Work};
use crate::profile::Profile;
use crate::pursuit::{Cause, Ending, Move, Pursuit};
use crate::view::View;
use crate::{attempt, bootstrap, keeper, route};
use anser_model::key::VALUE_BYTES_MAX;
use anser_model::{Body as Value, Key, KeyspaceName, Rid};
use anser_proto::client::{ClientRequest, ClusterReply, Failure, GetRequest, Outcome, PutRequest};
use anser_proto::{Body, Role};
use anser_quic::ClientEndpoint;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a question about the cluster may take.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the closing of connections may take. Long enough for the word to be sent; its echo is not worth waiting for.
const CLOSE_MAX: Duration = Duration::from_millis(5);

/// A client of one cluster. Clones share its connections, its clock and its request ids.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// What all clones of a client share.
pub(crate) struct Shared {
    pub endpoint: ClientEndpoint,
    pub addresses: Vec<SocketAddr>,
    pub clock: Clock,
    /// Wakes the keeper: a node failed.
    pub trouble: Arc<Notify>,
    /// Whether any operation was done since the keeper last looked.
    pub used: AtomicBool,
    view: RwLock<Arc<View>>,
    writer: u128,
    seq: AtomicU64,
    draws: AtomicU64,
    attempts: AtomicU64,
    refused: AtomicU64,
}

/// What a client counted since it connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts of all operations: one each where nothing fails.
    pub attempts: u64,
    /// Attempts that nodes refused for want of room or readiness, and that were tried again.
    pub refused: u64,
}

impl Client {
    /// Connects: tries every address of the profile, and learns the ring from the first that answers. Runs on a tokio
    /// runtime, and keeps a task on it that ends with the last clone.
    pub async fn connect(profile: Profile) -> Result<Client, ConnectError> {
        let writer = random_writer().map_err(ConnectError::Credentials)?;
        let found = bootstrap::connect(&profile).await?;
        let clock = Clock::default();
        clock.follow(found.clock);
        let shared = Arc::new(Shared {
            endpoint: found.endpoint,
            addresses: profile.addresses,
            clock,
            trouble: Arc::new(Notify::new()),
            used: AtomicBool::new(false),
            view: RwLock::new(Arc::new(found.view)),
            writer,
            seq: AtomicU64::new(0),
            draws: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        keeper::spawn(&shared);
        Ok(Client { shared })
    }

    /// Writes a value.
    pub async fn put(
        &self,
        keyspace: &KeyspaceName,
        key: &Key,
        value: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<Written, PutError> {
        let value = value.into();
        if value.len() > VALUE_BYTES_MAX {
            return Err(PutError::ValueTooLarge { limit: VALUE_BYTES_MAX as u64 });
        }
        self.write(keyspace, key, Value::Value(value), options).await
    }

    /// Deletes a key; also one that is not there.
    pub async fn delete(
        &self,
        keyspace: &KeyspaceName,
        key: &Key,
        options: PutOptions,
    ) -> Result<Written, PutError> {
        self.write(keyspace, key, Value::Tombstone, options).await
    }

    /// Reads a key. That it does not exist is no error: [`Found::versions`] is empty then.
    pub async fn get(
        &self,
        keyspace: &KeyspaceName,
        key: &Key,
        options: GetOptions,
    ) -> Result<Found, GetError> {
        let order = route::get_order(&self.shared.view(), keyspace, key, &mut self.shared.random());
        let request = GetRequest { keyspace: keyspace.clone(), key: key.clone(), level: options.level };
        let body = |_retry| Body::Client(ClientRequest::Get(request.clone()));
        let done =
            self.shared.pursue(&order, Role::Coordinator, body, options.timeout, Some(Work::Read)).await;
        match done.map_err(GetError::of)? {
            Outcome::Get(reply) => {
                Ok(Found { versions: reply.versions, context: reply.context, receipt: reply.receipt })
            }
            other => Err(GetError::Nonsense(format!("{other:?}"))),
        }
    }

    /// The cluster, as the node that answers first sees it.
    pub async fn cluster(&self) -> Result<ClusterReply, ClusterError> {
        let order = route::any_order(&self.shared.view(), &mut self.shared.random());
        let body = |_retry| Body::Client(ClientRequest::DescribeCluster);
        let done = self.shared.pursue(&order, Role::Membership, body, CLUSTER_TIMEOUT, None).await;
        match done.map_err(GetError::of)? {
            Outcome::Cluster(reply) => Ok(reply),
            other => Err(GetError::Nonsense(format!("{other:?}")).into()),
        }
    }

    /// Tells the nodes that this client goes: no operation succeeds any more. Dropping the last clone closes the connections
    /// too, but if the process ends at once, the nodes notice only after a while.
    pub async fn close(&self) {
        let _sent = tokio::time::timeout(CLOSE_MAX, self.shared.endpoint.close()).await;
    }

    /// What it counted so far.
    pub fn counts(&self) -> Counts {
        Counts {
            attempts: self.shared.attempts.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
        }
    }

    /// A put or a delete. If the first node that judges its stamp finds the clock wrong, it is issued once more, as a new
    /// request by that node's clock.
    async fn write(
        &self,
        keyspace: &KeyspaceName,
        key: &Key,
        value: Value,
        options: PutOptions,
    ) -> Result<Written, PutError> {
        let begun = Instant::now();
        let ending = match self.write_once(keyspace, key, &value, &options, options.timeout).await {
            Err(Ending { maybe: false, cause: Cause::Denied(Failure::BadClock { node_ms }), .. }) => {
                self.shared.clock.correct(node_ms);
                let left = options.timeout.saturating_sub(begun.elapsed());
                self.write_once(keyspace, key, &value, &options, left).await
            }
            first => first,
        };
        match ending.map_err(PutError::of)? {
            Outcome::Put(reply) => Ok(Written { context: reply.context, receipt: reply.receipt }),
            other => {
                Err(PutError::Unknown { acked: 0, needed: 0, why: format!("a node answered {other:?}") })
            }
        }
    }

    async fn write_once(
        &self,
        keyspace: &KeyspaceName,
        key: &Key,
        value: &Value,
        options: &PutOptions,
        timeout: Duration,
    ) -> Result<Outcome, Ending> {
        let shared = &self.shared;
        let rid = Rid { writer: shared.writer, seq: shared.seq.fetch_add(1, Ordering::Relaxed) };
        let issued = shared.clock.stamp();
        let lasts = options.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let request = PutRequest {
            keyspace: keyspace.clone(),
            key: key.clone(),
            rid,
            issued,
            expires: lasts.map(|ms| issued.ms().saturating_add(ms)),
            body: value.clone(),
            context: options.context.clone(),
            level: options.level,
            retry: false,
        };
        let order = route::put_order(&shared.view(), keyspace, key, rid, &mut shared.random());
        let body = |retry| Body::Client(ClientRequest::Put(PutRequest { retry, ..request.clone() }));
        shared.pursue(&order, Role::Coordinator, body, timeout, Some(Work::Write)).await
    }
}

impl Shared {
    /// The present view.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a newer view in its place.
    pub fn set_view(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// Randomness for one operation: it spreads load and staggers retries. Not secret.
    pub fn random(&self) -> fastrand::Rng {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let draw = self.draws.fetch_add(1, Ordering::Relaxed).wrapping_mul(ODD);
        fastrand::Rng::with_seed(Rid { writer: self.writer, seq: draw }.hash64())
    }

    /// Asks one peer after the other, as the pursuit decides, until it is done or over.
    async fn pursue(
        &self,
        order: &[Arc<Peer>],
        to: Role,
        body: impl Fn(bool) -> Body,
        timeout: Duration,
        measure: Option<Work>,
    ) -> Result<Outcome, Ending> {
        self.used.store(true, Ordering::Relaxed);
        let timeout = timeout.min(TIMEOUT_MAX);
        let begun = Instant::now();
        let usual = measure.zip(order.first()).map(|(kind, peer)| peer.latency(kind)).unwrap_or_default();
        let mut pursuit = Pursuit::new(order.len(), body(false).payload_bytes()).usually(usual);
        let mut random = self.random();
        loop {
            let left = timeout.saturating_sub(begun.elapsed());
            let (candidate, slice, retry) = match pursuit.next(left, random.f64()) {
                Move::Try { candidate, slice, retry } => (candidate, slice, retry),
                Move::Wait(wait) => {
                    tokio::time::sleep(wait).await;
                    continue;
                }
                Move::GiveUp(ending) => {
                    self.refused.fetch_add(pursuit.refused(), Ordering::Relaxed);
                    self.trouble.notify_one();
                    return Err(ending);
                }
            };
            let Some(peer) = order.get(candidate) else { continue };
            self.attempts.fetch_add(1, Ordering::Relaxed);
            let asked = Instant::now();
            let (answer, clock) = attempt::answer(peer.call(&self.endpoint, to, body(retry), slice).await);
            if let Some(clock) = clock {
                self.clock.follow(clock);
            }
            if let Some(outcome) = pursuit.answered(answer) {
                if let Some(kind) = measure {
                    peer.note_latency(kind, asked.elapsed());
                }
                if pursuit.refused() > 0 {
                    self.refused.fetch_add(pursuit.refused(), Ordering::Relaxed);
                }
                return Ok(outcome);
            }
            if peer.failures() > 0 {
                self.trouble.notify_one();
            }
        }
    }
}

/// The name under which this run of the client writes.
fn random_writer() -> Result<u128, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
    Ok(u128::from_le_bytes(bytes))
}
