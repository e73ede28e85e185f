//! One machine, stepped by hand: what the host promises, said once more without actors, threads or timers.
//!
//! A message from the mailbox is a drain: the timeout if it is due, up to the budget's steps, the timeout if it is due. A
//! step that panics has no effects; all that the machine was handed and did not answer is answered; after a pause the
//! machine of the next life is told the newest facts, has its timeout, and goes on with the rest of the message. A timer
//! goes off at the first millisecond at which it is due, and not in the one in which it was set.

use crate::stage::{Call, Entry, ms_of, now_at};
use anser_host::{Factory, HostConfig};
use anser_machine::{
    CopiesSummary, Effect, Event, Fact, Feedback, FolderTrust, Machine, Now, Outbox, Peers, Room,
    TableSummary,
};
use anser_model::NodeId;
use anser_model::ring::Record;
use anser_proto::replicate::ReplicaReply;
use anser_proto::{Address, Body, Envelope, OpId, Refusal};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What waits in the mailbox.
enum Mail {
    Envelopes(Vec<Envelope>),
    Feedback(u32, Vec<Feedback>),
    Facts,
}

/// The newest of each kind.
#[derive(Default)]
struct Newest {
    ring: Option<Arc<Record>>,
    peers: Option<Arc<Peers>>,
    shards: BTreeMap<u32, bool>,
    copies: BTreeMap<u32, Arc<CopiesSummary>>,
    tables: BTreeMap<u32, Arc<[TableSummary]>>,
    room: Option<Room>,
    grown: BTreeMap<u32, Option<u64>>,
    folder: Option<FolderTrust>,
    seen: BTreeMap<SocketAddr, NodeId>,
}

impl Newest {
    fn learn(&mut self, fact: Fact) {
        match fact {
            Fact::RingAdopted(record) => self.ring = Some(record),
            Fact::PeersChanged(peers) => self.peers = Some(peers),
            Fact::ShardChanged { shard, serving } => {
                self.shards.insert(shard, serving);
            }
            Fact::CopiesChanged { shard, copies } => {
                self.copies.insert(shard, copies);
            }
            Fact::TablesChanged { shard, tables } => {
                self.tables.insert(shard, tables);
            }
            Fact::RoomChanged(room) => self.room = Some(room),
            Fact::LogGrown { shard, records } => {
                self.grown.insert(shard, records);
            }
            Fact::FolderJudged(trust) => self.folder = Some(trust),
            Fact::PeerSeen { node, address } => {
                self.seen.insert(address, node);
            }
        }
    }

    fn all(&self) -> Vec<Fact> {
        let ring = self.ring.iter().cloned().map(Fact::RingAdopted);
        let peers = self.peers.iter().cloned().map(Fact::PeersChanged);
        let shards = self.shards.iter().map(|(&shard, &serving)| Fact::ShardChanged { shard, serving });
        let copies =
            self.copies.iter().map(|(&shard, copies)| Fact::CopiesChanged { shard, copies: copies.clone() });
        let tables =
            self.tables.iter().map(|(&shard, tables)| Fact::TablesChanged { shard, tables: tables.clone() });
        let room = self.room.iter().copied().map(Fact::RoomChanged);
        let grown = self.grown.iter().map(|(&shard, &records)| Fact::LogGrown { shard, records });
        let folder = self.folder.iter().copied().map(Fact::FolderJudged);
        let seen = self.seen.iter().map(|(&address, &node)| Fact::PeerSeen { node, address });
        let wholes = ring.chain(peers).chain(room).chain(folder);
        wholes.chain(shards).chain(copies).chain(tables).chain(grown).chain(seen).collect()
    }
}

/// A step panicked.
struct Panicked;

/// See the module.
pub struct Cast {
    config: HostConfig,
    factory: Factory,
    life: u32,
    machine: Option<Box<dyn Machine>>,
    mailbox: VecDeque<Mail>,
    /// What is left of the message that is being handled.
    rest: VecDeque<Event>,
    bulletin: Newest,
    facts: Newest,
    budget: u32,
    /// Requests without their last answers, and how many copies of each.
    waiting: BTreeMap<(Address, OpId), (Envelope, usize)>,
    /// When the timer goes off.
    wake: Option<u64>,
    /// When the machine is built.
    build: Option<u64>,
    crashes: Vec<u64>,
    pub restarts: u64,
    pub said: Vec<Call>,
}

impl Cast {
    pub fn new(config: HostConfig, factory: Factory, now: u64) -> Cast {
        Cast {
            life: config.life_first,
            budget: config.yield_every,
            config,
            factory,
            machine: None,
            mailbox: VecDeque::new(),
            rest: VecDeque::new(),
            bulletin: Newest::default(),
            facts: Newest::default(),
            waiting: BTreeMap::new(),
            wake: None,
            build: Some(now),
            crashes: Vec::new(),
            restarts: 0,
            said: Vec::new(),
        }
    }

    /// When something is due next.
    pub fn due(&self) -> Option<u64> {
        if self.machine.is_some() { self.wake } else { self.build }
    }

    pub fn hand(&mut self, entry: Entry) {
        match entry {
            Entry::Deliver(batch) => self.mailbox.push_back(Mail::Envelopes(batch)),
            Entry::Feed(life, batch) if life == self.life => {
                self.mailbox.push_back(Mail::Feedback(life, batch));
            }
            Entry::Feed(..) => {}
            Entry::Tell(fact) => {
                if self.bulletin.all().is_empty() {
                    self.mailbox.push_back(Mail::Facts);
                }
                self.bulletin.learn(fact);
            }
        }
    }

    /// Does what is due.
    pub fn go_on(&mut self, ms: u64) {
        if self.machine.is_none() && self.build.is_some_and(|at| at <= ms) {
            self.build_at(ms);
        }
        if self.machine.is_some() && self.wake.is_some_and(|at| at <= ms) {
            self.drain(ms, Vec::new());
        }
        while self.machine.is_some()
            && let Some(mail) = self.mailbox.pop_front()
        {
            self.open(mail);
            self.drain(ms, Vec::new());
        }
    }

    fn open(&mut self, mail: Mail) {
        self.rest = match mail {
            Mail::Envelopes(batch) => batch.into_iter().map(Event::Message).collect(),
            Mail::Feedback(life, batch) if life == self.life => batch.into_iter().map(Event::Own).collect(),
            Mail::Feedback(..) => VecDeque::new(),
            Mail::Facts => {
                let news = std::mem::take(&mut self.bulletin).all();
                news.iter().cloned().for_each(|fact| self.facts.learn(fact));
                self.facts.seen.clear();
                news.into_iter().map(Event::Fact).collect()
            }
        };
    }

    fn build_at(&mut self, ms: u64) {
        self.build = None;
        match catch_unwind(AssertUnwindSafe(|| (self.factory)(self.life))) {
            Ok(machine) => {
                self.machine = Some(machine);
                self.budget = self.config.yield_every;
                self.drain(ms, self.facts.all());
            }
            Err(_) => self.crash(ms),
        }
    }

    /// Handles the rest of the message; others' turns make no difference but to the budget.
    fn drain(&mut self, ms: u64, replay: Vec<Fact>) {
        let mut replay = Some(replay);
        loop {
            let now = now_at(ms);
            if let Err(Panicked) = self.slice(now, replay.take().unwrap_or_default()) {
                return self.crash(ms);
            }
            let wish = self.machine.as_ref().and_then(|machine| machine.next_timeout());
            self.wake = wish.map(|(at, _)| ms_of(at).max(ms + 1));
            if self.budget > 0 && self.rest.is_empty() {
                return;
            }
            self.budget = self.config.yield_every;
        }
    }

    fn slice(&mut self, now: Now, replay: Vec<Fact>) -> Result<(), Panicked> {
        for fact in replay {
            self.step(now, Some(Event::Fact(fact)))?;
        }
        self.time_out_if_due(now)?;
        while self.budget > 0
            && let Some(event) = self.rest.pop_front()
        {
            self.take(now, event)?;
        }
        self.time_out_if_due(now)
    }

    fn take(&mut self, now: Now, event: Event) -> Result<(), Panicked> {
        if let Event::Message(envelope) = &event
            && envelope.body.is_request()
        {
            if envelope.deadline < now.tick {
                self.said.push(Call::Send(refusal(envelope, Refusal::Busy)));
                self.budget -= 1;
                return Ok(());
            }
            let waiting = self.waiting.entry((envelope.from, envelope.op));
            let (request, copies) = waiting.or_insert_with(|| (envelope.clone(), 0));
            request.deadline = request.deadline.max(envelope.deadline);
            *copies += 1;
        }
        self.step(now, Some(event))
    }

    fn time_out_if_due(&mut self, now: Now) -> Result<(), Panicked> {
        let wish = self.machine.as_ref().and_then(|machine| machine.next_timeout());
        if wish.is_some_and(|(at, _)| at <= now.tick) { self.step(now, None) } else { Ok(()) }
    }

    /// One step: of an event, or of time.
    fn step(&mut self, now: Now, event: Option<Event>) -> Result<(), Panicked> {
        self.budget = self.budget.saturating_sub(1);
        let Some(machine) = &mut self.machine else { return Ok(()) };
        let mut out = Outbox::new();
        let stepped = catch_unwind(AssertUnwindSafe(|| match event {
            Some(event) => machine.handle(now, event, &mut out),
            None => machine.handle_timeout(now, &mut out),
        }));
        if stepped.is_err() {
            return Err(Panicked);
        }
        for effect in out.drain() {
            self.said.push(match effect {
                Effect::Publish(fact) => Call::Publish(fact),
                Effect::Count(count) => Call::Count(count),
                Effect::Disk(request) => Call::Disk(self.life, request),
                Effect::Send(envelope) => {
                    answered(&mut self.waiting, &envelope);
                    Call::Send(envelope)
                }
            });
        }
        Ok(())
    }

    fn crash(&mut self, ms: u64) {
        self.machine = None;
        self.wake = None;
        self.life = self.life.wrapping_add(1);
        self.restarts += 1;
        if matches!(self.rest.front(), Some(Event::Own(_))) {
            self.rest.clear();
        }
        for (request, _) in std::mem::take(&mut self.waiting).into_values() {
            self.said.push(Call::Send(refusal(&request, Refusal::Crashed)));
        }
        let policy = self.config.restart;
        self.crashes.retain(|at| ms - at <= policy.window_ms);
        self.crashes.push(ms);
        let doubled = policy.backoff_min_ms << (self.crashes.len() - 1).min(32);
        self.build = Some(ms + doubled.min(policy.backoff_max_ms));
    }
}

/// Notes that a request has its last answer, if this is that.
fn answered(waiting: &mut BTreeMap<(Address, OpId), (Envelope, usize)>, answer: &Envelope) {
    let body = &answer.body;
    let more_follows = matches!(body, Body::Gossip(_) | Body::Replicated(ReplicaReply::Minted { .. }));
    if body.is_request() || more_follows {
        return;
    }
    let asked = (answer.to, answer.op);
    if let Some((_, copies)) = waiting.get_mut(&asked) {
        *copies -= 1;
        if *copies == 0 {
            waiting.remove(&asked);
        }
    }
}

fn refusal(request: &Envelope, why: Refusal) -> Envelope {
    Envelope { from: request.to, to: request.from, body: Body::Refused(why), ..request.clone() }
}
