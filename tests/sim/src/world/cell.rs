//! One actor of one node, hosted as the node's own host does it: a machine, its life, the requests it was handed and has
//! not answered, the newest facts for a rebuilt one.

use crate::twin::Twin;
use anser_compactor::Compactor;
use anser_coordinator::Coordinator;
use anser_machine::{CopiesSummary, Event, Fact, Feedback, FolderTrust, Machine, Peers, TableSummary};
use anser_membership::Membership;
use anser_model::Step;
use anser_model::ring::Record;
use anser_proto::replicate::ReplicaReply;
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Tick};
use anser_replica::Replica;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often requests past their deadlines are looked for, as the host has it.
const EXPIRE_EVERY_MS: u64 = 1000;

/// A production machine.
pub(crate) enum Actor {
    Membership(Box<Membership>),
    Coordinator(Box<Coordinator>),
    Replica(Box<Replica>),
    Compactor(Box<Compactor>),
}

impl Actor {
    /// The machine.
    pub fn machine(&mut self) -> &mut dyn Machine {
        match self {
            Actor::Membership(machine) => machine.as_mut(),
            Actor::Coordinator(machine) => machine.as_mut(),
            Actor::Replica(machine) => machine.as_mut(),
            Actor::Compactor(machine) => machine.as_mut(),
        }
    }

    /// The machine alone.
    pub fn into_machine(self) -> Box<dyn Machine> {
        match self {
            Actor::Membership(machine) => machine,
            Actor::Coordinator(machine) => machine,
            Actor::Replica(machine) => machine,
            Actor::Compactor(machine) => machine,
        }
    }
}

/// What comes into an actor's mailbox.
#[derive(Debug)]
pub(crate) enum Mail {
    Message(Box<Envelope>),
    Fact(Fact),
    /// Answers of the disk to this life's requests.
    Feedback(u32, Box<Feedback>),
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    to: Address,
    step: Step,
    deadline: Tick,
    copies: usize,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Cell {
    /// None while it pauses after a panic.
    pub actor: Option<Actor>,
    /// Its machine's twin, if there are to be some.
    pub twin: Option<Twin>,
    pub life: u32,
    /// When its timer goes off, in virtual time.
    pub wake: Option<u64>,
    /// How much is in its mailbox.
    pub queued: usize,
    /// What came in while there was no machine.
    pub held: Vec<Mail>,
    /// Whether its next step panics.
    pub panics: bool,
    pub panicked: u32,
    /// Whether the present machine has heard that its disk has failed.
    pub disk_failed: bool,
    waiting: BTreeMap<(Address, OpId), Waiting>,
    expire_at: Tick,
    ring: Option<Arc<Record>>,
    peers: Option<Arc<Peers>>,
    shards: BTreeMap<u32, bool>,
    copies: BTreeMap<u32, Arc<CopiesSummary>>,
    tables: BTreeMap<u32, Arc<[TableSummary]>>,
    grown: BTreeMap<u32, Option<u64>>,
    folder: Option<FolderTrust>,
}

impl Cell {
    /// Takes a fact in, in place of the one of its kind before it.
    pub fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::LogGrown { shard, records } => {
                self.grown.insert(*shard, *records);
            }
            Fact::FolderJudged(trust) => self.folder = Some(*trust),
            Fact::RingAdopted(record) => self.ring = Some(record.clone()),
            Fact::PeersChanged(peers) => self.peers = Some(peers.clone()),
            Fact::ShardChanged { shard, serving } => {
                self.shards.insert(*shard, *serving);
            }
            Fact::CopiesChanged { shard, copies } => {
                self.copies.insert(*shard, copies.clone());
            }
            Fact::TablesChanged { shard, tables } => {
                self.tables.insert(*shard, tables.clone());
            }
            Fact::RoomChanged(_) | Fact::PeerSeen { .. } => {}
        }
    }

    /// All that a rebuilt machine is told.
    pub fn facts(&self) -> Vec<Event> {
        let ring = self.ring.iter().cloned().map(Fact::RingAdopted);
        let peers = self.peers.iter().cloned().map(Fact::PeersChanged);
        let shards = self.shards.iter().map(|(&shard, &serving)| Fact::ShardChanged { shard, serving });
        let copies =
            self.copies.iter().map(|(&shard, copies)| Fact::CopiesChanged { shard, copies: copies.clone() });
        let tables =
            self.tables.iter().map(|(&shard, tables)| Fact::TablesChanged { shard, tables: tables.clone() });
        let grown = self.grown.iter().map(|(&shard, &records)| Fact::LogGrown { shard, records });
        let folder = self.folder.iter().copied().map(Fact::FolderJudged);
        let wholes = ring.chain(peers).chain(folder);
        wholes.chain(shards).chain(copies).chain(tables).chain(grown).map(Event::Fact).collect()
    }

    /// How many requests it was handed and has not answered.
    pub fn requests(&self) -> usize {
        self.waiting.len()
    }

    /// Notes a request that the machine is handed.
    pub fn note(&mut self, request: &Envelope) {
        let waiting = self.waiting.entry((request.from, request.op)).or_insert(Waiting {
            to: request.to,
            step: request.step,
            deadline: request.deadline,
            copies: 0,
        });
        waiting.deadline = waiting.deadline.max(request.deadline);
        waiting.copies += 1;
    }

    /// Notes what the machine sends: the last answer to a request ends it.
    pub fn sent(&mut self, answer: &Envelope) {
        if !is_last_answer(&answer.body) {
            return;
        }
        let asked = (answer.to, answer.op);
        if let Some(waiting) = self.waiting.get_mut(&asked) {
            waiting.copies -= 1;
            if waiting.copies == 0 {
                self.waiting.remove(&asked);
            }
        }
    }

    /// Forgets, now and then, the requests that nobody waits for any more.
    pub fn expire_if_due(&mut self, now: Tick) {
        if now >= self.expire_at {
            self.expire_at = now.plus_ms(EXPIRE_EVERY_MS);
            self.expire(now);
        }
    }

    /// Forgets the requests that nobody waits for any more.
    pub fn expire(&mut self, now: Tick) {
        self.waiting.retain(|_, waiting| waiting.deadline >= now);
    }

    /// The machine is gone: answers for all that waited.
    pub fn crash(&mut self) -> Vec<Envelope> {
        let waiting = std::mem::take(&mut self.waiting);
        let answer = |((from, op), waiting): ((Address, OpId), Waiting)| Envelope {
            from: waiting.to,
            to: from,
            op,
            step: waiting.step,
            deadline: waiting.deadline,
            body: Body::Refused(Refusal::Crashed),
        };
        waiting.into_iter().map(answer).collect()
    }
}

/// Whether no other answer to the same request follows this message.
fn is_last_answer(body: &Body) -> bool {
    match body {
        Body::Replicated(ReplicaReply::Minted { .. }) | Body::Gossip(_) => false,
        Body::Replicated(
            ReplicaReply::Durable
            | ReplicaReply::Held
            | ReplicaReply::State { .. }
            | ReplicaReply::Digest { .. }
            | ReplicaReply::Page { .. },
        )
        | Body::ForwardPutReply(_)
        | Body::ClientReply(_)
        | Body::AdminReply(_)
        | Body::Refused(_) => true,
        Body::Replicate(_) | Body::ForwardPut(_) | Body::Client(_) | Body::Admin(_) => false,
    }
}

/// The answer to a request that is not taken in.
pub(crate) fn refusal(request: &Envelope, refusal: Refusal) -> Envelope {
    let (from, to) = (request.to, request.from);
    Envelope {
        from,
        to,
        op: request.op,
        step: request.step,
        deadline: request.deadline,
        body: Body::Refused(refusal),
    }
}
