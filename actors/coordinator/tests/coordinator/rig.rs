//! One coordinator on a bench: events in, effects out; and the values the tests speak of.

use anser_coordinator::{Config, Coordinator};
use anser_machine::{Count, Effect, Event, Fact, Machine, Now, Outbox, PeerView, Peers};
use anser_model::ring::{
    Blind, DcName, Durability, Founding, Keyspace, MemberState, NodeName, QuorumKind, Record, RosterEntry,
    Weight, ZoneName,
};
use anser_model::state::{Seen, Write};
use anser_model::{
    Actor, Body as Value, ClusterId, FolderId, Hlc, Key, KeyState, KeyspaceId, KeyspaceName, Level, Life,
    Member, NodeId, Rid, Round, Step,
};
use anser_proto::client::{ClientRequest, ContextArg, GetRequest, Outcome, PutRequest};
use anser_proto::gossip::PeerState;
use anser_proto::replicate::{ReplicaReply, ReplicaRequest};
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Role, Tick};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const MAC_KEY: [u8; 32] = [9; 32];
pub const WALL_MS: u64 = 1_000_000;

pub fn node(n: u8) -> NodeId {
    NodeId([n; 16])
}

pub fn dc() -> DcName {
    DcName::new("dc1").unwrap()
}

/// A ring of `members` nodes; beside the default keyspace a strict one, one that refuses blind writes, and one that is
/// acknowledged from memory.
pub fn record(members: u8) -> Record {
    let entry = |n: u8| RosterEntry {
        member: Member { node: node(n), folder: FolderId([n; 16]) },
        name: NodeName::new(format!("n{n}")).unwrap(),
        dc: dc(),
        zone: ZoneName::new("z1").unwrap(),
        weight: Weight::default(),
        state: MemberState::Member,
    };
    let founding = Founding {
        cluster: ClusterId([1; 16]),
        cluster_name: "test".into(),
        roster: (1..=members).map(entry).collect(),
        partitions: 16,
        seed: 5,
        mac_key: MAC_KEY,
    };
    let mut record = Record::genesis(founding).unwrap();
    let first = record.keyspaces[0].clone();
    let keyspace = |id, name: &str| Keyspace { id: KeyspaceId(id), name: name_of(name), ..first.clone() };
    record.keyspaces.push(Keyspace { quorum: QuorumKind::Strict, ..keyspace(2, "strict") });
    record.keyspaces.push(Keyspace { blind: Blind::Reject, ..keyspace(3, "careful") });
    record.keyspaces.push(Keyspace { durability: Durability::Interval, ..keyspace(4, "quick") });
    record
}

pub fn name_of(keyspace: &str) -> KeyspaceName {
    KeyspaceName::new(keyspace).unwrap()
}

pub fn key(text: &'static str) -> Key {
    Key::new(Bytes::from_static(text.as_bytes())).unwrap()
}

pub fn put(seq: u64, value: &'static str) -> PutRequest {
    PutRequest {
        keyspace: name_of("default"),
        key: key("k"),
        rid: Rid { writer: 7, seq },
        issued: Hlc::from_ms(WALL_MS),
        expires: None,
        body: Value::Value(Bytes::from_static(value.as_bytes())),
        context: ContextArg::Blind,
        level: None,
        retry: false,
    }
}

/// A put that node 1 mints itself (`true`), or one that it forwards.
pub fn put_minted_by(own: bool) -> PutRequest {
    let nodes: Vec<NodeId> = (1..=3).map(node).collect();
    let mints = |put: &PutRequest| (anser_model::minter_order(put.rid, &nodes)[0] == node(1)) == own;
    (0..).map(|seq| put(seq, "v")).find(mints).unwrap()
}

pub fn get() -> GetRequest {
    GetRequest { keyspace: name_of("default"), key: key("k"), level: None }
}

/// A state with one version for each (minter, value).
pub fn state(writes: &[(u8, &'static str)]) -> KeyState {
    let mut state = KeyState::default();
    for (n, value) in writes {
        let write = Write {
            rid: Rid { writer: u128::from(*n), seq: 1 },
            issued: Hlc::from_ms(WALL_MS),
            expires: None,
            body: Value::Value(Bytes::from_static(value.as_bytes())),
            seen: Seen::Nothing,
        };
        state.mint(Actor { node: node(*n), life: Life(1) }, 1, &write).unwrap();
    }
    state
}

/// What a put leaves at a copy that had nothing.
pub fn minted(request: &PutRequest) -> KeyState {
    let mut state = KeyState::default();
    let write = Write {
        rid: request.rid,
        issued: request.issued,
        expires: None,
        body: request.body.clone(),
        seen: Seen::Present,
    };
    state.mint(Actor { node: node(1), life: Life(1) }, 1, &write).unwrap();
    state
}

pub fn session() -> Address {
    Address { node: node(1), role: Role::Session, slot: 3 }
}

pub fn coordinator_of(n: u8) -> Address {
    Address { node: node(n), role: Role::Coordinator, slot: 0 }
}

/// Coordinator of node 1 of three.
pub struct Rig {
    pub machine: Coordinator,
    pub record: Arc<Record>,
    pub tick: Tick,
    pub counts: Vec<Count>,
    out: Outbox,
    peers: BTreeMap<u8, PeerState>,
}

/// When the tests' askers stop waiting, after they asked.
pub const PATIENCE_US: u64 = 900_000;
/// When they are answered at the latest.
pub const ANSWER_US: u64 = PATIENCE_US - 5_000;

impl Rig {
    pub fn new() -> Rig {
        let mut rig = Rig::without_ring();
        let record = Arc::clone(&rig.record);
        rig.handle(Event::Fact(Fact::RingAdopted(record)));
        rig.peers(&[(2, PeerState::Alive), (3, PeerState::Alive)]);
        rig
    }

    pub fn without_ring() -> Rig {
        let mut config = Config::new(node(1), dc(), 4, 1);
        config.explore_one_in = 0;
        config.inflight_max = 4;
        config.value_bytes_max = 10;
        Rig {
            machine: Coordinator::new(config),
            record: Arc::new(record(3)),
            tick: Tick(1_000),
            counts: Vec::new(),
            out: Outbox::new(),
            peers: BTreeMap::new(),
        }
    }

    pub fn now(&self) -> Now {
        Now { tick: self.tick, wall_ms: WALL_MS }
    }

    /// Hands in an event; gives what was sent.
    pub fn handle(&mut self, event: Event) -> Vec<Envelope> {
        self.machine.handle(self.now(), event, &mut self.out);
        self.sent()
    }

    /// Lets time pass, with wake-ups whenever asked for; gives what was sent.
    pub fn pass(&mut self, us: u64) -> Vec<Envelope> {
        let end = self.tick.plus_us(us);
        while let Some((at, _)) = self.machine.next_timeout().filter(|(at, _)| *at <= end) {
            self.tick = self.tick.max(at);
            // Early and double calls are harmless.
            let early = Now { tick: Tick(self.tick.0 - 1), wall_ms: WALL_MS };
            self.machine.handle_timeout(early, &mut self.out);
            self.machine.handle_timeout(self.now(), &mut self.out);
            self.machine.handle_timeout(self.now(), &mut self.out);
        }
        self.tick = end;
        self.sent()
    }

    fn sent(&mut self) -> Vec<Envelope> {
        let mut sent = Vec::new();
        for effect in self.out.drain() {
            match effect {
                Effect::Send(envelope) => sent.push(envelope),
                Effect::Count(count) => self.counts.push(count),
                Effect::Disk(_) | Effect::Publish(_) => panic!("a coordinator has no disk and no facts"),
            }
        }
        sent
    }

    pub fn peers(&mut self, states: &[(u8, PeerState)]) -> Vec<Envelope> {
        self.peers.extend(states.iter().copied());
        let peers = peers(&self.peers);
        self.handle(Event::Fact(Fact::PeersChanged(Arc::new(peers))))
    }

    fn ask(&mut self, from: Address, body: Body) -> Vec<Envelope> {
        let envelope = Envelope {
            from,
            to: coordinator_of(1),
            op: OpId { life: 0, seq: 77 },
            step: Step(1),
            deadline: self.tick.plus_us(PATIENCE_US),
            body,
        };
        self.handle(Event::Message(envelope))
    }

    pub fn client(&mut self, request: ClientRequest) -> Vec<Envelope> {
        self.ask(session(), Body::Client(request))
    }

    pub fn put(&mut self, request: PutRequest) -> Vec<Envelope> {
        self.client(ClientRequest::Put(request))
    }

    pub fn get(&mut self, request: GetRequest) -> Vec<Envelope> {
        self.client(ClientRequest::Get(request))
    }

    pub fn forwarded(&mut self, request: PutRequest) -> Vec<Envelope> {
        self.ask(coordinator_of(2), Body::ForwardPut(request))
    }

    /// Answers a request that was sent.
    pub fn answer(&mut self, request: &Envelope, body: Body) -> Vec<Envelope> {
        let envelope = Envelope { from: request.to, to: request.from, body, ..request.clone() };
        self.handle(Event::Message(envelope))
    }

    pub fn refuse(&mut self, request: &Envelope, refusal: Refusal) -> Vec<Envelope> {
        self.answer(request, Body::Refused(refusal))
    }

    pub fn durable(&mut self, request: &Envelope) -> Vec<Envelope> {
        self.answer(request, Body::Replicated(ReplicaReply::Durable))
    }

    pub fn held(&mut self, request: &Envelope) -> Vec<Envelope> {
        self.answer(request, Body::Replicated(ReplicaReply::Held))
    }

    pub fn minted(&mut self, request: &Envelope, state: &KeyState) -> Vec<Envelope> {
        let state = state.encode();
        self.answer(request, Body::Replicated(ReplicaReply::Minted { state, round: Round(0) }))
    }

    pub fn full(&mut self, request: &Envelope, state: &KeyState) -> Vec<Envelope> {
        let state = state.encode();
        self.answer(request, Body::Replicated(ReplicaReply::State { state, round: Round(0) }))
    }

    pub fn digest(&mut self, request: &Envelope, state: &KeyState) -> Vec<Envelope> {
        let digest = state.digest();
        self.answer(request, Body::Replicated(ReplicaReply::Digest { digest, round: Round(0) }))
    }
}

/// All peers of node 1, as membership tells of them.
pub fn peers(states: &BTreeMap<u8, PeerState>) -> Peers {
    let view = |state| PeerView { address: "127.0.0.1:1".parse().unwrap(), state, incarnation: 1 };
    states.iter().map(|(n, state)| (node(*n), view(*state))).collect()
}

/// What was sent, in short: the node, and what it was asked.
pub fn brief(sent: &[Envelope]) -> Vec<(u8, &'static str)> {
    let what = |body: &Body| match body {
        Body::Replicate(ReplicaRequest::MintVersion { .. }) => "mint",
        Body::Replicate(ReplicaRequest::StoreState { .. }) => "store",
        Body::Replicate(ReplicaRequest::ReadState { want: anser_proto::replicate::Want::Full, .. }) => "full",
        Body::Replicate(ReplicaRequest::ReadState { want: anser_proto::replicate::Want::Digest, .. }) => {
            "digest"
        }
        other => other.name(),
    };
    sent.iter().map(|envelope| (envelope.to.node.0[0], what(&envelope.body))).collect()
}

/// The answer to the client: the last of what was sent.
pub fn outcome(sent: &[Envelope]) -> Outcome {
    let last = sent.last().expect("nothing was sent");
    assert_eq!((last.op, last.from), (OpId { life: 0, seq: 77 }, coordinator_of(1)));
    match (&last.to.role, &last.body) {
        (Role::Session, Body::ClientReply(reply)) | (Role::Coordinator, Body::ForwardPutReply(reply)) => {
            assert!(reply.clock >= Hlc::from_ms(WALL_MS));
            reply.outcome.clone()
        }
        other => panic!("no answer to the asker: {other:?}"),
    }
}

pub const LEVEL_ALL: Option<Level> = Some(Level::All);
