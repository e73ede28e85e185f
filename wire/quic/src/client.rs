//! A client's side: one socket, any number of connections, many calls outstanding on each.
//!
//! Keeps: a failed call says whether anything left this process. Deliberately absent: retries, and the choice of the node.

use crate::credentials::Credentials;
use crate::rejection::ConnectError;
use anser_model::NodeId;
use anser_proto::{Body, Role};
use std::net::SocketAddr;
use std::time::Duration;

/// Most calls outstanding on one connection.
pub const OUTSTANDING_MAX: usize = 8192;

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

/// One socket for many connections. Make it inside the runtime that is to drive it. Cheap to clone.
#[derive(Clone)]
pub struct ClientEndpoint {}

/// One connection to one node. Cheap to clone; the last clone dropped closes it.
#[derive(Clone)]
pub struct ClientConnection {}

impl ClientEndpoint {
    /// For a client or an operator. Sockets are opened when first needed.
    pub fn new(credentials: Credentials) -> ClientEndpoint {
        todo!()
    }

    /// The credentials.
    pub fn credentials(&self) -> &Credentials {
        todo!()
    }

    /// Connects: certificates and hellos were judged on both sides when this returns.
    pub async fn connect(
        &self,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<ClientConnection, ConnectError> {
        todo!()
    }

    /// Closes all connections and waits, a second at most, until the other ends know.
    pub async fn close(&self) {
        todo!()
    }
}

impl ClientConnection {
    /// Asks, and waits for the answer. Dropping the future gives up waiting; the request may be carried out all the same.
    pub async fn call(&self, to: Role, body: Body, deadline: Duration) -> Result<Body, CallError> {
        todo!()
    }

    /// Who is at the other end, by its certificate.
    pub fn node(&self) -> NodeId {
        todo!()
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        todo!()
    }

    /// Whether it is gone: no call can succeed any more.
    pub fn is_closed(&self) -> bool {
        todo!()
    }

    /// The smoothed round trip time.
    pub fn rtt(&self) -> Duration {
        todo!()
    }

    /// Calls outstanding.
    pub fn outstanding(&self) -> usize {
        todo!()
    }

    /// Closes it; calls outstanding end as lost.
    pub fn close(&self) {
        todo!()
    }
}
