//! A shard beside a fake disk, driven one event at a time.

mod crash;
mod disk;
mod durability;
mod fetch;
mod interval;
mod pages;
mod refill;
mod refusals;
mod stopping;

use crate::{Limits, Replica, ReplicaConfig};
use anser_machine::{
    CopiesSummary, Count, DiskRequest, Effect, Event, Fact, Feedback, FolderTrust, Machine, Now, Outbox,
    SlotName,
};
use anser_model::ring::{
    DcName, Durability, Founding, MemberState, NodeName, Record, RosterEntry, Weight, ZoneName,
};
use anser_model::state::{Seen, Write};
use anser_model::{
    Actor, Body as Value, ClusterId, FolderId, Hlc, Key, KeyState, KeyspaceId, Life, Member, NodeId, Rid,
    Round, Step, Token,
};
use anser_proto::replicate::{PageEntry, PagePlace, Place, ReplicaReply, ReplicaRequest, Want};
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Role, Tick};
use bytes::Bytes;
use disk::FakeDisk;
use std::sync::Arc;

pub const KEYSPACE: KeyspaceId = KeyspaceId(1);
pub const WALL_MS: u64 = 1_000_000;
/// Far enough for all but the tests of deadlines.
pub const PATIENCE: Tick = Tick(1_000_000);
/// More timeouts at one moment than any test has.
const TIMEOUTS_AT_ONCE: u32 = 1000;

pub fn member(node: u8) -> Member {
    Member { node: NodeId([node; 16]), folder: FolderId([node; 16]) }
}

pub fn actor(node: u8, life: u64) -> Actor {
    Actor { node: member(node).node, life: Life(life) }
}

/// Nodes 1 to 3, which all hold all 8 partitions.
pub fn ring() -> Record {
    let entry = |node: u8| RosterEntry {
        member: member(node),
        name: NodeName::new(format!("n{node}")).unwrap(),
        dc: DcName::new("dc1").unwrap(),
        zone: ZoneName::new("z1").unwrap(),
        weight: Weight::default(),
        state: MemberState::Member,
    };
    Record::genesis(Founding {
        cluster: ClusterId([9; 16]),
        cluster_name: "test".into(),
        roster: (1..=3).map(entry).collect(),
        partitions: 8,
        seed: 7,
        mac_key: [1; 32],
    })
    .unwrap()
}

pub fn config(copy_life: u64) -> ReplicaConfig {
    ReplicaConfig {
        member: member(1),
        shard: 0,
        shards: 1,
        life: u32::try_from(copy_life).unwrap(),
        copy_life: Life(copy_life),
        limits: Limits::default(),
    }
}

pub fn key(name: &str) -> Key {
    Key::new(name.as_bytes().to_vec()).unwrap()
}

pub fn rid(seq: u64) -> Rid {
    Rid { writer: 5, seq }
}

pub fn write(seq: u64, value: &str, seen: Seen) -> Write {
    let body = Value::Value(Bytes::copy_from_slice(value.as_bytes()));
    Write { rid: rid(seq), issued: Hlc::from_ms(WALL_MS - 1000 + seq), expires: None, body, seen }
}

/// What another node's copy would have minted.
pub fn foreign(seq: u64, value: &str) -> KeyState {
    let mut state = KeyState::default();
    state.mint(actor(2, 77), 1, &write(seq, value, Seen::Nothing)).unwrap();
    state
}

pub fn values(state: &[u8]) -> Vec<String> {
    let state = KeyState::decode(state).unwrap();
    let text = |value: &Value| match value {
        Value::Value(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Value::Tombstone => "tombstone".into(),
    };
    state.live().iter().map(|(_, version)| text(&version.body)).collect()
}

pub fn seen(state: &[u8]) -> Seen {
    Token::of(&KeyState::decode(state).unwrap()).into_seen()
}

/// What a request is made of, to be altered.
pub struct Ask {
    pub from: u8,
    pub role: Role,
    pub step: Step,
    pub round: Round,
    pub deadline: Tick,
    pub place: Option<Place>,
}

impl Default for Ask {
    fn default() -> Ask {
        Ask {
            from: 1,
            role: Role::Coordinator,
            step: Step(1),
            round: Round(0),
            deadline: PATIENCE,
            place: None,
        }
    }
}

/// A shard, its disk, and what came out of it.
pub struct Bench {
    pub replica: Replica,
    pub disk: FakeDisk,
    pub now: Now,
    pub counts: Vec<Count>,
    pub facts: Vec<bool>,
    /// How far it said that its log is.
    pub grown: Vec<u64>,
    /// How its copies are.
    pub copies: Arc<CopiesSummary>,
    /// What it asked of other copies, and said to itself.
    pub sent: Vec<Envelope>,
    ring: Arc<Record>,
    seq: u64,
}

/// An answer: to which request, and what.
pub type Answer = (u64, Body);

pub const DURABLE: Body = Body::Replicated(ReplicaReply::Durable);
pub const HELD: Body = Body::Replicated(ReplicaReply::Held);

pub fn refused(refusal: Refusal) -> Body {
    Body::Refused(refusal)
}

impl Bench {
    /// Before its first timeout, with a ring or without.
    pub fn cold(config: ReplicaConfig, disk: FakeDisk) -> Bench {
        let now = Now { tick: Tick(10), wall_ms: WALL_MS };
        Bench {
            replica: Replica::new(config),
            disk,
            now,
            counts: Vec::new(),
            facts: Vec::new(),
            grown: Vec::new(),
            copies: Arc::default(),
            sent: Vec::new(),
            ring: Arc::new(ring()),
            seq: 0,
        }
    }

    /// Recovered, with a ring.
    pub fn warm(config: ReplicaConfig, disk: FakeDisk) -> Bench {
        let mut bench = Bench::cold(config, disk);
        bench.adopt_ring();
        bench.timeout();
        bench.recover();
        assert_eq!(bench.facts.last(), Some(&true));
        bench
    }

    /// The same, and its keyspace is acknowledged from memory.
    pub fn interval(config: ReplicaConfig, disk: FakeDisk) -> Bench {
        let mut bench = Bench::cold(config, disk);
        Arc::make_mut(&mut bench.ring).keyspaces[0].durability = Durability::Interval;
        bench.adopt_ring();
        bench.timeout();
        bench.recover();
        bench
    }

    /// Recovered from an empty disk.
    pub fn new() -> Bench {
        Bench::warm(config(1), FakeDisk::default())
    }

    pub fn step(&mut self, event: Event) -> Vec<Answer> {
        let mut out = Outbox::new();
        self.replica.handle(self.now, event, &mut out);
        self.take(&mut out)
    }

    pub fn timeout(&mut self) -> Vec<Answer> {
        let mut out = Outbox::new();
        self.replica.handle_timeout(self.now, &mut out);
        self.take(&mut out)
    }

    fn take(&mut self, out: &mut Outbox) -> Vec<Answer> {
        let mut answers = Vec::new();
        for effect in out.drain() {
            match effect {
                Effect::Send(envelope) => {
                    assert_eq!(envelope.from.role, Role::Replica);
                    if envelope.to.role == Role::Replica && envelope.op.life != 4 {
                        self.sent.push(envelope);
                        continue;
                    }
                    assert_eq!(envelope.op.life, 4);
                    answers.push((envelope.op.seq, envelope.body));
                }
                Effect::Disk(request) => self.disk.ask(request),
                Effect::Publish(Fact::ShardChanged { shard: 0, serving }) => self.facts.push(serving),
                Effect::Publish(Fact::TablesChanged { shard: 0, .. }) => {}
                Effect::Publish(Fact::CopiesChanged { shard: 0, copies }) => self.copies = copies,
                Effect::Publish(Fact::LogGrown { shard: 0, records }) => {
                    self.grown.push(records.unwrap_or(u64::MAX))
                }
                Effect::Publish(fact) => panic!("{fact:?}"),
                Effect::Count(count) => self.counts.push(count),
            }
        }
        answers
    }

    pub fn own(&mut self, feedback: Feedback) -> Vec<Answer> {
        self.step(Event::Own(feedback))
    }

    pub fn adopt_ring(&mut self) -> Vec<Answer> {
        let ring = self.ring.clone();
        self.step(Event::Fact(Fact::RingAdopted(ring)))
    }

    /// Answers a `Load`, then the `Recover` that follows.
    pub fn read_back(&mut self) {
        let load = self.disk.asked.pop_back();
        assert!(matches!(load, None | Some(DiskRequest::Load { slot: SlotName::Copies })), "{load:?}");
        let bytes = self.disk.copies.clone();
        assert_eq!(self.own(Feedback::Loaded { slot: SlotName::Copies, bytes }), []);
        for feedback in self.disk.recover() {
            assert_eq!(self.own(feedback), []);
        }
    }

    /// The same, and its folder is known to be no old copy.
    pub fn recover(&mut self) {
        self.read_back();
        assert_eq!(self.judge_folder(FolderTrust::Sound), []);
    }

    /// The node knows what its folder is worth.
    pub fn judge_folder(&mut self, trust: FolderTrust) -> Vec<Answer> {
        self.step(Event::Fact(Fact::FolderJudged(trust)))
    }

    /// Syncs the log.
    pub fn sync(&mut self) -> Vec<Answer> {
        self.disk.sync().map_or(Vec::new(), |feedback| self.own(feedback))
    }

    /// Serves flushes and fetches until none is left.
    pub fn serve_disk(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(feedback) = self.disk.serve_one() {
            answers.extend(self.own(feedback));
        }
        answers
    }

    /// A state that another copy shows in a page.
    pub fn entry(&self, name: &str, state: &KeyState) -> PageEntry {
        PageEntry { place: PagePlace { keyspace: KEYSPACE, key: key(name) }, state: state.encode() }
    }

    /// What it asked of other copies since last time: partition, whom, what.
    pub fn asked(&mut self) -> Vec<Envelope> {
        let me = member(1).node;
        self.sent.extract_if(.., |envelope| envelope.to.node != me).collect()
    }

    /// Hands it what it said to itself, and syncs, until there is no more.
    pub fn settle(&mut self) {
        loop {
            let said = core::mem::take(&mut self.sent);
            let (own, others): (Vec<_>, Vec<_>) =
                said.into_iter().partition(|envelope| envelope.to.node == member(1).node);
            self.sent = others;
            if own.is_empty() && self.disk.is_idle() {
                return;
            }
            for envelope in own {
                assert_eq!(self.step(Event::Message(envelope)), []);
            }
            assert_eq!(self.serve_disk(), []);
            assert_eq!(self.sync(), []);
        }
    }

    /// Another copy answers.
    pub fn answer(&mut self, asked: &Envelope, body: Body) -> Vec<Answer> {
        let envelope = Envelope { from: asked.to, to: asked.from, body, ..asked.clone() };
        self.step(Event::Message(envelope))
    }

    /// Lets time pass, with its timeouts.
    pub fn pass_ms(&mut self, ms: u64) {
        let until = self.now.tick.plus_ms(ms);
        let mut at_once = 0;
        while let Some((at, _)) = self.replica.next_timeout().filter(|(at, _)| *at <= until) {
            at_once = if at > self.now.tick { 0 } else { at_once + 1 };
            assert!(at_once < TIMEOUTS_AT_ONCE, "it is due for ever");
            self.now.tick = self.now.tick.max(at);
            assert_eq!(self.timeout(), []);
            self.settle();
        }
        self.now.tick = until;
    }

    pub fn place(&self, key: &Key) -> Place {
        Place { keyspace: KEYSPACE, partition: self.ring.partition_of(KEYSPACE, key), round: Round(0) }
    }

    /// Sends a request as `ask` says. The answers that came at once, and the request's number.
    pub fn ask(&mut self, ask: Ask, request: ReplicaRequest) -> (u64, Vec<Answer>) {
        self.seq += 1;
        let partition = request.partition();
        let envelope = Envelope {
            from: Address { node: member(ask.from).node, role: ask.role, slot: 0 },
            to: Address { node: member(1).node, role: Role::Replica, slot: u32::from(partition.0) },
            op: OpId { life: 4, seq: self.seq },
            step: ask.step,
            deadline: ask.deadline,
            body: Body::Replicate(request),
        };
        (self.seq, self.step(Event::Message(envelope)))
    }

    /// Asks for a page of a key's partition, as another copy does.
    pub fn ask_page(&mut self, name: &str, after: Option<PagePlace>) -> (u64, Vec<Answer>) {
        self.seq += 1;
        let partition = self.place(&key(name)).partition;
        let address =
            |node: u8| Address { node: member(node).node, role: Role::Replica, slot: u32::from(partition.0) };
        let envelope = Envelope {
            from: address(2),
            to: address(1),
            op: OpId { life: 4, seq: self.seq },
            step: Step(1),
            deadline: self.now.tick.plus_ms(1000),
            body: Body::Replicate(ReplicaRequest::ReadPage { partition, round: Round(0), after }),
        };
        (self.seq, self.step(Event::Message(envelope)))
    }

    pub fn mint(&mut self, name: &str, write: Write) -> (u64, Vec<Answer>) {
        let place = self.place(&key(name));
        self.ask(Ask::default(), ReplicaRequest::MintVersion { place, key: key(name), write })
    }

    pub fn store(&mut self, name: &str, state: &KeyState) -> (u64, Vec<Answer>) {
        let place = self.place(&key(name));
        let state = state.encode();
        self.ask(
            Ask { from: 2, ..Ask::default() },
            ReplicaRequest::StoreState { place, key: key(name), state },
        )
    }

    pub fn read(&mut self, name: &str, want: Want) -> (u64, Vec<Answer>) {
        let place = self.place(&key(name));
        self.ask(Ask { from: 2, ..Ask::default() }, ReplicaRequest::ReadState { place, key: key(name), want })
    }

    /// Mints, and takes the state out of the answer.
    pub fn minted(&mut self, name: &str, write: Write) -> (u64, Bytes) {
        let (seq, answers) = self.mint(name, write);
        (seq, minted_state(&answers))
    }
}

pub fn minted_state(answers: &[Answer]) -> Bytes {
    match answers {
        [(_, Body::Replicated(ReplicaReply::Minted { state, .. })), ..] => state.clone(),
        other => panic!("not minted: {other:?}"),
    }
}

pub fn state_reply(state: &KeyState) -> Body {
    Body::Replicated(ReplicaReply::State { state: state.encode(), round: Round(0) })
}
