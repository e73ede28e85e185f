//! One put (or delete) from its validation to its answer.
//!
//! Keeps I-7, I-10 and I-11: "failed" only while no attempt is open, success only when every placement's need is met by
//! acknowledgements (in a keyspace of durability `interval` from memory too), and a receipt that calls durable what is.

mod mint;

use crate::config::MARGIN_US_MAX;
use crate::copies::{Acks, Copying, possible};
use crate::failure::{MintAnswer, answers_retries, of_failure, of_refusal, small, tiny};
use crate::route::{Plan, Served};
use crate::timers::{OpNumber, earlier};
use crate::view::{Asking, Generation, Turn, Verdict, View};
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_model::ring::Durability;
use anser_model::state::{Seen, Write};
use anser_model::{KeyState, KeyspaceId, Need, NodeId, PartitionId, Round, Step, Token};
use anser_proto::client::{ClientReply, Failure, Outcome, PutReceipt, PutReply, PutRequest};
use anser_proto::replicate::{Place, ReplicaReply, ReplicaRequest, Want};
use anser_proto::{Address, Body, Refusal, Role, Tick};
use bytes::Bytes;
use mint::{Minting, Next, minters};

/// Who may mint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Minters {
    /// Any replica: the request is a client's.
    Any,
    /// This node's copy: another coordinator chose it.
    Own,
}

/// A put under way.
#[derive(Debug)]
pub(crate) struct Put {
    op: OpNumber,
    answer_by: Tick,
    generation: Generation,
    keyspace: KeyspaceId,
    durability: Durability,
    request: PutRequest,
    seen: Seen,
    plan: Arc<Plan>,
    minters: Minters,
    minting: Minting,
    acks: Acks,
    /// Most acknowledgements that another coordinator told of.
    heard: u32,
    /// Once minted here.
    copying: Option<Copying>,
}

/// What a write has seen where an attempt before may have minted it. What came after that attempt may have superseded it, and
/// is not to be superseded in turn: merged, each would settle the other, and both would be gone. So a retry without a token
/// supersedes nothing. What a token showed was there before the first attempt.
fn seen_by_retry(seen: &Seen) -> Seen {
    match seen {
        Seen::Present | Seen::Nothing => Seen::Nothing,
        Seen::Token { .. } => seen.clone(),
    }
}

/// What a put starts from: a request found good.
pub(crate) struct Order {
    pub op: OpNumber,
    pub answer_by: Tick,
    pub served: Served,
    pub request: PutRequest,
    pub seen: Seen,
    pub plan: Arc<Plan>,
    pub minters: Minters,
}

impl Put {
    /// Begins: has it minted, if the level can be met by those who seem alive.
    pub fn start(order: Order, turn: &mut Turn<'_>) -> (Put, Verdict) {
        let Order { op, answer_by, served, request, seen, plan, minters } = order;
        let mut put = Put {
            op,
            answer_by,
            generation: Generation::default(),
            keyspace: served.id,
            durability: served.durability,
            minting: Minting::new(Vec::new(), answer_by.since_us(turn.now.tick)),
            request,
            seen,
            plan,
            minters,
            acks: Acks::default(),
            heard: 0,
            copying: None,
        };
        if !put.is_possible(turn.view) {
            let unavailable = put.unavailable(turn.view);
            return (put, Verdict::failed(unavailable));
        }
        put.minting.reroute(put.minters(turn.view), turn.now.tick);
        let verdict = put.advance(turn);
        (put, verdict)
    }

    /// When it wants to be woken.
    pub fn wakes_at(&self) -> Tick {
        let minting = if self.copying.is_none() { self.minting.wakes_at() } else { None };
        let copying = self.copying.as_ref().and_then(Copying::wakes_at);
        earlier(minting, copying).map_or(self.answer_by, |at| at.min(self.answer_by))
    }

    /// An answer to one of its requests.
    pub fn on_answer(
        &mut self,
        from: Address,
        generation: Generation,
        body: Body,
        turn: &mut Turn<'_>,
    ) -> Verdict {
        match body {
            Body::Replicated(reply) => self.on_replica(from, generation, reply, turn),
            Body::ForwardPutReply(reply) => self.on_forwarded(from, generation, reply, turn),
            Body::Refused(refusal) => self.on_refused(from, generation, refusal, turn),
            Body::Gossip(_)
            | Body::Replicate(_)
            | Body::ForwardPut(_)
            | Body::Client(_)
            | Body::ClientReply(_)
            | Body::Admin(_)
            | Body::AdminReply(_) => Verdict::Wait,
        }
    }

    /// Time has passed.
    pub fn on_time(&mut self, turn: &mut Turn<'_>) -> Verdict {
        if turn.now.tick >= self.answer_by {
            return Verdict::failed(self.failure(turn.view));
        }
        if self.copying.is_none() {
            return if self.minting.is_due(turn.now.tick) { self.advance(turn) } else { Verdict::Wait };
        }
        let Some(copying) = &mut self.copying else { return Verdict::Wait };
        let due = copying.due(turn.now.tick);
        let reload = copying.reload_is_due(turn.now.tick).then(|| copying.round());
        for node in due {
            self.store(node, turn);
        }
        if let Some(round) = reload {
            self.reload(round, turn);
        }
        Verdict::Wait
    }

    /// Some peers seem dead now: they count as silent.
    pub fn on_deaths(&mut self, turn: &mut Turn<'_>) -> Verdict {
        if self.copying.is_some() {
            return self.judge(turn.view);
        }
        if self.minting.waits_for(|node| turn.view.is_dead(node)) {
            self.advance(turn)
        } else {
            Verdict::Wait
        }
    }

    /// The node adopted another ring record: the same write, by the new placements.
    pub fn on_ring(&mut self, turn: &mut Turn<'_>) -> Verdict {
        let before = self.plan.step;
        let level = self.plan.level;
        let Some(ring) = &mut turn.view.ring else { return Verdict::Wait };
        let served = ring.keyspace(&self.request.keyspace).filter(|served| served.id == self.keyspace);
        let Some(served) = served else { return Verdict::failed(self.failure_or(Failure::UnknownKeyspace)) };
        self.plan = ring.plan(&served, &self.request.key, level);
        if let Err(why) = &self.plan.writes {
            return Verdict::failed(self.failure_or(crate::failure::unmeetable(*why)));
        }
        self.generation = self.generation.next();
        self.acks.adopt(self.generation, self.plan.step == Step(before.0.saturating_add(1)));
        self.durability = served.durability;
        match self.durability {
            Durability::Fsync => self.acks.keep_durable(),
            Durability::Interval => {}
        }
        self.minting.reroute(self.minters(turn.view), turn.now.tick);
        let Some(copying) = &mut self.copying else { return self.on_time(turn) };
        copying.rerouted();
        self.spread(None, turn);
        self.judge(turn.view)
    }

    /// This node's copies of these partitions lost what they held. Its word of before is void: it is sent the state again, as
    /// to one that is refilled. (Other nodes' copies are not: a replica that lost something reads it from the one that minted
    /// it, which held it before it was sent to any other.)
    pub fn on_loss(&mut self, lost: &BTreeSet<PartitionId>, turn: &mut Turn<'_>) -> Verdict {
        if !lost.contains(&self.plan.partition) {
            return Verdict::Wait;
        }
        self.generation = self.generation.next();
        let me = turn.view.config.me;
        if self.acks.lose(me, self.generation) {
            self.store(me, turn);
        }
        Verdict::Wait
    }

    fn on_replica(
        &mut self,
        from: Address,
        generation: Generation,
        reply: ReplicaReply,
        turn: &mut Turn<'_>,
    ) -> Verdict {
        let own = from.node == turn.view.config.me;
        match reply {
            ReplicaReply::Minted { state, round } if own && self.minting.has(from.node, generation) => {
                turn.view.learn_round(self.plan.partition, round);
                if self.copying.is_some() {
                    return Verdict::Wait;
                }
                self.copying = Some(Copying::new(state, round));
                self.spread(Some(from.node), turn);
                self.judge(turn.view)
            }
            ReplicaReply::Durable => self.on_ack(from.node, generation, true, turn),
            ReplicaReply::Held => match self.durability {
                Durability::Interval => self.on_ack(from.node, generation, false, turn),
                Durability::Fsync => Verdict::Wait,
            },
            ReplicaReply::State { state, round } if own => self.on_reloaded(generation, state, round, turn),
            ReplicaReply::Minted { .. }
            | ReplicaReply::State { .. }
            | ReplicaReply::Digest { .. }
            | ReplicaReply::Page { .. } => Verdict::Wait,
        }
    }

    fn on_ack(
        &mut self,
        node: NodeId,
        generation: Generation,
        durable: bool,
        turn: &mut Turn<'_>,
    ) -> Verdict {
        self.acks.add(node, generation, durable);
        if self.copying.is_some() { self.judge(turn.view) } else { Verdict::Wait }
    }

    fn on_reloaded(
        &mut self,
        generation: Generation,
        state: Bytes,
        round: Round,
        turn: &mut Turn<'_>,
    ) -> Verdict {
        let Some(copying) = self.copying.as_mut().filter(|copying| copying.is_reload(generation)) else {
            return Verdict::Wait;
        };
        turn.view.learn_round(self.plan.partition, round);
        // A copy that was rebuilt meanwhile may have lost what it minted: what it holds now would stand for another write.
        let knows = KeyState::decode(&state).is_ok_and(|state| state.knows(&self.request.rid));
        if !knows {
            copying.reload_failed(turn.now.tick);
            return Verdict::failed(self.failure(turn.view));
        }
        copying.reloaded(state, round);
        self.spread(None, turn);
        Verdict::Wait
    }

    fn on_forwarded(
        &mut self,
        from: Address,
        generation: Generation,
        reply: ClientReply,
        turn: &mut Turn<'_>,
    ) -> Verdict {
        if !self.minting.has(from.node, generation) {
            return Verdict::Wait;
        }
        match reply.outcome {
            Outcome::Put(put) => Verdict::Done(Outcome::Put(put)),
            Outcome::Failed(failure) => {
                if let Failure::Unknown { acked, .. } = failure {
                    self.heard = self.heard.max(acked);
                }
                self.on_not_minted(from.node, generation, of_failure(failure), turn)
            }
            Outcome::Get(_) | Outcome::Ring(_) | Outcome::Cluster(_) => Verdict::Wait,
        }
    }

    fn on_refused(
        &mut self,
        from: Address,
        generation: Generation,
        refusal: Refusal,
        turn: &mut Turn<'_>,
    ) -> Verdict {
        if let Refusal::StaleRound(round) = refusal {
            turn.view.learn_round(self.plan.partition, round);
        }
        let Some(copying) = &mut self.copying else {
            let answer = of_refusal(refusal, &self.unavailable(turn.view), turn.now.wall_ms);
            return self.on_not_minted(from.node, generation, answer, turn);
        };
        if from.role != Role::Replica {
            return Verdict::Wait;
        }
        if from.node == turn.view.config.me && copying.is_reload(generation) {
            copying.reload_failed(turn.now.tick);
        } else if let Some(round) = copying.refused(from.node, refusal, turn.now.tick) {
            self.reload(round, turn);
        }
        self.judge(turn.view)
    }

    /// An attempt to mint came to nothing, or to nothing certain.
    fn on_not_minted(
        &mut self,
        node: NodeId,
        generation: Generation,
        answer: MintAnswer,
        turn: &mut Turn<'_>,
    ) -> Verdict {
        if !self.minting.answered(node, generation, answer) || self.copying.is_some() {
            return Verdict::Wait;
        }
        self.advance(turn)
    }

    /// Has the next minter asked, if there is one to ask now.
    fn advance(&mut self, turn: &mut Turn<'_>) -> Verdict {
        // Too late for another: the one asked now could not answer in time, and the answer is known.
        if self.minting.may_have_minted() && self.answer_by.since_us(turn.now.tick) < MARGIN_US_MAX {
            return Verdict::Wait;
        }
        match self.minting.next(|node| turn.view.is_dead(node)) {
            Next::Wait => Verdict::Wait,
            Next::Ask(node) => {
                self.ask_minter(node, turn);
                Verdict::Wait
            }
            Next::Pause => {
                self.minting.pause(turn.now.tick);
                Verdict::Wait
            }
            Next::GiveUp => Verdict::failed(self.failure(turn.view)),
        }
    }

    fn ask_minter(&mut self, node: NodeId, turn: &mut Turn<'_>) {
        let retry = self.request.retry || self.minting.may_have_minted();
        self.generation = self.generation.next();
        self.minting.asked(node, self.generation, turn.now.tick);
        if node == turn.view.config.me {
            let write = Write {
                rid: self.request.rid,
                issued: self.request.issued,
                expires: self.request.expires,
                body: self.request.body.clone(),
                seen: if retry { seen_by_retry(&self.seen) } else { self.seen.clone() },
            };
            let place = turn.view.place(self.keyspace, &self.plan);
            let request = ReplicaRequest::MintVersion { place, key: self.request.key.clone(), write };
            turn.view.ask(node, self.asking(), request, turn.out);
        } else {
            let to = Address { node, role: Role::Coordinator, slot: 0 };
            // Explicit, so that the other coordinator's default can't differ.
            let level = Some(self.plan.level);
            let request = PutRequest { retry, level, ..self.request.clone() };
            turn.out.send(turn.view.envelope(to, self.asking(), Body::ForwardPut(request)));
        }
    }

    /// Sends the state to all who don't hold it; `minter` is about to.
    fn spread(&self, minter: Option<NodeId>, turn: &mut Turn<'_>) {
        for node in &self.plan.write_nodes {
            let holds = Some(*node) == minter || self.acks.nodes().contains(node);
            if !holds && !turn.view.is_dead(node) {
                self.store(*node, turn);
            }
        }
    }

    fn store(&self, node: NodeId, turn: &mut Turn<'_>) {
        let Some(copying) = &self.copying else { return };
        let place = Place { round: copying.round(), ..turn.view.place(self.keyspace, &self.plan) };
        let state = copying.state().clone();
        let request = ReplicaRequest::StoreState { place, key: self.request.key.clone(), state };
        turn.view.ask(node, self.asking(), request, turn.out);
    }

    /// Asks the own copy for its state in a round, which all are then sent.
    fn reload(&mut self, round: Round, turn: &mut Turn<'_>) {
        self.generation = self.generation.next();
        let asking = self.asking();
        let Some(copying) = &mut self.copying else { return };
        copying.reloading(asking.generation);
        turn.view.learn_round(self.plan.partition, round);
        let place = turn.view.place(self.keyspace, &self.plan);
        let request = ReplicaRequest::ReadState { place, key: self.request.key.clone(), want: Want::Full };
        turn.view.ask(turn.view.config.me, asking, request, turn.out);
    }

    fn asking(&self) -> Asking {
        Asking { op: self.op, generation: self.generation, deadline: self.answer_by }
    }

    /// After minting: done, hopeless, or waiting.
    fn judge(&self, view: &View) -> Verdict {
        if self.acks.meet(self.needs()) {
            return match self.receipt(view) {
                Some(reply) => Verdict::Done(Outcome::Put(reply)),
                None => Verdict::failed(self.failure(view)),
            };
        }
        if self.is_possible(view) { Verdict::Wait } else { Verdict::failed(self.failure(view)) }
    }

    fn receipt(&self, view: &View) -> Option<PutReply> {
        let state = KeyState::decode(self.copying.as_ref()?.state()).ok()?;
        let mac_key = view.ring.as_ref()?.record().mac_keys.first()?;
        let durable = self.acks.durable().filter(|node| self.plan.write_nodes.contains(node)).count();
        Some(PutReply {
            context: Token::of_write(&state, &self.request.rid).seal(
                mac_key,
                self.keyspace,
                &self.request.key,
            ),
            receipt: PutReceipt {
                replicas: tiny(self.plan.write_nodes.len()),
                durable: tiny(durable),
                fallbacks: 0,
                step: self.plan.step,
                level: self.plan.level,
            },
        })
    }

    /// Why it failed, or that nobody can say: the only place where a put's failure is made.
    fn failure(&self, view: &View) -> Failure {
        let failure = self.minting.failure().unwrap_or_else(|| self.unavailable(view));
        self.failure_or(failure)
    }

    fn failure_or(&self, failure: Failure) -> Failure {
        let open = self.copying.is_some() || self.minting.may_have_minted();
        if open || (self.request.retry && !answers_retries(&failure)) {
            return Failure::Unknown {
                acked: small(self.acks.nodes().len()).max(self.heard),
                needed: self.needed(),
            };
        }
        failure
    }

    fn unavailable(&self, view: &View) -> Failure {
        let alive = self.plan.write_nodes.iter().filter(|node| !view.is_dead(node)).count();
        Failure::Unavailable { needed: self.needed(), alive: small(alive) }
    }

    fn needed(&self) -> u32 {
        small(self.needs().iter().map(Need::total).max().unwrap_or(0))
    }

    fn needs(&self) -> &[Need] {
        self.plan.writes.as_deref().unwrap_or(&[])
    }

    /// Whether the level can still be met, by those who neither refused for good nor seem dead.
    fn is_possible(&self, view: &View) -> bool {
        let dead = self.plan.write_nodes.iter().filter(|node| view.is_dead(node)).copied();
        let given_up = self.copying.iter().flat_map(Copying::given_up);
        possible(self.needs(), self.acks.nodes(), dead.chain(given_up))
    }

    fn minters(&self, view: &View) -> Vec<NodeId> {
        match self.minters {
            Minters::Any => minters(view, &self.plan, self.request.rid),
            Minters::Own if self.plan.has_seat(&view.config.me) => alloc::vec![view.config.me],
            Minters::Own => Vec::new(),
        }
    }
}
