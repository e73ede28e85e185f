//! One quorum round through the machines: three nodes in one process, their effects moved by hand, the disk answering at
//! once. What the store's own decisions cost, without host, network and disk.
//!
//! A put is durable on two of three, a get is answered by two of three; the third's work is in the figure.

use crate::sample::{self, WALL_MS, key};
use anser_coordinator::{Config, Coordinator};
use anser_machine::{
    DiskRequest, Effect, Event, Fact, Feedback, FolderTrust, Lsn, Machine, Now, Outbox, PeerView, Peers,
};
use anser_model::ring::{DcName, Record};
use anser_model::{KeyspaceName, Level, Life, NodeId, Rid, Step, minter_order};
use anser_proto::client::{ClientReply, ClientRequest, ContextArg, GetRequest, Outcome, PutRequest};
use anser_proto::gossip::PeerState;
use anser_proto::{Address, Body, Envelope, OpId, Role, Tick};
use anser_replica::{EngineLimits, Limits, Replica, ReplicaConfig};
use criterion::{Criterion, Throughput};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NODES: u16 = 3;
/// Puts of new keys to one cluster; then it is built anew, so that memory stays bounded.
const PUTS_PER_CLUSTER: u64 = 20_000;
/// Most steps that one operation can take.
const STEPS_MAX: usize = 200;

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("quorum round");
    group.throughput(Throughput::Elements(1));
    group.bench_function("put, W=2 of 3", |bencher| bencher.iter_custom(puts));
    let mut cluster = Cluster::new();
    (0..PUTS_PER_CLUSTER).for_each(|n| cluster.put(n));
    let mut n = 0;
    group.bench_function("get, R=2 of 3", |bencher| {
        bencher.iter(|| {
            n = (n + 1) % PUTS_PER_CLUSTER;
            cluster.get(n);
        });
    });
    group.bench_function("overwrite, W=2 of 3", |bencher| {
        let mut write = PUTS_PER_CLUSTER;
        bencher.iter(|| {
            write += 1;
            cluster.put_as(write, write % 1_000);
        });
    });
    group.finish();
}

fn puts(count: u64) -> Duration {
    let mut spent = Duration::ZERO;
    let mut left = count;
    while left > 0 {
        let now = left.min(PUTS_PER_CLUSTER);
        let mut cluster = Cluster::new();
        let begun = Instant::now();
        (0..now).for_each(|n| cluster.put(n));
        spent += begun.elapsed();
        left -= now;
    }
    spent
}

/// One node: what its network and its only shard run.
struct Node {
    coordinator: Coordinator,
    replica: Replica,
}

/// Three of them.
struct Cluster {
    nodes: Vec<Node>,
    order: Vec<NodeId>,
    tick: u64,
    out: Outbox,
    todo: VecDeque<(usize, Role, Event)>,
    reply: Option<ClientReply>,
}

impl Cluster {
    fn new() -> Cluster {
        let record = Arc::new(sample::genesis(sample::roster(NODES, 1), 256));
        let mut cluster = Cluster {
            nodes: (0..NODES).map(Node::new).collect(),
            order: (0..NODES).map(sample::node).collect(),
            tick: 0,
            out: Outbox::new(),
            todo: VecDeque::new(),
            reply: None,
        };
        for at in 0..cluster.nodes.len() {
            cluster.begin(at, &record);
        }
        cluster
    }

    /// A node learns ring and peers, and reads its empty disk back.
    fn begin(&mut self, at: usize, record: &Arc<Record>) {
        let view = |port| PeerView {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            state: PeerState::Alive,
            incarnation: 1,
        };
        let peers: Peers =
            self.order.iter().filter(|peer| **peer != self.order[at]).map(|peer| (*peer, view(1))).collect();
        for role in [Role::Coordinator, Role::Replica] {
            self.todo.push_back((at, role, Event::Fact(Fact::RingAdopted(record.clone()))));
        }
        self.todo.push_back((at, Role::Replica, Event::Fact(Fact::FolderJudged(FolderTrust::Sound))));
        self.todo.push_back((at, Role::Coordinator, Event::Fact(Fact::PeersChanged(Arc::new(peers)))));
        self.run();
        self.nodes[at].replica.handle_timeout(now(0), &mut self.out);
        self.carry_out(at, Role::Replica);
        self.run();
    }

    /// Puts a new key.
    fn put(&mut self, n: u64) {
        self.put_as(n, n);
    }

    /// Puts the `k`-th key in the `n`-th request.
    fn put_as(&mut self, n: u64, k: u64) {
        let rid: Rid = sample::rid(n);
        let request = PutRequest {
            keyspace: KeyspaceName::default(),
            key: key(k),
            rid,
            issued: sample::issued(n),
            expires: None,
            body: anser_model::Body::Value(sample::value()),
            context: ContextArg::Blind,
            level: Some(Level::Count(2)),
            retry: false,
        };
        let first = minter_order(rid, &self.order)[0];
        match self.ask(self.place(first), ClientRequest::Put(request)) {
            Outcome::Put(put) => assert!(put.receipt.durable >= 2, "{put:?}"),
            other => panic!("a put ended as {other:?}"),
        }
    }

    fn get(&mut self, k: u64) {
        let request =
            GetRequest { keyspace: KeyspaceName::default(), key: key(k), level: Some(Level::Count(2)) };
        let at = usize::try_from(k % u64::from(NODES)).unwrap();
        match self.ask(at, ClientRequest::Get(request)) {
            Outcome::Get(get) => assert_eq!(get.versions.len(), 1),
            other => panic!("a get ended as {other:?}"),
        }
    }

    fn ask(&mut self, at: usize, request: ClientRequest) -> Outcome {
        self.tick += 100;
        let node = self.order[at];
        let envelope = Envelope {
            from: Address { node, role: Role::Session, slot: 1 },
            to: Address { node, role: Role::Coordinator, slot: 0 },
            op: OpId { life: 1, seq: self.tick },
            step: Step(0),
            deadline: Tick(self.tick).plus_ms(2_000),
            body: Body::Client(request),
        };
        self.todo.push_back((at, Role::Coordinator, Event::Message(envelope)));
        self.run();
        self.reply.take().unwrap().outcome
    }

    /// Hands over events until none is left.
    fn run(&mut self) {
        for _ in 0..STEPS_MAX {
            let Some((at, role, event)) = self.todo.pop_front() else { return };
            self.tick += 1;
            let now = now(self.tick);
            let node = &mut self.nodes[at];
            match role {
                Role::Coordinator => node.coordinator.handle(now, event, &mut self.out),
                Role::Replica => node.replica.handle(now, event, &mut self.out),
                other => panic!("nobody plays {other:?} here"),
            }
            self.carry_out(at, role);
        }
        panic!("more than {STEPS_MAX} steps");
    }

    /// Carries a step's effects out.
    fn carry_out(&mut self, at: usize, role: Role) {
        let (order, todo) = (&self.order, &mut self.todo);
        for effect in self.out.drain() {
            match effect {
                Effect::Send(Envelope { body: Body::ClientReply(reply), .. }) => self.reply = Some(reply),
                Effect::Send(envelope) => {
                    let to = order.iter().position(|node| *node == envelope.to.node).unwrap();
                    todo.push_back((to, envelope.to.role, Event::Message(envelope)));
                }
                Effect::Disk(request) => {
                    todo.extend(disk(request).into_iter().map(|feedback| (at, role, Event::Own(feedback))));
                }
                Effect::Publish(_) | Effect::Count(_) => {}
            }
        }
    }

    fn place(&self, node: NodeId) -> usize {
        self.order.iter().position(|other| *other == node).unwrap()
    }
}

impl Node {
    fn new(n: u16) -> Node {
        let engine = EngineLimits { memtable_bytes: usize::MAX, ..EngineLimits::default() };
        let mut config = Config::new(sample::node(n), DcName::new("dc0").unwrap(), 1, u64::from(n));
        // A request now and then to a replica that is not needed would make single figures differ.
        config.explore_one_in = 0;
        Node {
            coordinator: Coordinator::new(config),
            replica: Replica::new(ReplicaConfig {
                member: sample::member(n),
                shard: 0,
                shards: 1,
                life: 1,
                copy_life: Life(u64::from(n) + 1),
                limits: Limits { engine, ..Limits::default() },
            }),
        }
    }
}

/// A disk that was empty and syncs at once.
fn disk(request: DiskRequest) -> Vec<Feedback> {
    match request {
        DiskRequest::Append(record) => vec![Feedback::Durable { through: record.lsn }],
        DiskRequest::Recover => vec![
            Feedback::RecoveredTables { tables: Vec::new(), damaged: Vec::new() },
            Feedback::RecoveredLog { records: Vec::new(), next: Some(Lsn(0)) },
        ],
        DiskRequest::Load { slot } => vec![Feedback::Loaded { slot, bytes: None }],
        DiskRequest::Save { slot, .. } => vec![Feedback::Saved { slot }],
        other => panic!("this disk does not take {other:?}"),
    }
}

fn now(tick: u64) -> Now {
    Now { tick: Tick(tick), wall_ms: WALL_MS + tick / 1_000 }
}
