//! A client's side: one socket, any number of connections, many calls outstanding on each.
//!
//! Keeps: a failed call says whether anything left this process. Deliberately absent: retries, and the choice of the node.

use crate::call::{Calls, Outcome};
use crate::credentials::Credentials;
use crate::dial::{Dialled, Target, dial};
use crate::handshake::Judge;
use crate::lane::{Life, Port, Writer};
use crate::queue::Queue;
use crate::reader::{self, PERMIT_BYTES};
use crate::rejection::{CLOSE_ENDING, ConnectError};
use crate::settings::{self, End};
use anser_model::NodeId;
use anser_proto::frame::LANE_FRAME_BYTES_MAX;
use anser_proto::hello::{Hello, Purpose};
use anser_proto::{Body, Role, Tick};
use quinn::{Connection, Endpoint};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Most calls outstanding on one connection.
pub const OUTSTANDING_MAX: usize = 8192;
/// Bytes of calls that wait for the lane, and of large ones that wait for their streams.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Large calls that wait for their streams.
const WAITING_LARGE_MAX: usize = 256;
/// Bytes of large answers under way on one connection.
const LARGE_ANSWERS_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Large calls under way on one connection.
const LARGE_STREAMS: usize = 2;
/// How long an end waits until the other ends know, in milliseconds.
const CLOSE_MS: u64 = 1000;

/// Why a call brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nothing of it left this process: it was certainly not carried out.
    #[error("not sent: the connection is closed")]
    NotSent,
    /// Too many calls are outstanding. Nothing of it left this process.
    #[error("not sent: too many calls are outstanding")]
    Busy,
    /// The connection was lost after (some of) it was sent: it may have been carried out.
    #[error("the connection was lost")]
    Lost,
    /// No answer in time: it may have been carried out.
    #[error("no answer in time")]
    TimedOut,
}

/// One socket for many connections. Its first connection must be made inside the runtime that is to drive it. Cheap to clone.
#[derive(Clone)]
pub struct ClientEndpoint(Arc<EndpointInner>);

struct EndpointInner {
    credentials: Credentials,
    boot: u64,
    born: Instant,
    v4: Mutex<Option<Endpoint>>,
    v6: Mutex<Option<Endpoint>>,
}

/// One connection to one node. Cheap to clone; the last clone dropped closes it.
#[derive(Clone)]
pub struct ClientConnection(Arc<ConnectionInner>);

struct ConnectionInner {
    connection: Connection,
    node: NodeId,
    calls: Arc<Calls>,
    lane: Arc<Queue>,
    large: Arc<Queue>,
    life: Arc<Life>,
}

impl ClientEndpoint {
    /// For a client or an operator. Sockets are opened when first needed.
    pub fn new(credentials: Credentials) -> ClientEndpoint {
        ClientEndpoint(Arc::new(EndpointInner {
            credentials,
            boot: fastrand::u64(..),
            born: Instant::now(),
            v4: Mutex::default(),
            v6: Mutex::default(),
        }))
    }

    /// On an endpoint that is open already.
    #[cfg(test)]
    pub(crate) fn over(credentials: Credentials, boot: u64, endpoint: Endpoint) -> ClientEndpoint {
        ClientEndpoint(Arc::new(EndpointInner {
            credentials,
            boot,
            born: Instant::now(),
            v4: Mutex::new(Some(endpoint)),
            v6: Mutex::default(),
        }))
    }

    /// The credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    /// Connects: certificates and hellos were judged on both sides when this returns.
    pub async fn connect(
        &self,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<ClientConnection, ConnectError> {
        let socket = |why: String| ConnectError::Socket { address, why };
        let endpoint = self.endpoint(address).map_err(|error| socket(error.to_string()))?;
        let credentials = &self.0.credentials;
        let config = settings::client_config(credentials, End::ClientDials)
            .map_err(|error| socket(error.to_string()))?;
        let identity = credentials.identity();
        let hello = Hello {
            cluster_name: identity.cluster.clone(),
            cluster: None,
            member: None,
            boot: self.0.boot,
            purpose: Purpose::Session,
            bulk_port: None,
        };
        let judge = Judge { cluster_name: &identity.cluster, cluster: None, me: identity.node };
        let target = Target { address, expected: None, timeout };
        let dialled = dial(&endpoint, config, target, &hello, judge).await?;
        Ok(ClientConnection::start(dialled, identity.node, self.0.born))
    }

    /// Closes all connections and waits, a second at most, until the other ends know.
    pub async fn close(&self) {
        let open =
            [&self.0.v4, &self.0.v6].map(|cell| cell.lock().unwrap_or_else(PoisonError::into_inner).take());
        for endpoint in open.into_iter().flatten() {
            endpoint.close(CLOSE_ENDING, b"the client is done");
            let _ = tokio::time::timeout(Duration::from_millis(CLOSE_MS), endpoint.wait_idle()).await;
        }
    }

    /// The endpoint of an address's family, opened if it is not yet.
    fn endpoint(&self, to: SocketAddr) -> std::io::Result<Endpoint> {
        let (cell, from) = match to {
            SocketAddr::V4(_) => (&self.0.v4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (&self.0.v6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        let mut cell = cell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = cell.as_ref() {
            return Ok(endpoint.clone());
        }
        let endpoint = settings::open_endpoint(from, &self.0.credentials, self.0.boot, None)?;
        *cell = Some(endpoint.clone());
        Ok(endpoint)
    }
}

impl ClientConnection {
    fn start(dialled: Dialled, me: NodeId, born: Instant) -> ClientConnection {
        let Dialled { connection, streams, identity, hello: _ } = dialled;
        let lane = Arc::new(Queue::new(OUTSTANDING_MAX, WAITING_BYTES_MAX));
        let large = Arc::new(Queue::new(WAITING_LARGE_MAX, WAITING_BYTES_MAX));
        let calls = Arc::new(Calls::new(me, identity.node, born, Arc::clone(&large)));
        let life = Arc::new(Life::default());
        let port = || Arc::clone(&calls) as Arc<dyn Port>;
        let writer =
            |queue: &Arc<Queue>| Writer { port: port(), queue: Arc::clone(queue), life: Arc::clone(&life) };
        tokio::spawn(writer(&lane).run_lane(streams.send));
        for _ in 0..LARGE_STREAMS {
            tokio::spawn(writer(&large).run_streams(connection.clone()));
        }
        tokio::spawn(reader::read_lane(streams.recv, connection.clone(), port()));
        let inner = Arc::new(ConnectionInner {
            connection: connection.clone(),
            node: identity.node,
            calls: Arc::clone(&calls),
            lane: Arc::clone(&lane),
            large: Arc::clone(&large),
            life: Arc::clone(&life),
        });
        tokio::spawn(watch(connection, calls, [lane, large], life));
        ClientConnection(inner)
    }

    /// Asks, and waits for the answer. Dropping the future gives up waiting; the request may be carried out all the same.
    pub async fn call(&self, to: Role, body: Body, deadline: Duration) -> Result<Body, CallError> {
        let inner = &self.0;
        let now = inner.calls.now();
        let until = now.plus_us(u64::try_from(deadline.as_micros()).unwrap_or(u64::MAX));
        let large = body.payload_bytes() > LANE_FRAME_BYTES_MAX;
        let queue = if large { &inner.large } else { &inner.lane };
        let mut call = inner.calls.begin()?;
        let envelope = inner.calls.envelope(call.seq, to, body, until);
        if queue.push(envelope, now).is_err() {
            return Err(CallError::Busy);
        }
        queue.wake();
        match tokio::time::timeout(deadline, &mut call.answer).await {
            Ok(Ok(Outcome::Answered(body))) => Ok(*body),
            Ok(Ok(Outcome::Unsent)) => Err(CallError::NotSent),
            Ok(Ok(Outcome::Lost) | Err(_)) => Err(self.unanswered(call.seq, CallError::Lost)),
            Err(_) => Err(self.unanswered(call.seq, CallError::TimedOut)),
        }
    }

    /// What a call without an answer came to. A writer takes no request whose deadline is past, nor any once the connection is
    /// lost: one that was not taken by then never will be.
    fn unanswered(&self, seq: u64, otherwise: CallError) -> CallError {
        let taken = self.0.lane.taken().max(self.0.large.taken());
        if seq > taken { CallError::NotSent } else { otherwise }
    }

    /// Who is at the other end, by its certificate.
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.0.connection.remote_address()
    }

    /// Whether it is gone: no call can succeed any more.
    pub fn is_closed(&self) -> bool {
        self.0.connection.close_reason().is_some()
    }

    /// The smoothed round trip time.
    pub fn rtt(&self) -> Duration {
        self.0.connection.rtt()
    }

    /// Calls outstanding.
    pub fn outstanding(&self) -> usize {
        self.0.calls.outstanding()
    }

    /// Closes it; calls outstanding end as lost.
    pub fn close(&self) {
        self.0.connection.close(CLOSE_ENDING, b"the client is done");
    }
}

impl Drop for ConnectionInner {
    fn drop(&mut self) {
        self.life.stop();
        self.connection.close(CLOSE_ENDING, b"the client is done");
    }
}

/// Accepts large answers until the connection ends, then ends the calls.
async fn watch(connection: Connection, calls: Arc<Calls>, queues: [Arc<Queue>; 2], life: Arc<Life>) {
    let budget = Arc::new(Semaphore::new(LARGE_ANSWERS_BYTES_MAX / PERMIT_BYTES));
    while let Ok(stream) = connection.accept_uni().await {
        let port = Arc::clone(&calls) as Arc<dyn Port>;
        tokio::spawn(reader::read_large(stream, connection.clone(), port, Arc::clone(&budget)));
    }
    life.stop();
    // The lanes take nothing more; what they had not taken was not sent.
    let unsent: Vec<_> = queues.iter().flat_map(|queue| queue.drain()).collect();
    calls.end(unsent);
    for queue in &queues {
        queue.wake_all();
    }
}

/// The time of a process's clients: microseconds since its first endpoint was made.
pub(crate) fn tick_since(born: Instant) -> Tick {
    Tick(u64::try_from(born.elapsed().as_micros()).unwrap_or(u64::MAX))
}
