//! A cluster on a stage: three nodes with their disks, the network between them, clients, crashes. From one seed.
//!
//! Everything happens at whole milliseconds, and what is said in one is taken up in the next: so it makes no difference in
//! which order actors of one millisecond run. Keeps: what happens depends on the seed and on what actors say, not on the
//! stage.

use crate::clients::Client;
use crate::machines::{ACTORS, Boot, COORDINATOR, MEMBERSHIP, SHARDS, Trouble};
use crate::stage::{Call, Entry, Place, Said, Stage, now_at};
use anser_machine::Fact;
use anser_model::ring::{Record, RosterEntry};
use anser_model::{NodeId, Step};
use anser_proto::admin::AdminRequest;
use anser_proto::frame::{self, LENGTH_BYTES};
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Role};
use anser_sim::{Dice, Disk, FIRST_SHARD, Health, Outcome, Stays, Turn, genesis, roster};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Microseconds that a sync takes on average.
const SYNC_US: u64 = 1500;
/// Partitions of the ring: of two groups of a store.
const PARTITIONS: u16 = 32;
/// The session of the operator who founds the cluster.
const OPERATOR: u32 = u32::MAX;
/// When the operator does so.
const FOUNDED_MS: u64 = 100;
/// When clients begin.
pub const CLIENTS_MS: u64 = 600;
/// When trouble begins, and for how long a crashed node stays away.
const TROUBLE_MS: u64 = 1000;
const AWAY_MS: (u64, u64) = (100, 900);

/// What a cluster suffers and how long it runs.
#[derive(Clone, Copy, Debug)]
pub struct Plot {
    /// Of a million lives of machines, doomed to panic.
    pub doomed: u64,
    /// Crashes of nodes.
    pub crashes: u64,
    /// Of a million messages between nodes, lost.
    pub lost: u64,
    /// When all trouble ends.
    pub trouble_until_ms: u64,
    /// When clients stop, but for a last read each.
    pub until_ms: u64,
}

/// What can happen.
enum Job {
    Start(usize),
    Crash(usize),
    Found(usize),
    Frame { to: usize, boot: u32, from: NodeId, bytes: Bytes },
    Hand { place: Place, boot: u32, entry: Entry },
    Disk { node: usize, boot: u32, turn: Turn },
    Reply { client: usize, body: Body, op: OpId },
    Client(usize),
}

struct Node {
    entry: RosterEntry,
    address: SocketAddr,
    boot: u32,
    up: bool,
    founded: bool,
    disk: Disk,
}

/// See the module.
pub struct Cluster<S> {
    seed: u64,
    plot: Plot,
    stage: S,
    dice: Dice,
    now: u64,
    planned: u64,
    jobs: BTreeMap<(u64, u64), Job>,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    record: Arc<Record>,
    yield_every: u32,
    /// What actors said, and what clients were told.
    pub lines: Vec<String>,
    pub rebuilds: u64,
}

impl<S: Stage> Cluster<S> {
    pub fn new(stage: S, seed: u64, plot: Plot) -> Cluster<S> {
        let mut dice = Dice::new(seed, "cluster");
        let roster = roster(&mut dice, 1, 3);
        let record = genesis(&mut dice, &roster, PARTITIONS);
        let health = Health { sync_us: SYNC_US, bad_blocks: 0, fails: false };
        let node = |(number, entry): (usize, RosterEntry)| Node {
            entry,
            address: SocketAddr::from(([10, 0, 0, number as u8], 7400)),
            boot: 0,
            up: false,
            founded: false,
            disk: Disk::create(Dice::new(seed, &format!("disk {number}")), health),
        };
        Cluster {
            seed,
            plot,
            stage,
            now: 0,
            planned: 0,
            jobs: BTreeMap::new(),
            nodes: roster.into_iter().enumerate().map(node).collect(),
            clients: (0..4)
                .map(|number| Client::new(number, Dice::new(seed, &format!("client {number}"))))
                .collect(),
            record,
            yield_every: if dice.chance(500_000) { 3 } else { 64 },
            lines: Vec::new(),
            rebuilds: 0,
            dice,
        }
    }

    /// Runs the plot to its end.
    pub async fn run(mut self) -> Cluster<S> {
        for node in 0..self.nodes.len() {
            self.plan(1 + node as u64, Job::Start(node));
        }
        for _ in 0..self.plot.crashes {
            let at = self.dice.between(TROUBLE_MS, self.plot.trouble_until_ms);
            let node = self.dice.index(self.nodes.len());
            self.plan(at, Job::Crash(node));
        }
        for client in 0..self.clients.len() {
            self.plan(CLIENTS_MS, Job::Client(client));
        }
        while !self.clients.iter().all(Client::is_done) {
            assert!(self.now < 4 * self.plot.until_ms, "seed {}: clients never finish", self.seed);
            let next = self.jobs.keys().next().map_or(self.now + 1, |(at, _)| *at);
            self.now = self.stage.wait(next.max(self.now + 1)).await;
            for said in self.stage.take(self.now) {
                self.follow(said);
            }
            self.happen();
        }
        for node in 0..self.nodes.len() {
            self.rebuilds += (0..ACTORS).map(|actor| self.stage.restarts((node, actor))).sum::<u64>();
        }
        self
    }

    fn plan(&mut self, at: u64, job: Job) {
        self.planned += 1;
        self.jobs.insert((at, self.planned), job);
    }

    fn trouble(&self) -> bool {
        (TROUBLE_MS..self.plot.trouble_until_ms).contains(&self.now)
    }

    /// Does what is due. Neighbours for one actor are handed over in one call.
    fn happen(&mut self) {
        let mut handing: Option<(Place, Entry)> = None;
        while let Some(entry) = self.jobs.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let job = entry.remove();
            let Some((place, entry)) = self.do_job(job) else { continue };
            match (&mut handing, entry) {
                (Some((held, Entry::Deliver(batch))), Entry::Deliver(more)) if *held == place => {
                    batch.extend(more)
                }
                (Some((held, Entry::Feed(life, batch))), Entry::Feed(of, more))
                    if *held == place && *life == of =>
                {
                    batch.extend(more);
                }
                (_, entry) => {
                    if let Some((before, entry)) = handing.replace((place, entry)) {
                        self.hand(before, entry);
                    }
                }
            }
        }
        if let Some((place, entry)) = handing {
            self.hand(place, entry);
        }
    }

    fn hand(&mut self, place: Place, entry: Entry) {
        // It may have crashed in this very millisecond.
        if self.nodes[place.0].up {
            self.stage.hand(place, entry);
        }
    }

    /// Does one thing; what comes of it for an actor is given back.
    fn do_job(&mut self, job: Job) -> Option<(Place, Entry)> {
        match job {
            Job::Start(node) => self.start(node),
            Job::Crash(node) => self.crash(node),
            Job::Found(node) => return self.found(node),
            Job::Hand { place, boot, entry } if self.is_now(place.0, boot) => return Some((place, entry)),
            Job::Frame { to, boot, from, bytes } if self.is_now(to, boot) => {
                let me = self.nodes[to].entry.member.node;
                let envelope = frame::decode(&bytes, from, me, now_at(self.now).tick).unwrap();
                return Some(((to, actor_of(&envelope)), Entry::Deliver(vec![envelope])));
            }
            Job::Disk { node, boot, turn } if self.is_now(node, boot) => {
                let outcome = self.nodes[node].disk.finish(turn);
                self.follow_disk(node, self.now, outcome);
            }
            Job::Hand { .. } | Job::Frame { .. } | Job::Disk { .. } => {}
            Job::Reply { client, body, op } => {
                self.lines.push(format!("{} client {client} hears {body:?}", self.now));
                self.clients[client].hear(self.now, op, body);
                self.client(client);
            }
            Job::Client(client) => self.client(client),
        }
        None
    }

    fn is_now(&self, node: usize, boot: u32) -> bool {
        self.nodes[node].up && self.nodes[node].boot == boot
    }

    fn start(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.boot += 1;
        node.up = true;
        node.disk.open().unwrap();
        let trouble = Trouble {
            doomed: self.plot.doomed,
            stillborn: self.plot.doomed / 4,
            until_ms: self.plot.trouble_until_ms,
        };
        let boot = Boot {
            seed: self.seed,
            node: n,
            boot: node.boot,
            entry: node.entry.clone(),
            address: node.address,
            yield_every: self.yield_every,
            trouble,
        };
        for actor in 0..ACTORS {
            self.stage.start((n, actor), boot.config(actor), boot.factory(actor));
        }
        let boot = node.boot;
        for other in (0..self.nodes.len()).filter(|other| *other != n) {
            let Node { entry, address, .. } = &self.nodes[other];
            let fact = Fact::PeerSeen { node: entry.member.node, address: *address };
            let job = Job::Hand { place: (n, MEMBERSHIP), boot, entry: Entry::Tell(fact) };
            self.plan(self.now + 20, job);
        }
        if !self.nodes[n].founded {
            self.plan(self.now + FOUNDED_MS, Job::Found(n));
        }
    }

    fn crash(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if !node.up {
            return;
        }
        node.up = false;
        node.disk.crash(if self.dice.chance(250_000) { Stays::All } else { Stays::Drawn });
        self.rebuilds += (0..ACTORS).map(|actor| self.stage.restarts((n, actor))).sum::<u64>();
        self.stage.crash(n);
        self.lines.push(format!("{} node {n} crashes", self.now));
        let away = self.dice.between(AWAY_MS.0, AWAY_MS.1);
        self.plan(self.now + away, Job::Start(n));
    }

    /// The operator founds the cluster at a node.
    fn found(&mut self, n: usize) -> Option<(Place, Entry)> {
        if !self.nodes[n].up || self.nodes[n].founded {
            return None;
        }
        self.plan(self.now + 10 * FOUNDED_MS, Job::Found(n));
        let addresses = self.nodes.iter().map(|node| (node.entry.member.node, node.address)).collect();
        let request = AdminRequest::FoundCluster { record: self.record.encode(), addresses };
        let envelope =
            self.ask(n, OPERATOR, Role::Membership, OpId { life: 0, seq: 1 }, Body::Admin(request));
        Some(((n, MEMBERSHIP), Entry::Deliver(vec![envelope])))
    }

    /// A request of a session at a node.
    fn ask(&self, n: usize, session: u32, role: Role, op: OpId, body: Body) -> Envelope {
        let node = self.nodes[n].entry.member.node;
        Envelope {
            from: Address { node, role: Role::Session, slot: session },
            to: Address { node, role, slot: 0 },
            op,
            step: Step(0),
            deadline: now_at(self.now + crate::clients::PATIENCE_MS).tick,
            body,
        }
    }

    /// A client may go on.
    fn client(&mut self, client: usize) {
        let last = self.now >= self.plot.until_ms;
        let Some((op, request)) = self.clients[client].go_on(self.now, last) else {
            if let Some(at) = self.clients[client].due() {
                self.plan(at.max(self.now + 1), Job::Client(client));
            }
            return;
        };
        let n = self.dice.index(self.nodes.len());
        if self.nodes[n].up {
            let envelope = self.ask(n, client as u32, Role::Coordinator, op, Body::Client(request));
            let (place, boot) = ((n, COORDINATOR), self.nodes[n].boot);
            let at = self.now + self.dice.between(1, 3);
            self.plan(at, Job::Hand { place, boot, entry: Entry::Deliver(vec![envelope]) });
        } else {
            self.plan(self.now + 5, Job::Reply { client, body: Body::Refused(Refusal::NotSent), op });
        }
        if let Some(at) = self.clients[client].due() {
            self.plan(at, Job::Client(client));
        }
    }

    /// Carries out what an actor said.
    fn follow(&mut self, Said { ms, place, call }: Said) {
        if call.is_moot(ms) {
            return;
        }
        self.lines.push(format!("{ms} {place:?} {call:?}"));
        let (node, boot) = (place.0, self.nodes[place.0].boot);
        if !self.nodes[node].up {
            return;
        }
        match call {
            Call::Count(_) => {}
            Call::Publish(fact) => {
                for actor in 0..ACTORS {
                    let entry = Entry::Tell(fact.clone());
                    self.plan(ms + 1, Job::Hand { place: (node, actor), boot, entry });
                }
            }
            Call::Disk(life, request) => {
                let outcome = self.nodes[node].disk.submit((place.1, life), request);
                self.follow_disk(node, ms, outcome);
            }
            Call::Send(envelope) => self.send(node, ms, envelope),
        }
    }

    fn follow_disk(&mut self, node: usize, ms: u64, outcome: Outcome) {
        let boot = self.nodes[node].boot;
        for ((actor, life), feedback) in outcome.answers {
            let entry = Entry::Feed(life, vec![feedback]);
            self.plan(ms + 1, Job::Hand { place: (node, actor), boot, entry });
        }
        for (us, turn) in outcome.turns {
            self.plan(ms + 1 + us / 1000, Job::Disk { node, boot, turn });
        }
    }

    fn send(&mut self, n: usize, ms: u64, envelope: Envelope) {
        let boot = self.nodes[n].boot;
        if envelope.to.role == Role::Session {
            if envelope.to.slot == OPERATOR {
                self.nodes[n].founded |= matches!(envelope.body, Body::AdminReply(_));
                return;
            }
            let (client, at) = (envelope.to.slot as usize, ms + self.dice.between(1, 3));
            return self.plan(at, Job::Reply { client, body: envelope.body, op: envelope.op });
        }
        if envelope.to.node == self.nodes[n].entry.member.node {
            let place = (n, actor_of(&envelope));
            return self.plan(ms + 1, Job::Hand { place, boot, entry: Entry::Deliver(vec![envelope]) });
        }
        let to = self.nodes.iter().position(|node| node.entry.member.node == envelope.to.node).unwrap();
        let lost = self.trouble() && self.dice.chance(self.plot.lost);
        let at = ms + self.dice.between(1, 8);
        if lost || !self.nodes[to].up {
            // The network tells of some that they never left.
            if envelope.body.is_request() && self.dice.chance(500_000) {
                let refused = Envelope {
                    from: envelope.to,
                    to: envelope.from,
                    body: Body::Refused(Refusal::NotSent),
                    ..envelope
                };
                let place = (n, actor_of(&refused));
                self.plan(at, Job::Hand { place, boot, entry: Entry::Deliver(vec![refused]) });
            }
            return;
        }
        let mut buffer = BytesMut::new();
        frame::encode(&envelope, now_at(ms).tick, &mut buffer).unwrap();
        let bytes = buffer.freeze().slice(LENGTH_BYTES..);
        let from = self.nodes[n].entry.member.node;
        self.plan(at, Job::Frame { to, boot: self.nodes[to].boot, from, bytes });
    }

    /// What the clients did: operations that succeeded, and those that may or may not have.
    pub fn done(&self) -> (usize, usize) {
        let sum = |count: fn(&Client) -> usize| self.clients.iter().map(count).sum();
        (sum(|client| client.succeeded), sum(|client| client.unknown))
    }
}

fn actor_of(envelope: &Envelope) -> usize {
    match envelope.to.role {
        Role::Membership => MEMBERSHIP,
        Role::Coordinator => COORDINATOR,
        Role::Replica => FIRST_SHARD + (envelope.to.slot % SHARDS) as usize,
        Role::Hints | Role::Syncer | Role::Compactor | Role::Session => {
            panic!("nobody here is {:?}", envelope.to)
        }
    }
}
