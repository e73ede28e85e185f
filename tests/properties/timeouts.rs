//! Timeouts that are called early and twice change nothing, in random histories of each machine alone. What that means
//! exactly is in `anser_sim::twin`; `cargo sim --eager-timers` asks the same of whole clusters.
//!
//! A history answers what the machine asks for, now and then wrongly, late, twice or never, and lets time pass: up to a
//! moment, or past it, as a host does that was away.

use anser_coordinator::{Config, Coordinator};
use anser_machine::{
    DiskRequest, Effect, Event, Fact, Feedback, FolderTrust, Machine, Now, Outbox, PeerView, Peers, Random,
    SlotName,
};
use anser_membership::{Membership, Probing};
use anser_model::ring::{DcName, Founding, MemberState, NodeName, Record, RosterEntry, Weight, ZoneName};
use anser_model::state::Write;
use anser_model::{
    Actor, Body as Value, ClusterId, FolderId, Hlc, Key, KeyState, KeyspaceId, KeyspaceName, Level, Life,
    Member, NodeId, Rid, Round, Step,
};
use anser_proto::client::{ClientRequest, ContextArg, GetRequest, PutRequest};
use anser_proto::gossip::{Gossip, Heard, Mark, PeerState, Rumour};
use anser_proto::replicate::{Place, ReplicaReply, ReplicaRequest, Want};
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Role, Tick};
use anser_replica::{Limits, Replica, ReplicaConfig};
use anser_sim::twin::Twin;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Steps of a history.
const STEPS: u32 = 300;
const WALL_MS: u64 = 1_700_000_000_000;
const NODES: u8 = 4;

fn member(n: u8) -> Member {
    Member { node: NodeId([n; 16]), folder: FolderId([n; 16]) }
}

fn address(n: u8, role: Role, slot: u32) -> Address {
    Address { node: member(n).node, role, slot }
}

fn dc() -> DcName {
    DcName::new("dc1").unwrap()
}

fn ring() -> Arc<Record> {
    let entry = |n| RosterEntry {
        member: member(n),
        name: NodeName::new(format!("n{n}")).unwrap(),
        dc: dc(),
        zone: ZoneName::new(format!("z{n}")).unwrap(),
        weight: Weight::default(),
        state: MemberState::Member,
    };
    let founding = Founding {
        cluster: ClusterId([1; 16]),
        cluster_name: "laws".into(),
        roster: (1..=NODES).map(entry).collect(),
        partitions: 8,
        seed: 5,
        mac_key: [9; 32],
    };
    Arc::new(Record::genesis(founding).unwrap())
}

/// A machine and its twin in a history.
struct Pair<M> {
    machine: M,
    twin: Twin,
    now: Now,
    random: Random,
    /// What was asked, and may be answered.
    asked: Vec<Envelope>,
    requests: Vec<DiskRequest>,
    /// Steps in which a timeout was due.
    woken: u32,
}

impl<M: Machine + 'static> Pair<M> {
    fn new(seed: u64, make: impl Fn() -> M) -> Pair<M> {
        let mut pair = Pair {
            machine: make(),
            twin: Twin::new(Box::new(make())),
            now: Now { tick: Tick(1_000), wall_ms: WALL_MS },
            random: Random::new(seed),
            asked: Vec::new(),
            requests: Vec::new(),
            woken: 0,
        };
        pair.step(None);
        pair
    }

    fn one_in(&mut self, parts: u64) -> bool {
        self.random.below(parts) == 0
    }

    fn node(&mut self) -> u8 {
        1 + self.random.below(u64::from(NODES)) as u8
    }

    /// One of a few.
    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len() as u64) as usize].clone()
    }

    /// A step of both, as a host takes it.
    fn step(&mut self, event: Option<Event>) {
        let (mut out, early) = (Outbox::new(), self.early());
        if let Some(event) = event.clone() {
            self.machine.handle(self.now, event, &mut out);
        }
        if self.machine.next_timeout().is_some_and(|(at, _)| at <= self.now.tick) {
            self.woken += 1;
            self.machine.handle_timeout(self.now, &mut out);
        }
        let next = self.machine.next_timeout();
        let followed = self.twin.follow(self.now, event, &early, &out, next);
        followed.unwrap_or_else(|what| panic!("{what}"));
        for effect in out.drain() {
            match effect {
                Effect::Send(envelope) => self.asked.push(envelope),
                Effect::Disk(request) => self.requests.push(request),
                Effect::Publish(_) | Effect::Count(_) => {}
            }
        }
    }

    /// Moments before now: the last one, and some drawn.
    fn early(&mut self) -> Vec<Tick> {
        let now = self.now.tick.0;
        let mut early: Vec<Tick> = (0..4).map(|_| Tick(now - self.random.below(now.min(400_000)))).collect();
        early.push(Tick(now - 1));
        early
    }

    /// Time passes, up to the next timeout or to some moment; hosts that were away come late.
    fn pass(&mut self) {
        let drawn = self.random.below(50_000) + 1;
        let until = self.machine.next_timeout().map(|(at, _)| at.since_us(self.now.tick));
        let us = match until.filter(|us| *us < 20_000_000) {
            Some(us) if self.one_in(3) => us,
            Some(us) if self.one_in(20) => us + 1_000_000,
            Some(_) | None => drawn,
        };
        self.now.tick = self.now.tick.plus_us(us.max(1));
        self.now.wall_ms += us / 1000;
        self.step(None);
    }

    /// Takes out something that waits; now and then it stays, to come twice, or is lost.
    fn take<T: Clone>(&mut self, waiting: fn(&mut Pair<M>) -> &mut Vec<T>) -> Option<T> {
        let count = waiting(self).len();
        if count == 0 {
            return None;
        }
        let at = self.random.below(count as u64) as usize;
        if self.one_in(10) {
            return waiting(self).get(at).cloned();
        }
        let taken = waiting(self).swap_remove(at);
        (!self.one_in(10)).then_some(taken)
    }

    fn message(&mut self, from: Address, to: Address, op: OpId, body: Body) {
        let deadline = self.now.tick.plus_us(self.random.below(900_000));
        self.step(Some(Event::Message(Envelope { from, to, op, step: Step(1), deadline, body })));
    }
}

fn rumours<M: Machine + 'static>(pair: &mut Pair<M>) -> Vec<Rumour> {
    let count = pair.random.below(4);
    let rumour = |pair: &mut Pair<M>| {
        let n = pair.node();
        let state = pair.pick(&[PeerState::Alive, PeerState::Suspect, PeerState::Dead]);
        let address = ([127, 0, 0, 1], 4000 + u16::from(n)).into();
        Rumour { node: member(n).node, address, incarnation: pair.random.below(5), state }
    };
    (0..count).map(|_| rumour(pair)).collect()
}

fn membership(seed: u64) -> u32 {
    let make = || {
        Membership::new(anser_membership::Config {
            member: member(1),
            shards: 1,
            name: NodeName::new("n1").unwrap(),
            dc: dc(),
            zone: ZoneName::new("z1").unwrap(),
            weight: Weight::default(),
            address: ([127, 0, 0, 1], 4001).into(),
            cluster_name: "laws".into(),
            probing: Probing::default(),
            life: 7,
            random_seed: seed,
        })
    };
    let mut pair = Pair::new(seed, make);
    let slots = BTreeMap::from([(SlotName::Ring, postcard_ring())]);
    for _ in 0..STEPS {
        match pair.random.below(7) {
            6 => {
                let records = Some(pair.random.below(100));
                pair.step(Some(Event::Fact(Fact::LogGrown { shard: 0, records })));
            }
            0 | 1 => {
                let feedback = match pair.take(|pair| &mut pair.requests) {
                    Some(DiskRequest::Load { slot }) => {
                        Feedback::Loaded { slot, bytes: slots.get(&slot).cloned() }
                    }
                    Some(DiskRequest::Save { slot, .. }) => Feedback::Saved { slot },
                    _ => continue,
                };
                pair.step(Some(Event::Own(feedback)));
            }
            2 => {
                let (from, op) =
                    (address(pair.node(), Role::Membership, 0), OpId { life: 3, seq: pair.random.u64() });
                let (rumours, target) = (rumours(&mut pair), member(pair.node()).node);
                let gossip = pair.pick(&[
                    Gossip::Probe { rumours: rumours.clone(), mark: Mark::default() },
                    Gossip::ProbeFor { target, rumours: rumours.clone() },
                    Gossip::PushPull { rumours },
                    Gossip::PullRing { have: Step(0) },
                ]);
                pair.message(from, address(1, Role::Membership, 0), op, Body::Gossip(gossip));
            }
            3 => {
                let Some(asked) = pair.take(|pair| &mut pair.asked) else { continue };
                let rumours = rumours(&mut pair);
                let answer = match asked.body {
                    Body::Gossip(Gossip::Probe { .. }) => {
                        let heard =
                            pair.pick(&[Heard::Nothing, Heard::Nothing, Heard::Records(50), Heard::Replaced]);
                        Gossip::ProbeAck { rumours, mark: Mark::default(), heard }
                    }
                    Body::Gossip(Gossip::ProbeFor { target, .. }) => Gossip::ProbeForAck { target, rumours },
                    Body::Gossip(Gossip::PushPull { .. }) => Gossip::PushPullReply { rumours },
                    _ => continue,
                };
                pair.message(asked.to, asked.from, asked.op, Body::Gossip(answer));
            }
            _ => pair.pass(),
        }
    }
    pair.woken
}

/// The slot of a node that is in the ring.
fn postcard_ring() -> Bytes {
    let chain = vec![ring().encode()];
    let fields = postcard::to_allocvec(&chain).unwrap();
    [&[2][..], &fields].concat().into()
}

/// A state that a copy may hold.
fn state<M: Machine + 'static>(pair: &mut Pair<M>) -> KeyState {
    let mut state = KeyState::default();
    for counter in 1..=pair.random.below(3) {
        let n = pair.node();
        let write = write(u64::from(n) * 10 + counter);
        state.mint(Actor { node: member(n).node, life: Life(1) }, counter, &write).unwrap();
    }
    state
}

fn write(seq: u64) -> Write {
    Write {
        rid: Rid { writer: 5, seq },
        issued: Hlc::from_ms(WALL_MS),
        expires: None,
        body: Value::Value(Bytes::from_static(b"v")),
        seen: anser_model::state::Seen::Nothing,
    }
}

fn key() -> Key {
    Key::new("k").unwrap()
}

fn client_request<M: Machine + 'static>(pair: &mut Pair<M>) -> ClientRequest {
    let level = pair.pick(&[None, Some(Level::All), Some(Level::Count(1))]);
    let keyspace = KeyspaceName::new("default").unwrap();
    if pair.one_in(2) {
        return ClientRequest::Get(GetRequest { keyspace, key: key(), level });
    }
    let Write { issued, expires, body, .. } = write(0);
    let rid = Rid { writer: 7, seq: pair.random.below(50) };
    let (context, retry) = (ContextArg::Blind, pair.one_in(4));
    ClientRequest::Put(PutRequest { keyspace, key: key(), rid, issued, expires, body, context, level, retry })
}

fn coordinator(seed: u64) -> u32 {
    let mut pair = Pair::new(seed, || Coordinator::new(Config::new(member(1).node, dc(), 4, seed)));
    pair.step(Some(Event::Fact(Fact::RingAdopted(ring()))));
    for number in 0..STEPS {
        match pair.random.below(8) {
            0 => {
                let request = client_request(&mut pair);
                let op = OpId { life: 0, seq: u64::from(number) };
                let (from, to) = (address(1, Role::Session, 3), address(1, Role::Coordinator, 0));
                pair.message(from, to, op, Body::Client(request));
            }
            1..5 => {
                let Some(asked) = pair.take(|pair| &mut pair.asked) else { continue };
                let (state, round) = (state(&mut pair), Round(0));
                let refusal = pair.pick(&[
                    Refusal::Busy,
                    Refusal::NotServing,
                    Refusal::Crashed,
                    Refusal::StaleRound(Round(1)),
                ]);
                let answer = match asked.body {
                    Body::Replicate(_) | Body::ForwardPut(_) if pair.one_in(4) => Body::Refused(refusal),
                    Body::Replicate(ReplicaRequest::MintVersion { .. }) => {
                        Body::Replicated(ReplicaReply::Minted { state: state.encode(), round })
                    }
                    Body::Replicate(ReplicaRequest::StoreState { .. }) => {
                        Body::Replicated(ReplicaReply::Durable)
                    }
                    Body::Replicate(ReplicaRequest::ReadState { want: Want::Full, .. }) => {
                        Body::Replicated(ReplicaReply::State { state: state.encode(), round })
                    }
                    Body::Replicate(ReplicaRequest::ReadState { want: Want::Digest, .. }) => {
                        Body::Replicated(ReplicaReply::Digest { digest: state.digest(), round })
                    }
                    _ => continue,
                };
                pair.message(asked.to, asked.from, asked.op, answer);
            }
            5 if pair.one_in(3) => {
                let seems = |pair: &mut Pair<Coordinator>, n: u8| {
                    let state =
                        pair.pick(&[PeerState::Alive, PeerState::Alive, PeerState::Suspect, PeerState::Dead]);
                    let address = ([127, 0, 0, 1], 4000 + u16::from(n)).into();
                    (member(n).node, PeerView { address, state, incarnation: 1 })
                };
                let peers: Peers = (2..=NODES).map(|n| seems(&mut pair, n)).collect();
                pair.step(Some(Event::Fact(Fact::PeersChanged(Arc::new(peers)))));
            }
            _ => pair.pass(),
        }
    }
    pair.woken
}

fn replica(seed: u64) -> u32 {
    let config = || ReplicaConfig {
        member: member(1),
        shard: 0,
        shards: 1,
        life: 2,
        copy_life: Life(seed),
        limits: Limits::default(),
    };
    let (mut pair, ring) = (Pair::new(seed, || Replica::new(config())), ring());
    pair.step(Some(Event::Fact(Fact::RingAdopted(ring.clone()))));
    pair.step(Some(Event::Fact(Fact::FolderJudged(FolderTrust::Sound))));
    let place = Place {
        keyspace: KeyspaceId(1),
        partition: ring.partition_of(KeyspaceId(1), &key()),
        round: Round(0),
    };
    for number in 0..STEPS {
        match pair.random.below(4) {
            0 => {
                let feedback = match pair.take(|pair| &mut pair.requests) {
                    Some(DiskRequest::Recover) => {
                        let (tables, damaged) = (Vec::new(), Vec::new());
                        pair.step(Some(Event::Own(Feedback::RecoveredTables { tables, damaged })));
                        Feedback::RecoveredLog { records: Vec::new(), next: Some(anser_machine::Lsn(1)) }
                    }
                    Some(DiskRequest::Load { slot }) => Feedback::Loaded { slot, bytes: None },
                    Some(DiskRequest::Save { slot, .. }) => Feedback::Saved { slot },
                    Some(DiskRequest::Append(record)) => Feedback::Durable { through: record.lsn },
                    _ => continue,
                };
                pair.step(Some(Event::Own(feedback)));
            }
            1 | 2 => {
                let (state, seq) = (state(&mut pair).encode(), pair.random.below(100));
                let request = pair.pick(&[
                    ReplicaRequest::MintVersion { place, key: key(), write: write(seq) },
                    ReplicaRequest::StoreState { place, key: key(), state },
                    ReplicaRequest::ReadState { place, key: key(), want: Want::Full },
                ]);
                let (from, to) = (
                    address(1, Role::Coordinator, 0),
                    address(1, Role::Replica, u32::from(place.partition.0)),
                );
                pair.message(from, to, OpId { life: 4, seq: u64::from(number) }, Body::Replicate(request));
            }
            _ => pair.pass(),
        }
    }
    pair.woken
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_membership(seed in any::<u64>()) {
        prop_assert!(membership(seed) > 0);
    }

    #[test]
    fn of_a_coordinator(seed in any::<u64>()) {
        prop_assert!(coordinator(seed) > 0);
    }

    #[test]
    fn of_a_replica(seed in any::<u64>()) {
        prop_assert_eq!(replica(seed), 1, "a copy waits for nothing but its start");
    }
}

/// Histories in which nothing waits for time would show nothing.
#[test]
fn histories_are_full_of_timeouts() {
    let all = |history: fn(u64) -> u32| (0..20).map(history).sum::<u32>();
    let (membership, coordinator) = (all(membership), all(coordinator));
    assert!(membership > 300 && coordinator > 400, "{membership} {coordinator}");
}
