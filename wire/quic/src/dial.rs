//! Dialling: one attempt, and the task that dials for a link until it has a connection or nobody needs one.
//!
//! Keeps: each link has at most one dial at a time, with growing, jittered waits between failures. Deliberately absent: giving
//! up a dial because the other end's came first; both complete, and `Link::install` keeps one.

use crate::handshake::{self, Judge};
use crate::identity::Identity;
use crate::install::{self, Streams};
use crate::peer::{BACKOFF_MIN_MS, Link, Peer};
use crate::rejection::{ConnectError, Rejection};
use crate::shared::Shared;
use crate::verify::{SERVER_NAME, identity_of};
use anser_model::NodeId;
use anser_proto::hello::{Hello, Purpose};
use quinn::{ClientConfig, Connection, Endpoint};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long one dial between nodes may take, hello included.
const DIAL_MS: u64 = 1500;

/// Whom to dial, and how.
pub(crate) struct Target {
    pub address: SocketAddr,
    /// Who must be there, if known.
    pub expected: Option<NodeId>,
    pub timeout: Duration,
}

/// A connection that is up.
pub(crate) struct Dialled {
    pub connection: Connection,
    pub streams: Streams,
    pub identity: Identity,
    pub hello: Hello,
}

/// Dials once: handshake, certificates, hellos.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    config: ClientConfig,
    target: Target,
    hello: &Hello,
    judge: Judge<'_>,
) -> Result<Dialled, ConnectError> {
    let address = target.address;
    let attempt = attempt(endpoint, config, &target, hello, judge);
    match tokio::time::timeout(target.timeout, attempt).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::TimedOut { address }),
    }
}

async fn attempt(
    endpoint: &Endpoint,
    config: ClientConfig,
    target: &Target,
    hello: &Hello,
    judge: Judge<'_>,
) -> Result<Dialled, ConnectError> {
    let address = target.address;
    let connecting = endpoint
        .connect_with(config, address, SERVER_NAME)
        .map_err(|error| ConnectError::Socket { address, why: error.to_string() })?;
    let connection = connecting.await.map_err(|error| ConnectError::of_connection(address, &error))?;
    let refuse = |why| {
        handshake::refuse(&connection, why);
        ConnectError::RefusedByUs { address, why }
    };
    let identity = identity_of(&connection).map_err(refuse)?;
    if target.expected.is_some_and(|expected| expected != identity.node) {
        return Err(refuse(Rejection::OtherNode));
    }
    let lost = |error: &quinn::ConnectionError| ConnectError::of_connection(address, error);
    let (mut send, mut recv) = connection.open_bi().await.map_err(|error| lost(&error))?;
    let failure = |error| handshake::dial_failure(&connection, error);
    handshake::say(&mut send, hello).await.map_err(failure)?;
    let theirs = handshake::hear(&mut recv).await.map_err(failure)?;
    judge.dialled(&identity, &theirs, hello.purpose).map_err(refuse)?;
    Ok(Dialled { connection: connection.clone(), streams: Streams { send, recv }, identity, hello: theirs })
}

/// Dials for a link until it is connected or nothing needs it. The caller has set `link.dialling`.
pub(crate) async fn keep_dialling(shared: Arc<Shared>, peer: Arc<Peer>, link: Arc<Link>) {
    loop {
        while link_needs(&shared, &link) {
            let installed = link.installed.notified();
            let wait = link.wait();
            if !wait.is_zero() && tokio::time::timeout(wait, installed).await.is_ok() {
                continue;
            }
            if link_needs(&shared, &link) {
                dial_link(&shared, &peer, &link).await;
            }
        }
        link.dialling.store(false, Ordering::Release);
        // Something may have been queued between the look and the store.
        if !link_needs(&shared, &link) || link.dialling.swap(true, Ordering::AcqRel) {
            return;
        }
    }
}

fn link_needs(shared: &Shared, link: &Link) -> bool {
    let needed = link.wanted.load(Ordering::Acquire) || !link.queue.is_empty();
    needed && !link.is_connected() && !shared.is_closing()
}

async fn dial_link(shared: &Arc<Shared>, peer: &Arc<Peer>, link: &Arc<Link>) {
    link.wanted.store(false, Ordering::Release);
    if link.purpose != Purpose::Control && !peer.control.is_connected() {
        // A peer is up by its control connection, and the port of its bulk endpoint comes with the hello there.
        peer.control.wanted.store(true, Ordering::Release);
        shared.poke(peer, &peer.control);
    }
    let Some(address) = peer.address(link.purpose) else {
        link.installed_or(Duration::from_millis(BACKOFF_MIN_MS)).await;
        return;
    };
    match dial_node(shared, link.purpose, address, Some(peer.node)).await {
        Ok(dialled) => install::dialled(shared, link.purpose, dialled),
        Err(error) => {
            link.note_failure();
            tell(shared, &error);
        }
    }
}

/// Dials a node that nobody has named yet.
pub(crate) async fn dial_seed(shared: Arc<Shared>, address: SocketAddr) {
    match dial_node(&shared, Purpose::Control, address, None).await {
        Ok(dialled) => install::dialled(&shared, Purpose::Control, dialled),
        Err(error) => tell(&shared, &error),
    }
}

async fn dial_node(
    shared: &Arc<Shared>,
    purpose: Purpose,
    address: SocketAddr,
    expected: Option<NodeId>,
) -> Result<Dialled, ConnectError> {
    let target = Target { address, expected, timeout: Duration::from_millis(DIAL_MS) };
    let endpoint = &shared.half(purpose).endpoint;
    dial(endpoint, shared.dialler.clone(), target, &shared.hello(purpose), shared.judge()).await
}

fn tell(shared: &Shared, error: &ConnectError) {
    match error.rejection() {
        // A seed list may name its reader.
        Some(Rejection::Oneself) => {}
        Some(why) => {
            tracing::warn!(%error, "dialled in vain");
            shared.inbound.rejected(why.words());
        }
        None => tracing::debug!(%error, "dialled in vain"),
    }
}
