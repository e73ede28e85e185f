//! The machine: takes requests, hands answers to their operations, wakes them in time, and answers the askers.
//!
//! Keeps: every request is answered once, a little before its asker stops waiting; operations are bounded in number, and
//! none outlives its deadline.

use crate::config::Config;
use crate::failure::outcome_kind;
use crate::get::Get;
use crate::put::{Minters, Order, Put};
use crate::route::Ring;
use crate::timers::{OpNumber, Timers};
use crate::validate::{get_order, put_order};
use crate::view::{Generation, Turn, Verdict, View, addressed, answer_by};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_machine::{CopiesSummary, Count, Event, Fact, Machine, Now, Op, Outbox, Peers};
use anser_model::ring::Record;
use anser_model::state::Body as ValueBody;
use anser_model::{KeyspaceId, PartitionId};
use anser_proto::client::{ClientReply, ClientRequest, Failure, GetRequest, Outcome, PutRequest};
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Role, Tick};

/// Quorums of puts, gets and deletes. See the crate's documentation.
#[derive(Debug)]
pub struct Coordinator {
    view: View,
    operations: BTreeMap<OpNumber, Operation>,
    timers: Timers,
    last: OpNumber,
    /// How this node's copies are, by shard.
    copies: BTreeMap<u32, Arc<CopiesSummary>>,
}

/// Whom to answer, and what is counted of it.
#[derive(Clone, Copy, Debug)]
struct Asker {
    address: Address,
    op: OpId,
    deadline: Tick,
    since: Tick,
    asks: Op,
    keyspace: Option<KeyspaceId>,
}

#[derive(Debug)]
enum Work {
    Put(Box<Put>),
    Get(Box<Get>),
}

#[derive(Debug)]
struct Operation {
    asker: Asker,
    /// Its entry among the timers.
    wakes_at: Tick,
    work: Work,
}

impl Work {
    fn wakes_at(&self) -> Tick {
        match self {
            Work::Put(put) => put.wakes_at(),
            Work::Get(get) => get.wakes_at(),
        }
    }

    fn on_answer(
        &mut self,
        from: Address,
        generation: Generation,
        body: Body,
        turn: &mut Turn<'_>,
    ) -> Verdict {
        match self {
            Work::Put(put) => put.on_answer(from, generation, body, turn),
            Work::Get(get) => get.on_answer(from, generation, body, turn),
        }
    }

    fn on_time(&mut self, turn: &mut Turn<'_>) -> Verdict {
        match self {
            Work::Put(put) => put.on_time(turn),
            Work::Get(get) => get.on_time(turn),
        }
    }

    fn on_deaths(&mut self, turn: &mut Turn<'_>) -> Verdict {
        match self {
            Work::Put(put) => put.on_deaths(turn),
            Work::Get(get) => get.on_deaths(turn),
        }
    }

    fn on_loss(&mut self, lost: &BTreeSet<PartitionId>, turn: &mut Turn<'_>) -> Verdict {
        match self {
            Work::Put(put) => put.on_loss(lost, turn),
            Work::Get(get) => get.on_loss(lost, turn),
        }
    }

    fn on_ring(&mut self, turn: &mut Turn<'_>) -> Verdict {
        match self {
            Work::Put(put) => put.on_ring(turn),
            Work::Get(get) => get.on_ring(turn),
        }
    }
}

impl Operation {
    /// When it is to be woken: past now, so that waking all that is due ends, whatever an operation asks for.
    fn wakes_after(&self, now: Now) -> Tick {
        self.work.wakes_at().max(now.tick.plus_us(1))
    }
}

impl Machine for Coordinator {
    fn handle(&mut self, now: Now, event: Event, out: &mut Outbox) {
        self.view.follow(now.wall_ms, None);
        match event {
            Event::Message(envelope) => self.on_message(now, envelope, out),
            Event::Fact(Fact::RingAdopted(record)) => self.on_ring(now, record, out),
            Event::Fact(Fact::PeersChanged(peers)) => self.on_peers(now, peers, out),
            Event::Fact(Fact::CopiesChanged { shard, copies }) => self.on_copies(now, shard, copies, out),
            Event::Fact(
                Fact::ShardChanged { .. }
                | Fact::TablesChanged { .. }
                | Fact::RoomChanged(_)
                | Fact::LogGrown { .. }
                | Fact::FolderJudged(_)
                | Fact::PeerSeen { .. },
            )
            | Event::Own(_) => {}
        }
    }

    fn next_timeout(&self) -> Option<(Tick, &'static str)> {
        self.timers.next().map(|at| (at, "operation"))
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Outbox) {
        self.view.follow(now.wall_ms, None);
        while let Some(op) = self.timers.pop_due(now.tick) {
            let Some(operation) = self.operations.get_mut(&op) else { continue };
            let verdict = operation.work.on_time(&mut Turn { view: &mut self.view, now, out });
            operation.wakes_at = operation.wakes_after(now);
            self.timers.add(operation.wakes_at, op);
            self.settle(op, verdict, now, out);
        }
    }
}

impl Coordinator {
    /// One that knows nothing yet: facts tell it the ring and the peers.
    pub fn new(config: Config) -> Coordinator {
        Coordinator {
            view: View::new(config),
            operations: BTreeMap::new(),
            timers: Timers::default(),
            last: 0,
            copies: BTreeMap::new(),
        }
    }

    /// How many operations are under way.
    pub fn inflight(&self) -> usize {
        self.operations.len()
    }

    fn on_message(&mut self, now: Now, envelope: Envelope, out: &mut Outbox) {
        let Envelope { from, op, step, deadline, body, .. } = envelope;
        let asker = Asker { address: from, op, deadline, since: now.tick, asks: Op::Get, keyspace: None };
        match (from.role, body) {
            (Role::Session, Body::Client(ClientRequest::Put(request))) => {
                self.put(asker, Minters::Any, request, now, out);
            }
            (Role::Session, Body::Client(ClientRequest::Get(request))) => self.get(asker, request, now, out),
            (Role::Coordinator, Body::ForwardPut(_))
                if step > self.view.step() && self.view.ring.is_some() =>
            {
                let own = self.view.step();
                self.send(asker, Body::Refused(Refusal::FutureStep(own)), out);
            }
            (Role::Coordinator, Body::ForwardPut(request)) => {
                self.put(asker, Minters::Own, request, now, out)
            }
            (_, body @ (Body::Replicated(_) | Body::ForwardPutReply(_) | Body::Refused(_))) => {
                self.on_answer(from, op, body, now, out);
            }
            (_, Body::Client(_) | Body::ForwardPut(_) | Body::Replicate(_) | Body::Admin(_)) => {
                self.send(asker, Body::Refused(Refusal::NotAllowed), out);
            }
            (_, Body::Gossip(_) | Body::ClientReply(_) | Body::AdminReply(_)) => {}
        }
    }

    fn on_answer(&mut self, from: Address, op: OpId, body: Body, now: Now, out: &mut Outbox) {
        let (number, generation) = addressed(op.seq);
        if op.life != self.view.config.life {
            return;
        }
        let Some(operation) = self.operations.get_mut(&number) else { return };
        let mut turn = Turn { view: &mut self.view, now, out };
        let verdict = operation.work.on_answer(from, generation, body, &mut turn);
        self.settle(number, verdict, now, out);
    }

    fn on_ring(&mut self, now: Now, record: Arc<Record>, out: &mut Outbox) {
        if record.step <= self.view.step() {
            return;
        }
        self.view.latency.retain(|node| record.entry(node).is_some());
        self.view.ring = Some(Ring::new(record, self.view.config.dc.clone()));
        self.each(now, out, Work::on_ring);
    }

    fn on_peers(&mut self, now: Now, peers: Arc<Peers>, out: &mut Outbox) {
        let before = core::mem::replace(&mut self.view.peers, peers);
        let died = |(node, _): (&anser_model::NodeId, _)| {
            let was = before.get(node).map(|peer| peer.state);
            self.view.is_dead(node) && was.is_none_or(|was| was != anser_proto::gossip::PeerState::Dead)
        };
        if self.view.peers.iter().any(died) {
            self.each(now, out, Work::on_deaths);
        }
    }

    fn on_copies(&mut self, now: Now, shard: u32, copies: Arc<CopiesSummary>, out: &mut Outbox) {
        let before = self.copies.insert(shard, copies.clone());
        if before.map_or(!copies.losses.is_empty(), |before| before.losses != copies.losses) {
            self.each(now, out, |work, turn| work.on_loss(&copies.joining, turn));
        }
    }

    /// Lets every operation act on what changed. Rare, so a pass over all of them is affordable.
    fn each(&mut self, now: Now, out: &mut Outbox, act: impl Fn(&mut Work, &mut Turn<'_>) -> Verdict) {
        let operations: Vec<OpNumber> = self.operations.keys().copied().collect();
        for op in operations {
            let Some(operation) = self.operations.get_mut(&op) else { continue };
            let verdict = act(&mut operation.work, &mut Turn { view: &mut self.view, now, out });
            self.settle(op, verdict, now, out);
        }
    }

    fn put(&mut self, asker: Asker, minters: Minters, request: PutRequest, now: Now, out: &mut Outbox) {
        let asks = match request.body {
            ValueBody::Value(_) => Op::Put,
            ValueBody::Tombstone => Op::Delete,
        };
        let mut asker = Asker { asks, ..asker };
        self.view.follow(now.wall_ms, Some(request.issued));
        let answer_by = match self.admit(&asker, now) {
            Ok(answer_by) => answer_by,
            Err(failure) => return self.answer(asker, Outcome::Failed(failure), now, out),
        };
        let (served, plan, seen) = match put_order(&mut self.view, &request) {
            Ok(order) => order,
            Err(failure) => return self.answer(asker, Outcome::Failed(failure), now, out),
        };
        asker.keyspace = Some(served.id);
        if minters == Minters::Own && !plan.has_seat(&self.view.config.me) {
            return self.send(asker, Body::Refused(Refusal::NotServing), out);
        }
        let op = self.next_number();
        let order = Order { op, answer_by, served, request, seen, plan, minters };
        let (put, verdict) = Put::start(order, &mut Turn { view: &mut self.view, now, out });
        self.add(op, asker, Work::Put(Box::new(put)), verdict, now, out);
    }

    fn get(&mut self, mut asker: Asker, request: GetRequest, now: Now, out: &mut Outbox) {
        let answer_by = match self.admit(&asker, now) {
            Ok(answer_by) => answer_by,
            Err(failure) => return self.answer(asker, Outcome::Failed(failure), now, out),
        };
        let (served, plan) = match get_order(&mut self.view, &request) {
            Ok(order) => order,
            Err(failure) => return self.answer(asker, Outcome::Failed(failure), now, out),
        };
        asker.keyspace = Some(served.id);
        let op = self.next_number();
        let mut get = Get::new(op, answer_by, served, request, plan, now.tick);
        let verdict = get.begin(&mut Turn { view: &mut self.view, now, out });
        self.add(op, asker, Work::Get(Box::new(get)), verdict, now, out);
    }

    /// Whether there is room and time for another operation; if so, when it is to be answered.
    fn admit(&self, asker: &Asker, now: Now) -> Result<Tick, Failure> {
        if self.view.ring.is_none() {
            return Err(Failure::NotReady);
        }
        let answer_by = answer_by(now.tick, asker.deadline);
        let room = self.operations.len() < self.view.config.inflight_max;
        if room && answer_by > now.tick { Ok(answer_by) } else { Err(Failure::Overloaded) }
    }

    fn next_number(&mut self) -> OpNumber {
        self.last += 1;
        self.last
    }

    fn add(&mut self, op: OpNumber, asker: Asker, work: Work, verdict: Verdict, now: Now, out: &mut Outbox) {
        match verdict {
            Verdict::Wait => {
                let wakes_at = work.wakes_at();
                self.timers.add(wakes_at, op);
                self.operations.insert(op, Operation { asker, wakes_at, work });
            }
            Verdict::Done(outcome) => self.answer(asker, outcome, now, out),
        }
    }

    /// After a step of an operation: it is answered and gone, or its timer moved up if need be.
    fn settle(&mut self, op: OpNumber, verdict: Verdict, now: Now, out: &mut Outbox) {
        match verdict {
            Verdict::Wait => {
                let Some(operation) = self.operations.get_mut(&op) else { return };
                let wakes_at = operation.wakes_after(now);
                // A later time is not worth the move: it is woken in vain, and then moved.
                if wakes_at < operation.wakes_at {
                    self.timers.remove(operation.wakes_at, op);
                    self.timers.add(wakes_at, op);
                    operation.wakes_at = wakes_at;
                }
            }
            Verdict::Done(outcome) => {
                let Some(operation) = self.operations.remove(&op) else { return };
                self.timers.remove(operation.wakes_at, op);
                self.answer(operation.asker, outcome, now, out);
            }
        }
    }

    /// Answers, and counts what clients asked (once, where they asked it).
    fn answer(&self, asker: Asker, outcome: Outcome, now: Now, out: &mut Outbox) {
        let is_client = asker.address.role == Role::Session;
        if is_client {
            if let Outcome::Failed(Failure::Unknown { .. } | Failure::Unavailable { .. }) = &outcome {
                out.count(Count::QuorumShortfall(asker.asks));
            }
            let us = now.tick.since_us(asker.since);
            let outcome = outcome_kind(&outcome);
            out.count(Count::Request { op: asker.asks, keyspace: asker.keyspace, outcome, us });
        }
        let reply = ClientReply { clock: self.view.clock(), outcome };
        let body = if is_client { Body::ClientReply(reply) } else { Body::ForwardPutReply(reply) };
        self.send(asker, body, out);
    }

    fn send(&self, asker: Asker, body: Body, out: &mut Outbox) {
        out.send(Envelope {
            from: self.view.address(),
            to: asker.address,
            op: asker.op,
            step: self.view.step(),
            deadline: asker.deadline,
            body,
        });
    }
}
