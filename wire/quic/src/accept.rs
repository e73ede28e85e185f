//! Accepting: handshake, certificate, hello; then a node's connection is installed, a client's becomes a session.
//!
//! Keeps: handshakes under way are bounded; past half of that, whoever has not shown that its address is its own is asked to
//! first. Every refusal is told to the other side in words, logged and counted.

use crate::handshake::{self, HelloError};
use crate::identity::Kind;
use crate::install::{self, Streams};
use crate::rejection::{Rejection, words_of};
use crate::session;
use crate::shared::Shared;
use crate::verify::identity_of;
use anser_proto::hello::{Hello, Purpose};
use quinn::{Connection, Incoming};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Handshakes under way at a time, at one endpoint.
const HANDSHAKES_MAX: usize = 256;
/// How long one may take, in milliseconds.
const HANDSHAKE_MS: u64 = 5000;

/// Accepts at one endpoint until it is closed.
pub(crate) async fn accept(shared: Arc<Shared>, bulk: bool) {
    let slots = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let half = if bulk { &shared.bulk } else { &shared.main };
    while let Some(incoming) = half.endpoint.accept().await {
        if shared.is_closing() {
            incoming.refuse();
            continue;
        }
        let crowded = slots.available_permits() < HANDSHAKES_MAX / 2;
        if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
            let _ = incoming.retry();
            continue;
        }
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let address = incoming.remote_address();
            let admitted = admit(&shared, incoming, bulk);
            match tokio::time::timeout(Duration::from_millis(HANDSHAKE_MS), admitted).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => tell(&shared, address, why),
                Err(_) => tell(&shared, address, "handshake failed"),
            }
            drop(slot);
        });
    }
}

fn tell(shared: &Shared, address: SocketAddr, why: &'static str) {
    tracing::warn!(%address, why, "a connection was not taken");
    shared.inbound.rejected(why);
}

/// One connection, up to its installation; or why not, in words.
async fn admit(shared: &Arc<Shared>, incoming: Incoming, bulk: bool) -> Result<(), &'static str> {
    let connecting = incoming.accept().map_err(|error| words_of(&error))?;
    let connection = connecting.await.map_err(|error| words_of(&error))?;
    let refuse = |why: Rejection| {
        handshake::refuse(&connection, why);
        why.words()
    };
    let identity = identity_of(&connection).map_err(refuse)?;
    let (send, mut recv) = connection.accept_bi().await.map_err(|error| words_of(&error))?;
    let hello = match handshake::hear(&mut recv).await {
        Ok(hello) => hello,
        Err(HelloError::Refused(why)) => return Err(refuse(why)),
        Err(HelloError::Lost) => return Err(lost(&connection)),
    };
    shared.judge().dialler(&identity, &hello).map_err(refuse)?;
    let streams = Streams { send, recv };
    match (identity.kind, hello.purpose) {
        (Kind::Node, Purpose::Bulk) if bulk => {
            node(shared, &connection, streams, identity.node, &hello).await
        }
        (Kind::Node, Purpose::Control | Purpose::Data) if !bulk => {
            node(shared, &connection, streams, identity.node, &hello).await
        }
        (Kind::Client | Kind::Operator, Purpose::Session) if !bulk => {
            session::open(shared, &connection, streams, identity).await
        }
        (Kind::Node | Kind::Client | Kind::Operator, _) => Err(refuse(Rejection::BadHello)),
    }
}

async fn node(
    shared: &Arc<Shared>,
    connection: &Connection,
    mut streams: Streams,
    node: anser_model::NodeId,
    hello: &Hello,
) -> Result<(), &'static str> {
    if handshake::say(&mut streams.send, &shared.hello(hello.purpose)).await.is_err() {
        return Err(lost(connection));
    }
    install::node(shared, connection.clone(), streams, node, hello, node);
    Ok(())
}

/// Why a connection ended before it was up.
pub(crate) fn lost(connection: &Connection) -> &'static str {
    connection.close_reason().as_ref().map_or("handshake failed", words_of)
}
