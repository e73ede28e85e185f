//! The production network over a simulated one, in virtual time: what takes seconds of silence takes none, and a story is a
//! function of its seed.
//!
//! Seeded are the network's dice, quinn's own (`rng_seed`), our waits between dials, connection ids, and the keys of the
//! nodes. What can't be seeded is what TLS draws from the system (key shares, nonces) and quinn's first connection id of a
//! dial: they change what a datagram's bytes are, but neither its size nor when it is sent.

mod cuts;
mod loss;
mod not_sent;
mod restarts;
mod trace;
mod wire;

use super::harness::{Authority, Node, PATIENCE, Settings};
use crate::certificates::issue_seeded;
use crate::settings::{endpoint_config, server_config};
use crate::{ClientConnection, ClientEndpoint, Credentials, Kind, NodeNetwork};
use quinn::{Endpoint, TokioRuntime};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::Instant;
use wire::{Socket, Weather, Wire};

/// The port of data; bulk has the next.
const PORT: u16 = 7400;
/// The host that clients are on.
const CLIENT: u8 = 200;

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("prod"));

fn credentials(kind: Kind, number: u8) -> Credentials {
    let name = format!("n{number}");
    let leaf = issue_seeded(&AUTHORITY.ca, "prod", kind, &name, [number; 32]);
    Credentials::from_pem(&AUTHORITY.ca.certificate, &leaf.certificate, &leaf.key).unwrap()
}

fn host(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, number))
}

/// Runs a story in virtual time.
fn virtually<T>(seed: u64, weather: Weather, story: impl AsyncFnOnce(Stage) -> T) -> T {
    fastrand::seed(seed);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        story(Stage { seed, wire: Wire::new(seed, weather), begun: Instant::now() }).await
    })
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A simulated network and whoever starts on it.
struct Stage {
    seed: u64,
    wire: Wire,
    begun: Instant,
}

/// A node's process.
struct Process {
    node: Node,
    number: u8,
    sockets: [Arc<Socket>; 2],
}

impl Process {
    /// Ends it without a word, as SIGKILL does.
    fn kill(self) {
        for socket in &self.sockets {
            socket.kill();
        }
    }

    /// The numbers of the requests it took, in order.
    fn taken(&self) -> Vec<u64> {
        let mut taken = self.node.told.see(|seen| seen.taken.clone());
        taken.sort_unstable();
        taken
    }
}

impl std::ops::Deref for Process {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Stage {
    fn endpoint(&self, credentials: &Credentials, boot: u64, socket: Arc<Socket>, accepts: bool) -> Endpoint {
        let mut config = endpoint_config(credentials, boot).unwrap();
        let mut dice = [0; 32];
        dice[..8].copy_from_slice(&self.seed.to_le_bytes());
        dice[8..16].copy_from_slice(&boot.to_le_bytes());
        dice[16..].copy_from_slice(&credentials.identity().node.0);
        config.rng_seed(Some(dice));
        let server = accepts.then(|| server_config(credentials).unwrap());
        Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(TokioRuntime)).unwrap()
    }

    /// Starts a process of a node.
    fn start(&self, number: u8, boot: u64) -> Process {
        let settings = Settings::new(credentials(Kind::Node, number));
        self.start_with(number, Settings { boot, ..settings })
    }

    fn start_with(&self, number: u8, settings: Settings) -> Process {
        let addresses = [PORT, PORT + 1].map(|port| SocketAddr::new(host(number), port));
        let sockets = addresses.map(|address| self.wire.bind(address));
        let [main, bulk] =
            sockets.clone().map(|socket| self.endpoint(&settings.credentials, settings.boot, socket, true));
        let [quic, bulk_address] = addresses;
        let settings = Settings { quic, bulk: bulk_address, ..settings };
        let start = |config, inbound| NodeNetwork::start_on(config, inbound, main, bulk);
        Process { node: Node::start_by(settings, start), number, sockets }
    }

    /// Two nodes that know where the other one listens.
    fn two(&self) -> (Process, Process) {
        let (a, b) = (self.start(1, 1), self.start(2, 1));
        a.knows(&b);
        b.knows(&a);
        (a, b)
    }

    /// A client's connection to a node.
    async fn connect(&self, to: &Process) -> (ClientEndpoint, ClientConnection) {
        let credentials = credentials(Kind::Client, CLIENT);
        let socket = self.wire.bind(SocketAddr::new(host(CLIENT), PORT));
        let endpoint = self.endpoint(&credentials, 1, socket, false);
        let client = ClientEndpoint::over(credentials, 1, endpoint);
        let connection = client.connect(to.address(), PATIENCE).await.unwrap();
        (client, connection)
    }

    /// Nothing passes between two nodes any more.
    fn part(&self, a: &Process, b: &Process) {
        self.wire.cut(host(a.number), host(b.number));
        self.wire.cut(host(b.number), host(a.number));
    }

    /// Virtual time.
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// Asks every 20 ms until there is an answer of the other node's; how long that took.
async fn until_answered(a: &Process, b: &Process, first: u64) -> Duration {
    let begun = Instant::now();
    for seq in first.. {
        a.handle.send(vec![a.request(b.id, seq, 10)]);
        pass(ms(20)).await;
        let answered = |(source, _): &(crate::Source, _)| *source == crate::Source::Node(b.id);
        if a.told.see(|seen| seen.answers.iter().any(answered)) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "never answered");
    }
    a.told.see(|seen| seen.answers.clear());
    begun.elapsed()
}
