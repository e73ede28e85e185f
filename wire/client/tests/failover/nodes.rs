//! Nodes that answer by a script, over the real transport.

use anser_client::{Client, ConnectError, Profile};
use anser_model::ring::{DcName, Founding, MemberState, NodeName, Record, RosterEntry, Weight, ZoneName};
use anser_model::{ClusterId, FolderId, Hlc, Level, Member, NodeId, Step};
use anser_proto::client::{ClientReply, ClientRequest, Outcome, PutReceipt, PutReply, PutRequest, RingReply};
use anser_proto::hello::Hello;
use anser_proto::{Body, Envelope, Tick};
use anser_quic::{
    ClusterCell, Credentials, Identity, Inbound, Kind, Limits, NetworkConfig, NetworkHandle, NodeNetwork,
    PemPair, Source, create_ca, issue,
};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// The name of the tests' cluster.
const CLUSTER: &str = "test";

/// What a node answers to a write, or nothing.
pub type Script = dyn Fn(&PutRequest) -> Option<Outcome> + Send + Sync;

/// What one node was asked.
#[derive(Default)]
struct Seen {
    writes: Mutex<Vec<PutRequest>>,
    handle: OnceLock<NetworkHandle>,
    ring: OnceLock<RingReply>,
    script: Mutex<Option<Box<Script>>>,
}

/// Some nodes, their authority, and a folder with a client's credentials.
pub struct Nodes {
    seen: Vec<Arc<Seen>>,
    ids: Vec<NodeId>,
    networks: Vec<NodeNetwork>,
    folder: tempfile::TempDir,
}

/// A write that met its level.
pub fn stored() -> Option<Outcome> {
    let receipt = PutReceipt { replicas: 3, durable: 2, fallbacks: 0, step: Step(1), level: Level::Quorum };
    Some(Outcome::Put(PutReply { context: "token".to_owned(), receipt }))
}

impl Nodes {
    /// Starts so many nodes, each a replica of every key, that store all they are asked to.
    pub fn start(count: usize) -> Nodes {
        let ca = create_ca(CLUSTER).unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_pair(folder.path(), "ca", &ca);
        write_pair(folder.path(), "client", &leaf(&ca, Kind::Client, "client"));
        let stranger = leaf(&create_ca(CLUSTER).unwrap(), Kind::Client, "client");
        write_pair(folder.path(), "stranger", &stranger);
        let mut nodes = Nodes { seen: vec![], ids: vec![], networks: vec![], folder };
        for at in 0..count {
            nodes.add(&ca, &format!("n{at}"));
        }
        let ring = nodes.ring();
        for seen in &nodes.seen {
            seen.ring.set(ring.clone()).unwrap();
        }
        nodes
    }

    fn add(&mut self, ca: &PemPair, name: &str) {
        let pair = leaf(ca, Kind::Node, name);
        let credentials = Credentials::from_pem(&ca.certificate, &pair.certificate, &pair.key).unwrap();
        let node = credentials.identity().node;
        let seen = Arc::new(Seen::default());
        let born = Instant::now();
        let config = NetworkConfig {
            credentials,
            quic: SocketAddr::from(([127, 0, 0, 1], 0)),
            bulk: SocketAddr::from(([127, 0, 0, 1], 0)),
            member: Member { node, folder: FolderId([1; 16]) },
            cluster: Arc::new(ClusterCell::new(Some(ClusterId([7; 16])))),
            boot: 1,
            clock: Arc::new(move || Tick(u64::try_from(born.elapsed().as_micros()).unwrap())),
            limits: Limits::default(),
        };
        let inbound: Arc<dyn Inbound> = Arc::<Seen>::clone(&seen);
        let network = NodeNetwork::start(config, inbound).unwrap();
        assert!(seen.handle.set(network.handle()).is_ok());
        self.seen.push(seen);
        self.ids.push(node);
        self.networks.push(network);
    }

    fn ring(&self) -> RingReply {
        let entry = |(node, at): (&NodeId, usize)| RosterEntry {
            member: Member { node: *node, folder: FolderId([1; 16]) },
            name: NodeName::new(format!("n{at}")).unwrap(),
            dc: DcName::new("dc1").unwrap(),
            zone: ZoneName::new(format!("z{at}")).unwrap(),
            weight: Weight::default(),
            state: MemberState::Member,
        };
        let founding = Founding {
            cluster: ClusterId([7; 16]),
            cluster_name: CLUSTER.to_owned(),
            roster: self.ids.iter().zip(0..).map(entry).collect(),
            partitions: 16,
            seed: 1,
            mac_key: [0; 32],
        };
        let addresses = self.ids.iter().copied().zip(self.addresses()).collect();
        RingReply { record: Record::genesis(founding).unwrap().encode(), addresses }
    }

    /// Where they listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.networks.iter().map(NodeNetwork::quic_address).collect()
    }

    /// All nodes answer writes by this from now on; which node it is comes first.
    pub fn script(
        &self,
        script: impl Fn(usize, &PutRequest) -> Option<Outcome> + Clone + Send + Sync + 'static,
    ) {
        for (seen, at) in self.seen.iter().zip(0..) {
            let script = script.clone();
            *seen.script.lock().unwrap() = Some(Box::new(move |put: &PutRequest| script(at, put)));
        }
    }

    /// All writes that all nodes were asked, with the node's place.
    pub fn writes(&self) -> Vec<(usize, PutRequest)> {
        let of = |(at, seen): (usize, &Arc<Seen>)| {
            let writes = seen.writes.lock().unwrap().clone();
            writes.into_iter().map(move |write| (at, write)).collect::<Vec<_>>()
        };
        self.seen.iter().enumerate().flat_map(of).collect()
    }

    /// One node dies, without a word.
    pub fn kill(&mut self, at: usize) {
        drop(self.networks.remove(at));
    }

    /// A client with this cluster's credentials, or a stranger's.
    pub async fn client(&self, name: &str) -> Result<Client, ConnectError> {
        Client::connect(self.profile(name, self.addresses())).await
    }

    /// The profile of a client.
    pub fn profile(&self, name: &str, addresses: Vec<SocketAddr>) -> Profile {
        let path = |file: String| self.folder.path().join(file);
        Profile {
            addresses,
            ca: path("ca.pem".to_owned()),
            cert: path(format!("{name}.pem")),
            key: path(format!("{name}.key")),
        }
    }
}

fn leaf(ca: &PemPair, kind: Kind, name: &str) -> PemPair {
    issue(&ca.certificate, &ca.key, CLUSTER, kind, name, 1).unwrap()
}

fn write_pair(folder: &Path, name: &str, pair: &PemPair) {
    std::fs::write(folder.join(format!("{name}.pem")), &pair.certificate).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), &pair.key).unwrap();
}

impl Seen {
    fn answer(&self, request: &ClientRequest) -> Option<Outcome> {
        match request {
            ClientRequest::DescribeRing => self.ring.get().cloned().map(Outcome::Ring),
            ClientRequest::Put(put) => {
                self.writes.lock().unwrap().push(put.clone());
                match self.script.lock().unwrap().as_ref() {
                    Some(script) => script(put),
                    None => stored(),
                }
            }
            ClientRequest::Get(_) | ClientRequest::DescribeCluster => None,
        }
    }
}

impl Inbound for Seen {
    fn deliver(&self, _from: Source, batch: Vec<Envelope>) {
        for envelope in batch {
            let Body::Client(request) = &envelope.body else { continue };
            let Some(outcome) = self.answer(request) else { continue };
            let body = Body::ClientReply(ClientReply { clock: Hlc::from_ms(1), outcome });
            let reply = Envelope { from: envelope.to, to: envelope.from, body, ..envelope };
            self.handle.get().unwrap().send(vec![reply]);
        }
    }

    fn peer_up(&self, _node: NodeId, _rtt: Duration) {}
    fn peer_down(&self, _node: NodeId) {}
    fn learned(&self, _node: NodeId, _address: SocketAddr, _hello: &Hello) {}
    fn session_opened(&self, _session: u32, _identity: &Identity) {}
    fn session_closed(&self, _session: u32) {}
    fn rejected(&self, _why: &'static str) {}
}
