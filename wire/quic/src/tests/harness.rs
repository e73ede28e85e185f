//! Nodes and clients for the tests of this crate.

use crate::samples;
use crate::{
    BindError, ClientEndpoint, Clock, ClusterCell, Credentials, Identity, Inbound, Kind, Limits,
    NetworkConfig, NetworkHandle, NodeNetwork, PemPair, Source, create_ca, issue,
};
use anser_model::{FolderId, Hlc, Key, KeyspaceName, Level, Member, NodeId, Rid, Step};
use anser_proto::client::{
    ClientReply, ClientRequest, ContextArg, GetReceipt, GetReply, Outcome, PutRequest, ShownVersion,
};
use anser_proto::hello::Hello;
use anser_proto::replicate::ReplicaReply;
use anser_proto::{Address, Body, Envelope, Role, Tick};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// How long a test waits for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

static BORN: LazyLock<Instant> = LazyLock::new(Instant::now);

pub(super) fn now() -> Tick {
    // Not 0, so that waiting times can be taken from it.
    Tick(BORN.elapsed().as_micros() as u64).plus_ms(10_000)
}

pub(super) struct Authority {
    pub ca: PemPair,
    pub cluster: &'static str,
}

impl Authority {
    pub fn new(cluster: &'static str) -> Authority {
        Authority { ca: create_ca(cluster).unwrap(), cluster }
    }

    pub fn credentials(&self, kind: Kind, name: &str) -> Credentials {
        self.credentials_of(self.cluster, kind, name)
    }

    /// Signed by this authority, of any cluster.
    pub fn credentials_of(&self, cluster: &str, kind: Kind, name: &str) -> Credentials {
        let leaf = issue(&self.ca.certificate, &self.ca.key, cluster, kind, name, 10).unwrap();
        Credentials::from_pem(&self.ca.certificate, &leaf.certificate, &leaf.key).unwrap()
    }

    pub fn client(&self, kind: Kind) -> ClientEndpoint {
        ClientEndpoint::new(self.credentials(kind, "someone"))
    }

    pub fn node(&self, name: &str) -> Node {
        Node::start(Settings::new(self.credentials(Kind::Node, name)))
    }
}

/// What a test's node is started with.
pub(super) struct Settings {
    pub credentials: Credentials,
    pub boot: u64,
    pub quic: SocketAddr,
    pub bulk: SocketAddr,
    pub limits: Limits,
    pub cluster: ClusterCell,
    pub mute: bool,
}

impl Settings {
    pub fn new(credentials: Credentials) -> Settings {
        let (limits, cluster) = (Limits::default(), ClusterCell::default());
        Settings { credentials, boot: 1, quic: LOOPBACK, bulk: LOOPBACK, limits, cluster, mute: false }
    }
}

/// A node that answers replica requests with `Durable` and a client's put with the value that it holds.
pub(super) struct Node {
    pub id: NodeId,
    pub network: NodeNetwork,
    pub handle: NetworkHandle,
    pub told: Arc<Told>,
}

/// What a node was told.
#[derive(Default)]
pub(super) struct Told {
    handle: Mutex<Option<NetworkHandle>>,
    mute: bool,
    state: Mutex<Seen>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub answers: Vec<(Source, Envelope)>,
    pub requests: usize,
    /// Those of nodes by their numbers, clients' puts by their values.
    pub taken: Vec<u64>,
    pub batches: usize,
    pub gossip: usize,
    pub up: Vec<NodeId>,
    pub down: Vec<NodeId>,
    pub learned: Vec<(NodeId, SocketAddr)>,
    pub rejected: Vec<&'static str>,
    pub opened: Vec<u32>,
    pub closed: Vec<u32>,
}

impl Told {
    pub fn see<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    fn answer(&self, request: &Envelope) -> Option<Envelope> {
        let body = match &request.body {
            Body::Replicate(_) => Body::Replicated(ReplicaReply::Durable),
            Body::Client(ClientRequest::Put(put)) => Body::ClientReply(reply_with(match &put.body {
                anser_model::Body::Value(value) => value.clone(),
                anser_model::Body::Tombstone => Bytes::new(),
            })),
            Body::Client(_) | Body::Admin(_) => Body::ClientReply(reply_with(Bytes::new())),
            _ => return None,
        };
        Some(Envelope { from: request.to, to: request.from, body, ..request.clone() })
    }
}

impl Inbound for Told {
    fn deliver(&self, from: Source, batch: Vec<Envelope>) {
        let mut answers = Vec::new();
        {
            let mut seen = self.state.lock().unwrap();
            seen.batches += 1;
            for envelope in batch {
                match &envelope.body {
                    Body::Gossip(_) => seen.gossip += 1,
                    body if body.is_request() => {
                        seen.requests += 1;
                        seen.taken.push(mark(&envelope));
                        answers.extend(self.answer(&envelope).filter(|_| !self.mute));
                    }
                    _ => seen.answers.push((from, envelope)),
                }
            }
        }
        let handle = self.handle.lock().unwrap().clone();
        if let Some(handle) = handle {
            handle.send(answers);
        }
    }

    fn peer_up(&self, node: NodeId, _rtt: Duration) {
        self.see(|seen| seen.up.push(node));
    }

    fn peer_down(&self, node: NodeId) {
        self.see(|seen| seen.down.push(node));
    }

    fn learned(&self, node: NodeId, address: SocketAddr, _hello: &Hello) {
        self.see(|seen| seen.learned.push((node, address)));
    }

    fn session_opened(&self, session: u32, _identity: &Identity) {
        self.see(|seen| seen.opened.push(session));
    }

    fn session_closed(&self, session: u32) {
        self.see(|seen| seen.closed.push(session));
    }

    fn rejected(&self, why: &'static str) {
        self.see(|seen| seen.rejected.push(why));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The network holds the told, which holds the network.
        self.told.handle.lock().unwrap().take();
    }
}

impl Node {
    pub fn start(settings: Settings) -> Node {
        Node::start_by(settings, NodeNetwork::start)
    }

    /// Started in some other way.
    pub fn start_by(
        settings: Settings,
        start: impl FnOnce(NetworkConfig, Arc<dyn Inbound>) -> Result<NodeNetwork, BindError>,
    ) -> Node {
        let id = settings.credentials.identity().node;
        let told = Arc::new(Told { mute: settings.mute, ..Told::default() });
        let clock: Clock = Arc::new(now);
        let config = NetworkConfig {
            credentials: settings.credentials,
            quic: settings.quic,
            bulk: settings.bulk,
            member: Member { node: id, folder: FolderId([1; 16]) },
            cluster: Arc::new(settings.cluster),
            boot: settings.boot,
            clock,
            limits: settings.limits,
        };
        let network = start(config, Arc::clone(&told) as Arc<dyn Inbound>).unwrap();
        let handle = network.handle();
        *told.handle.lock().unwrap() = Some(handle.clone());
        Node { id, network, handle, told }
    }

    pub fn address(&self) -> SocketAddr {
        self.network.quic_address()
    }

    pub fn knows(&self, other: &Node) {
        self.handle.set_address(other.id, other.address());
    }

    /// A replica request of so many bytes to another node.
    pub fn request(&self, to: NodeId, seq: u64, bytes: usize) -> Envelope {
        let request = samples::request(seq, bytes);
        Envelope {
            from: Address { node: self.id, ..request.from },
            to: Address { node: to, ..request.to },
            deadline: now().plus_ms(30_000),
            ..request
        }
    }

    pub fn gossip(&self, to: NodeId) -> Envelope {
        let from = Address { node: self.id, role: Role::Membership, slot: 0 };
        Envelope { from, to: Address { node: to, ..from }, ..samples::gossip() }
    }

    /// Sends so many small requests and waits for as many answers.
    pub async fn ask(&self, to: NodeId, count: usize) {
        let before = self.told.see(|seen| seen.answers.len());
        self.handle.send((0..count as u64).map(|seq| self.request(to, seq, 100)).collect());
        self.told.until(|seen| seen.answers.len() == before + count).await;
        self.told.see(|seen| {
            for (source, answer) in seen.answers.drain(..) {
                assert_eq!((source, answer.from.node), (Source::Node(to), to), "{answer:?}");
                assert_eq!(answer.body, Body::Replicated(ReplicaReply::Durable));
            }
        });
    }
}

impl Node {
    /// As `ask`, where earlier answers are of no interest.
    pub async fn ask_after_refusal(&self, to: NodeId) {
        self.told.see(|seen| seen.answers.clear());
        self.ask(to, 1).await;
    }
}

impl Told {
    /// Waits until something is seen.
    pub async fn until(&self, mut seen: impl FnMut(&mut Seen) -> bool) {
        let waited = async {
            while !self.see(&mut seen) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "waited in vain");
    }
}

/// What a test tells a request by.
fn mark(request: &Envelope) -> u64 {
    match &request.body {
        Body::Client(ClientRequest::Put(PutRequest { body: anser_model::Body::Value(value), .. })) => {
            value.first_chunk().map_or(0, |mark| u64::from_le_bytes(*mark))
        }
        _ => request.op.seq,
    }
}

fn reply_with(value: Bytes) -> ClientReply {
    let dot = anser_model::Dot {
        actor: anser_model::Actor { node: NodeId([0; 16]), life: anser_model::Life(1) },
        counter: 1,
    };
    let receipt = GetReceipt { replicas: 1, answered: 1, fallbacks: 0, step: Step(1), level: Level::Quorum };
    let versions = vec![ShownVersion { value, dot, written_at_ms: 1, expires_at_ms: None }];
    let outcome = Outcome::Get(GetReply { versions, context: String::new(), receipt });
    ClientReply { clock: Hlc::default(), outcome }
}

/// A client's put.
pub(super) fn put(value: Vec<u8>) -> Body {
    Body::Client(ClientRequest::Put(PutRequest {
        keyspace: KeyspaceName::new("default").unwrap(),
        key: Key::new(&b"k"[..]).unwrap(),
        rid: Rid { writer: 1, seq: 1 },
        issued: Hlc::default(),
        expires: None,
        body: anser_model::Body::Value(value.into()),
        context: ContextArg::Blind,
        level: None,
        retry: false,
    }))
}

/// The value in a node's answer to a put.
pub(super) fn value_of(body: Body) -> Bytes {
    match body {
        Body::ClientReply(ClientReply { outcome: Outcome::Get(get), .. }) => get.versions[0].value.clone(),
        other => panic!("{other:?}"),
    }
}

impl Node {
    /// Whether the connection kept to a peer was dialled by the smaller of the two nodes.
    pub fn kept(&self, peer: NodeId, purpose: anser_proto::hello::Purpose) -> Option<bool> {
        self.handle.kept_by_smaller(peer, purpose)
    }
}
