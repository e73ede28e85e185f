//! Clusters of coordinators over fake replicas: messages are late, lost, doubled and refused, copies crash and lose what was
//! not synced, peers seem dead or are, timers go off early and twice. By seed.

use crate::rig::*;
use anser_coordinator::{Config, Coordinator};
use anser_machine::{Effect, Event, Fact, Machine, Now, Outbox, Random};
use anser_model::ring::Record;
use anser_model::state::{MintError, Minted};
use anser_model::{Actor, Key, KeyState, Level, Life, NodeId, Rid, Round, Step};
use anser_proto::client::{ClientRequest, ContextArg, Failure, GetRequest, Outcome, PutRequest};
use anser_proto::gossip::PeerState;
use anser_proto::replicate::{ReplicaReply, ReplicaRequest, Want};
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Role, Tick};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const NODES: u8 = 4;
pub const OPERATIONS: u64 = 400;
const DEADLINE_US: u64 = 400_000;
const KEYS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

/// What can go wrong, in per mille.
#[derive(Clone, Copy)]
pub struct Weather {
    pub lost: u64,
    pub doubled: u64,
    pub busy: u64,
    pub crash: u64,
    pub death: u64,
}

/// One node's copies: what is in memory, and what would survive a crash.
#[derive(Default)]
struct Copies {
    memory: BTreeMap<Key, KeyState>,
    durable: BTreeMap<Key, KeyState>,
    life: u64,
    counter: u64,
}

enum Job {
    Deliver(Envelope),
    /// A key's state at the time of the append is synced, and its request answered; unless the copy crashed since.
    Synced {
        node: u8,
        life: u64,
        key: Key,
        state: Box<KeyState>,
        answer: Envelope,
    },
    Ask(u64),
}

struct Asked {
    request: ClientRequest,
    began: Tick,
    /// Puts on the key acknowledged before it began.
    before: BTreeSet<Rid>,
    attempts: u8,
    unknown: bool,
    done: bool,
}

pub struct World {
    /// All of a world's operations are in one keyspace, at this place of the record's.
    keyspace: usize,
    random: Random,
    weather: Weather,
    record: Arc<Record>,
    now: Tick,
    jobs: BTreeMap<(Tick, u64), Job>,
    scheduled: u64,
    coordinators: Vec<Coordinator>,
    copies: Vec<Copies>,
    peers: Vec<BTreeMap<u8, PeerState>>,
    asked: BTreeMap<u64, Asked>,
    acked: BTreeMap<Key, BTreeSet<Rid>>,
    failed: BTreeSet<Rid>,
    /// Which requests the mints of a request settled.
    settles: BTreeMap<Rid, BTreeSet<Rid>>,
    pub tally: BTreeMap<&'static str, u32>,
}

/// A value is its request's number.
fn rid_of_value(value: &Bytes) -> Rid {
    put(u64::from_be_bytes(value.as_ref().try_into().unwrap()), "").rid
}

impl World {
    pub fn new(seed: u64, weather: Weather) -> World {
        let record = Arc::new(record(NODES));
        let mut world = World {
            // The default one, or the strict one.
            keyspace: usize::from(seed % 2 == 1),
            random: Random::new(seed),
            weather,
            record: Arc::clone(&record),
            now: Tick(1_000),
            jobs: BTreeMap::new(),
            scheduled: 0,
            coordinators: Vec::new(),
            copies: (0..NODES).map(|n| Copies { life: u64::from(n) + 1, ..Copies::default() }).collect(),
            peers: Vec::new(),
            asked: BTreeMap::new(),
            acked: BTreeMap::new(),
            failed: BTreeSet::new(),
            settles: BTreeMap::new(),
            tally: BTreeMap::new(),
        };
        for n in 1..=NODES {
            let config = Config::new(node(n), dc(), 1, seed + u64::from(n));
            world.coordinators.push(Coordinator::new(config));
            let others = (1..=NODES).filter(|other| *other != n);
            world.peers.push(others.map(|other| (other, PeerState::Alive)).collect());
            world.hand(n, Event::Fact(Fact::RingAdopted(Arc::clone(&record))));
            world.tell_peers(n);
        }
        world
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        self.random.below(1000) < per_mille
    }

    fn later(&mut self, us: u64, job: Job) {
        self.scheduled += 1;
        self.jobs.insert((self.now.plus_us(us), self.scheduled), job);
    }

    fn wall(&self) -> Now {
        Now { tick: self.now, wall_ms: WALL_MS + self.now.0 / 1000 }
    }

    fn hand(&mut self, n: u8, event: Event) {
        let mut out = Outbox::new();
        let now = self.wall();
        let coordinator = &mut self.coordinators[usize::from(n) - 1];
        coordinator.handle(now, event, &mut out);
        if self.random.below(10) == 0 {
            coordinator.handle_timeout(now, &mut out);
            coordinator.handle_timeout(now, &mut out);
        }
        self.carry_out(out);
    }

    fn carry_out(&mut self, mut out: Outbox) {
        let effects: Vec<Effect> = out.drain().collect();
        for effect in effects {
            match effect {
                Effect::Send(envelope) => self.send(envelope),
                Effect::Count(_) => {}
                Effect::Disk(_) | Effect::Publish(_) => panic!("a coordinator has no disk and no facts"),
            }
        }
    }

    fn send(&mut self, envelope: Envelope) {
        let remote = envelope.from.node != envelope.to.node;
        // Lanes deliver a request at most once, so what could mint is never doubled; the rest is told to bear it.
        let doubles = remote && !matches!(envelope.body, Body::ForwardPut(_));
        if remote && self.chance(self.weather.lost) {
            let told = envelope.body.is_request() && self.random.below(2) == 0;
            if told {
                let refused = Envelope {
                    from: envelope.to,
                    to: envelope.from,
                    body: Body::Refused(Refusal::NotSent),
                    ..envelope
                };
                self.later(1, Job::Deliver(refused));
            }
            return;
        }
        if doubles && self.chance(self.weather.doubled) {
            let us = self.random.below(50_000);
            self.later(us, Job::Deliver(envelope.clone()));
        }
        let slow = self.random.below(50) == 0;
        // Within a node, too, one answer may overtake another: a crash its mint, say.
        let overtaken = envelope.from.role == Role::Replica && self.random.below(8) == 0;
        let us = match remote {
            true => 50 + self.random.below(if slow { 100_000 } else { 2_000 }),
            false => 1 + self.random.below(if overtaken { 10_000 } else { 1 }),
        };
        self.later(us, Job::Deliver(envelope));
    }

    fn tell_peers(&mut self, n: u8) {
        let peers = peers(&self.peers[usize::from(n) - 1]);
        self.hand(n, Event::Fact(Fact::PeersChanged(Arc::new(peers))));
    }

    fn deliver(&mut self, envelope: Envelope) {
        match envelope.to.role {
            Role::Coordinator => self.hand(envelope.to.node.0[0], Event::Message(envelope)),
            Role::Replica => self.at_copy(envelope),
            Role::Session => self.at_client(envelope),
            other => panic!("nobody is {other:?}"),
        }
    }

    fn at_copy(&mut self, envelope: Envelope) {
        let n = envelope.to.node.0[0];
        let answer = |body| Envelope { from: envelope.to, to: envelope.from, body, ..envelope.clone() };
        let Body::Replicate(request) = &envelope.body else { return };
        if self.chance(self.weather.busy) {
            let refusal = if self.random.below(2) == 0 { Refusal::Busy } else { Refusal::NotServing };
            return self.send(answer(Body::Refused(refusal)));
        }
        let copies = &mut self.copies[usize::from(n) - 1];
        match request {
            ReplicaRequest::MintVersion { key, write, .. } => {
                let state = copies.memory.entry(key.clone()).or_default();
                let before: Vec<Rid> = state.live().iter().map(|(rid, _)| *rid).collect();
                let actor = Actor { node: node(n), life: Life(copies.life) };
                match state.mint(actor, copies.counter + 1, write) {
                    Ok(Minted::New(_)) => {
                        copies.counter += 1;
                        let gone =
                            before.iter().filter(|rid| !state.live().iter().any(|(live, _)| live == *rid));
                        self.settles.entry(write.rid).or_default().extend(gone);
                    }
                    Ok(Minted::Known) => {}
                    Err(MintError::TooManySiblings) => {
                        return self.send(answer(Body::Refused(Refusal::TooManySiblings)));
                    }
                }
                let minted = ReplicaReply::Minted { state: state.encode(), round: Round(0) };
                self.sync(n, key.clone(), answer(Body::Replicated(ReplicaReply::Durable)));
                self.send(answer(Body::Replicated(minted)));
            }
            ReplicaRequest::StoreState { key, state, .. } => {
                let state = KeyState::decode(state).unwrap();
                copies.memory.entry(key.clone()).or_default().merge(&state);
                self.sync(n, key.clone(), answer(Body::Replicated(ReplicaReply::Durable)));
            }
            ReplicaRequest::ReadPage { .. } => panic!("no coordinator asks for that"),
            ReplicaRequest::ReadState { key, want, .. } => {
                let state = copies.memory.get(key).cloned().unwrap_or_default();
                let round = Round(0);
                let reply = match want {
                    Want::Full => ReplicaReply::State { state: state.encode(), round },
                    Want::Digest => ReplicaReply::Digest { digest: state.digest(), round },
                };
                let synced = copies.durable.get(key).cloned().unwrap_or_default() == state;
                let answer = answer(Body::Replicated(reply));
                if synced { self.send(answer) } else { self.sync(n, key.clone(), answer) }
            }
        }
    }

    fn sync(&mut self, n: u8, key: Key, answer: Envelope) {
        let us = 500 + self.random.below(5_000);
        let copies = &self.copies[usize::from(n) - 1];
        let state = Box::new(copies.memory.get(&key).cloned().unwrap_or_default());
        self.later(us, Job::Synced { node: n, life: copies.life, key, state, answer });
    }

    fn synced(&mut self, n: u8, life: u64, key: Key, state: KeyState, answer: Envelope) {
        let crash = self.chance(self.weather.crash);
        let copies = &mut self.copies[usize::from(n) - 1];
        if copies.life != life {
            let refused = Envelope { body: Body::Refused(Refusal::Crashed), ..answer };
            return self.send(refused);
        }
        copies.durable.entry(key).or_default().merge(&state);
        self.send(answer);
        if crash {
            let copies = &mut self.copies[usize::from(n) - 1];
            copies.memory = copies.durable.clone();
            copies.life += 1_000;
            copies.counter = 0;
            *self.tally.entry("crashes").or_default() += 1;
        }
    }

    fn ask(&mut self, number: u64) {
        let key = key(KEYS[self.random.below(KEYS.len() as u64) as usize]);
        let keyspace = self.record.keyspaces[self.keyspace].name.clone();
        let request = if self.random.below(2) == 0 {
            ClientRequest::Get(GetRequest { keyspace, key: key.clone(), level: None })
        } else {
            let blind = self.random.below(3) > 0;
            ClientRequest::Put(PutRequest {
                keyspace,
                key: key.clone(),
                context: if blind { ContextArg::Blind } else { ContextArg::Sibling },
                body: anser_model::Body::Value(Bytes::copy_from_slice(&number.to_be_bytes())),
                ..put(number, "")
            })
        };
        let before = self.acked.get(&key).cloned().unwrap_or_default();
        let asked = Asked { request, began: self.now, before, attempts: 0, unknown: false, done: false };
        self.asked.insert(number, asked);
        self.attempt(number);
    }

    fn attempt(&mut self, number: u64) {
        let n = 1 + self.random.below(u64::from(NODES)) as u8;
        let now = self.now;
        let asked = self.asked.get_mut(&number).unwrap();
        asked.attempts += 1;
        asked.began = now;
        if let ClientRequest::Put(put) = &mut asked.request {
            put.retry = asked.unknown;
        }
        let envelope = Envelope {
            from: Address { node: node(n), role: Role::Session, slot: 1 },
            to: coordinator_of(n),
            op: OpId { life: u32::from(asked.attempts), seq: number },
            step: Step(1),
            deadline: now.plus_us(DEADLINE_US),
            body: Body::Client(asked.request.clone()),
        };
        self.later(1, Job::Deliver(envelope));
    }

    fn at_client(&mut self, envelope: Envelope) {
        let Body::ClientReply(reply) = envelope.body else { panic!("{envelope:?}") };
        let number = envelope.op.seq;
        let asked = self.asked.get(&number).unwrap();
        assert!(!asked.done, "answered twice");
        assert_eq!(envelope.op.life, u32::from(asked.attempts), "an answer to an attempt that was answered");
        assert!(self.now.since_us(asked.began) <= DEADLINE_US, "answered late");
        match (asked.request.clone(), reply.outcome) {
            (ClientRequest::Put(put), Outcome::Put(reply)) => {
                *self.tally.entry("put").or_default() += 1;
                self.check_durable(&put, reply.receipt.durable);
                assert_eq!((reply.receipt.replicas, reply.receipt.level), (3, Level::Quorum));
                self.acked.entry(put.key).or_default().insert(put.rid);
            }
            (ClientRequest::Put(_), Outcome::Failed(Failure::Unknown { .. })) => {
                *self.tally.entry("unknown").or_default() += 1;
                let asked = self.asked.get_mut(&number).unwrap();
                asked.unknown = true;
                if asked.attempts < 4 {
                    return self.attempt(number);
                }
            }
            (ClientRequest::Put(put), Outcome::Failed(_)) => {
                *self.tally.entry("failed").or_default() += 1;
                if !asked.unknown {
                    self.failed.insert(put.rid);
                }
            }
            (ClientRequest::Get(get), Outcome::Get(reply)) => {
                *self.tally.entry("got").or_default() += 1;
                assert!(reply.receipt.answered >= 2 && reply.receipt.replicas == 3);
                let shown: Vec<Rid> = reply.versions.iter().map(|shown| rid_of_value(&shown.value)).collect();
                if self.keyspace == 1 {
                    // Read once, read always.
                    self.acked.entry(get.key).or_default().extend(&shown);
                }
                let mut told = shown;
                let mut known: BTreeSet<Rid> = BTreeSet::new();
                while let Some(rid) = told.pop() {
                    if known.insert(rid) {
                        told.extend(self.settles.get(&rid).into_iter().flatten());
                    }
                }
                let before = &self.asked[&number].before;
                assert!(
                    before.is_subset(&known),
                    "{number} shows neither them nor what settled them: {before:?}"
                );
            }
            (ClientRequest::Get(_), Outcome::Failed(_)) => *self.tally.entry("not got").or_default() += 1,
            other => panic!("{other:?}"),
        }
        self.asked.get_mut(&number).unwrap().done = true;
    }

    /// Acknowledged: as many replicas as the level and the receipt say would bring it back after a crash of all.
    fn check_durable(&self, put: &PutRequest, claimed: u8) {
        let placement = self.record.read_placement();
        let partition = self.record.partition_of(self.record.keyspaces[self.keyspace].id, &put.key);
        let sites = self.record.sites(placement, &self.record.keyspaces[self.keyspace].replicas, partition);
        let holds = |node: &NodeId| {
            let copies = &self.copies[usize::from(node.0[0]) - 1];
            copies.durable.get(&put.key).is_some_and(|state| state.knows(&put.rid))
        };
        let held = sites.iter().filter(|site| holds(&site.node)).count();
        assert!(held >= usize::from(claimed) && claimed >= 2, "{held} hold it, the receipt says {claimed}");
    }

    /// Peers come to seem dead, or alive again.
    fn rumour(&mut self) {
        if !self.chance(self.weather.death) {
            return;
        }
        let n = 1 + self.random.below(u64::from(NODES)) as u8;
        let about = 1 + self.random.below(u64::from(NODES)) as u8;
        let states = [PeerState::Alive, PeerState::Suspect, PeerState::Dead];
        if n != about {
            let state = states[self.random.below(3) as usize];
            self.peers[usize::from(n) - 1].insert(about, state);
            self.tell_peers(n);
        }
    }

    pub fn run(&mut self) {
        for number in 1..=OPERATIONS {
            let us = self.random.below(400_000);
            self.later(us, Job::Ask(number));
        }
        loop {
            let wakes = self.coordinators.iter().enumerate();
            let wake = wakes.filter_map(|(at, machine)| Some((machine.next_timeout()?.0, at))).min();
            let job = self.jobs.first_key_value().map(|(at, _)| at.0);
            match (wake, job) {
                (None, None) => break,
                (Some((at, which)), job) if job.is_none_or(|job| at < job) => {
                    self.now = self.now.max(at);
                    let mut out = Outbox::new();
                    let now = self.wall();
                    self.coordinators[which].handle_timeout(now, &mut out);
                    self.carry_out(out);
                }
                _ => {
                    let ((at, _), job) = self.jobs.pop_first().unwrap();
                    self.now = self.now.max(at);
                    match job {
                        Job::Deliver(envelope) => self.deliver(envelope),
                        Job::Synced { node, life, key, state, answer } => {
                            self.synced(node, life, key, *state, answer);
                        }
                        Job::Ask(number) => self.ask(number),
                    }
                    self.rumour();
                }
            }
        }
    }

    pub fn check_end(&self) {
        assert!(
            self.asked.len() == OPERATIONS as usize && self.asked.values().all(|asked| asked.done),
            "unanswered"
        );
        for coordinator in &self.coordinators {
            assert_eq!((coordinator.inflight(), coordinator.next_timeout()), (0, None), "operations leaked");
        }
        for name in KEYS {
            let mut all = KeyState::default();
            for copies in &self.copies {
                for state in
                    [copies.memory.get(&key(name)), copies.durable.get(&key(name))].into_iter().flatten()
                {
                    assert!(!self.failed.iter().any(|rid| state.knows(rid)), "failed, and yet minted");
                    all.merge(state);
                }
            }
            for rid in self.acked.get(&key(name)).into_iter().flatten() {
                assert!(all.knows(rid), "{rid:?} was acknowledged and is lost");
            }
            // One version a request, however often it was tried.
            let shown = all.shown(0).map(|(_, version)| version.body.clone());
            let values: Vec<anser_model::Body> = shown.collect();
            assert!((1..values.len()).all(|at| !values[at..].contains(&values[at - 1])), "{values:?}");
        }
    }
}
