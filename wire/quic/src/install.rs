//! A connection between nodes that is up: it is installed in its link, its streams are read and written until it ends.
//!
//! Keeps: a connection that gives way to another is still read for a while, so that nothing said on it is lost; one whose
//! other end is another process is closed at once. The streams of hellos go on as lanes, which they are on both sides.

use crate::dial::Dialled;
use crate::lane::{Life, Port, Writer};
use crate::network::Source;
use crate::peer::{Installed, Kept, Link, Peer};
use crate::reader;
use crate::rejection::CLOSE_REPLACED;
use crate::route::refusal;
use crate::shared::Shared;
use crate::stats::{Direction, Traffic};
use anser_model::NodeId;
use anser_proto::frame::{self, FrameError};
use anser_proto::hello::{Hello, Purpose};
use anser_proto::{Body, Envelope, Refusal, Role, Tick};
use quinn::{Connection, RecvStream, SendStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// Lanes that a node opens beside the hello's stream on a data connection.
const EXTRA_DATA_LANES: usize = 1;
/// Large messages under way to one peer at a time.
const BULK_STREAMS: usize = 4;
/// How long a connection that gave way is still read.
const LINGER_MS: u64 = 2000;

/// The stream that the hellos were said on.
pub(crate) struct Streams {
    pub send: SendStream,
    pub recv: RecvStream,
}

/// Installs a connection that we dialled.
pub(crate) fn dialled(shared: &Arc<Shared>, purpose: Purpose, dialled: Dialled) {
    let Dialled { connection, streams, identity, hello } = dialled;
    debug_assert_eq!(hello.purpose, purpose);
    node(shared, connection, streams, identity.node, &hello, shared.me);
}

/// Installs a connection to a node.
pub(crate) fn node(
    shared: &Arc<Shared>,
    connection: Connection,
    streams: Streams,
    node: NodeId,
    hello: &Hello,
    dialled_by: NodeId,
) {
    let peer = shared.peer_or_new(node);
    peer.suggest_address(connection.remote_address());
    if let Some(port) = hello.bulk_port {
        peer.set_bulk_port(port);
    }
    let link = match hello.purpose {
        Purpose::Control => Arc::clone(&peer.control),
        Purpose::Data => Arc::clone(&peer.data),
        Purpose::Bulk => Arc::clone(&peer.bulk),
        Purpose::Session => return,
    };
    let life = Arc::new(Life::default());
    let kept = Kept {
        connection: connection.clone(),
        life: Arc::clone(&life),
        dialled_by,
        boot: hello.boot,
        since: Instant::now(),
    };
    if link.purpose == Purpose::Control {
        shared.inbound.learned(node, connection.remote_address(), hello);
    }
    let port = Arc::new(NodePort { shared: Arc::clone(shared), node, traffic: traffic(link.purpose) });
    match link.install(kept, shared.me, node) {
        Installed::Lingers => {
            life.stop();
            tokio::spawn(close_later(connection.clone()));
        }
        Installed::Kept { before, restarted } => {
            let was_up = before.is_some();
            if let Some(before) = before {
                give_way(&link, before, restarted);
            }
            write(shared, &link, &connection, streams.send, Arc::clone(&port) as Arc<dyn Port>, life);
            if link.purpose == Purpose::Control && !was_up {
                shared.inbound.peer_up(node, connection.rtt());
                warm_up(shared, &peer);
            }
        }
    }
    tokio::spawn(read(Arc::clone(shared), peer, link, connection, streams.recv, port));
}

fn traffic(purpose: Purpose) -> Traffic {
    match purpose {
        Purpose::Control => Traffic::Control,
        Purpose::Data => Traffic::Data,
        Purpose::Bulk => Traffic::Bulk,
        Purpose::Session => Traffic::Session,
    }
}

/// A peer is up: its data connection will be needed, and its bulk port is known now.
fn warm_up(shared: &Arc<Shared>, peer: &Arc<Peer>) {
    // One side is enough; the other may dial too once it has something to say.
    if shared.me < peer.node {
        peer.data.wanted.store(true, Ordering::Release);
    }
    for link in [&peer.data, &peer.bulk] {
        link.forget_failures();
        if link.wanted.load(Ordering::Acquire) || !link.queue.is_empty() {
            shared.poke(peer, link);
        }
    }
}

fn give_way(link: &Link, before: Kept, restarted: bool) {
    before.life.stop();
    link.queue.wake_all();
    if restarted {
        before.connection.close(CLOSE_REPLACED, b"another process of the same node");
    } else {
        tokio::spawn(close_later(before.connection));
    }
}

async fn close_later(connection: Connection) {
    let _ = tokio::time::timeout(Duration::from_millis(LINGER_MS), connection.closed()).await;
    connection.close(CLOSE_REPLACED, b"another connection is kept");
}

/// Starts the writers.
fn write(
    shared: &Shared,
    link: &Link,
    connection: &Connection,
    hello_stream: SendStream,
    port: Arc<dyn Port>,
    life: Arc<Life>,
) {
    let writer = Writer { port, queue: Arc::clone(&link.queue), life };
    match link.purpose {
        Purpose::Bulk => {
            for _ in 0..BULK_STREAMS {
                shared.lanes.spawn(writer.clone().run_streams(connection.clone()));
            }
        }
        Purpose::Control | Purpose::Data | Purpose::Session => {
            let extra = if link.purpose == Purpose::Data { EXTRA_DATA_LANES } else { 0 };
            for _ in 0..extra {
                let (writer, connection) = (writer.clone(), connection.clone());
                shared.lanes.spawn(async move {
                    if let Ok(stream) = connection.open_uni().await {
                        writer.run_lane(stream).await;
                    }
                });
            }
            shared.lanes.spawn(writer.run_lane(hello_stream));
        }
    }
}

/// Reads a connection until it ends, then sees to what that means.
async fn read(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    link: Arc<Link>,
    connection: Connection,
    hello_stream: RecvStream,
    port: Arc<NodePort>,
) {
    let dyn_port = || Arc::clone(&port) as Arc<dyn Port>;
    match link.purpose {
        Purpose::Bulk => drop(hello_stream),
        Purpose::Control | Purpose::Data | Purpose::Session => {
            tokio::spawn(reader::read_lane(hello_stream, connection.clone(), dyn_port()));
        }
    }
    if link.purpose == Purpose::Control {
        tokio::spawn(read_datagrams(connection.clone(), Arc::clone(&port)));
    }
    while let Ok(stream) = connection.accept_uni().await {
        match link.purpose {
            Purpose::Bulk => {
                let budget = Arc::clone(&shared.node_budget);
                tokio::spawn(reader::read_large(stream, connection.clone(), dyn_port(), budget));
            }
            Purpose::Control | Purpose::Data | Purpose::Session => {
                tokio::spawn(reader::read_lane(stream, connection.clone(), dyn_port()));
            }
        }
    }
    if let Some(reason) = connection.close_reason() {
        tracing::debug!(peer = %peer.node.short(), purpose = ?link.purpose, %reason, "a connection ended");
    }
    ended(&shared, &peer, &link, &connection);
}

fn ended(shared: &Arc<Shared>, peer: &Arc<Peer>, link: &Arc<Link>, connection: &Connection) {
    let Some(kept) = link.kept().filter(|kept| kept.connection.stable_id() == connection.stable_id()) else {
        return;
    };
    kept.life.stop();
    if !link.uninstall(connection) {
        return;
    }
    link.queue.wake_all();
    if link.purpose == Purpose::Control {
        shared.inbound.peer_down(peer.node);
    }
    if !link.queue.is_empty() {
        shared.poke(peer, link);
    }
}

async fn read_datagrams(connection: Connection, port: Arc<NodePort>) {
    while let Ok(datagram) = connection.read_datagram().await {
        port.shared.stats.count(Traffic::Datagram, Direction::Received, 1, datagram.len());
        match port.decode(&datagram, port.now()) {
            Ok(envelope) => port.hand_in(vec![envelope]),
            Err(_) => port.shared.stats.count_dropped(1),
        }
    }
}

/// What a peer's lanes belong to.
struct NodePort {
    shared: Arc<Shared>,
    node: NodeId,
    traffic: Traffic,
}

/// Whether a node may say this to us: not what is for clients to say, and nothing to our clients.
fn is_allowed(envelope: &Envelope) -> bool {
    match &envelope.body {
        Body::Client(_) | Body::Admin(_) => false,
        Body::Gossip(_)
        | Body::Replicate(_)
        | Body::Replicated(_)
        | Body::ForwardPut(_)
        | Body::ForwardPutReply(_)
        | Body::ClientReply(_)
        | Body::AdminReply(_)
        | Body::Refused(_) => envelope.to.role != Role::Session,
    }
}

impl NodePort {
    fn hand_in(&self, mut batch: Vec<Envelope>) {
        if !batch.iter().all(is_allowed) {
            let (allowed, bad): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_allowed);
            let refusals: Vec<Envelope> =
                bad.iter().filter_map(|envelope| refusal(envelope, Refusal::NotAllowed)).collect();
            self.shared.stats.count_dropped(bad.len() - refusals.len());
            self.shared.stats.count_refused(refusals.len());
            self.shared.send(refusals);
            batch = allowed;
        }
        if !batch.is_empty() {
            self.shared.inbound.deliver(Source::Node(self.node), batch);
        }
    }
}

impl Port for NodePort {
    fn now(&self) -> Tick {
        self.shared.now()
    }

    fn decode(&self, content: &[u8], now: Tick) -> Result<Envelope, FrameError> {
        frame::decode(content, self.node, self.shared.me, now)
    }

    fn deliver(&self, batch: Vec<Envelope>, bytes: usize) {
        self.shared.stats.count(self.traffic, Direction::Received, batch.len(), bytes);
        self.hand_in(batch);
    }

    fn large(&self, envelope: Envelope) {
        self.shared.send_large(self.node, envelope);
    }

    fn unsent(&self, batch: Vec<Envelope>, why: Refusal) {
        self.shared.unsent(batch, why);
    }

    fn wrote(&self, messages: usize, bytes: usize) {
        self.shared.stats.count(self.traffic, Direction::Sent, messages, bytes);
    }
}
