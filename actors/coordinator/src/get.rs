//! One get from its plan to its answer.
//!
//! Keeps I-8 by [`Answers`], and I-11: a receipt counts answers alone. Replicas that are silent are hedged, those that
//! refuse are replaced. Where no candidate is left, the boxes of fallbacks will be asked; there are none yet.

mod answers;
mod asks;
mod finish;
mod readers;
mod repair;

use crate::config::{HEDGE_FREE_PARTS, HEDGE_US_MIN, RESTARTS_MAX, pause_us};
use crate::failure::{CopyAnswer, of_copy, small, unmeetable};
use crate::route::{Plan, Served};
use crate::timers::{OpNumber, earlier, take_due};
use crate::view::{Asking, Generation, Turn, Verdict, View};
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_model::ring::QuorumKind;
use anser_model::{Need, NodeId, PartitionId};
use anser_proto::client::{Failure, GetRequest};
use anser_proto::replicate::{ReplicaReply, ReplicaRequest, Want};
use anser_proto::{Address, Body, Refusal, Role, Tick};
use answers::{Answers, ReadChoice};
use asks::Asks;
use readers::{arrange, candidates, explore, strict_copies};
use repair::Repair;

/// A get under way.
#[derive(Debug)]
pub(crate) struct Get {
    op: OpNumber,
    answer_by: Tick,
    generation: Generation,
    served: Served,
    request: GetRequest,
    plan: Arc<Plan>,
    candidates: Vec<NodeId>,
    /// The place in `candidates` of the next to ask.
    next: usize,
    asks: Asks,
    answers: Answers,
    hedge_at: Option<Tick>,
    /// From then on the hedging budget is not asked.
    hedge_free_at: Tick,
    restart_at: Option<Tick>,
    restarts: u8,
    /// Once enough is known, while a strict read waits.
    repair: Option<Repair>,
}

impl Get {
    /// One that has asked nobody yet.
    pub fn new(
        op: OpNumber,
        answer_by: Tick,
        served: Served,
        request: GetRequest,
        plan: Arc<Plan>,
        now: Tick,
    ) -> Get {
        Get {
            op,
            answer_by,
            generation: Generation::default(),
            served,
            request,
            plan,
            candidates: Vec::new(),
            next: 0,
            asks: Asks::default(),
            answers: Answers::default(),
            hedge_at: None,
            hedge_free_at: now.plus_us(answer_by.since_us(now) / HEDGE_FREE_PARTS),
            restart_at: None,
            restarts: 0,
            repair: None,
        }
    }

    /// Begins: asks as many replicas as the level needs.
    pub fn begin(&mut self, turn: &mut Turn<'_>) -> Verdict {
        turn.view.hedges.earn();
        self.ask_first(turn)
    }

    /// When it wants to be woken.
    pub fn wakes_at(&self) -> Tick {
        let repair = self.repair.as_ref().and_then(|repair| repair.copying.wakes_at());
        let asked = earlier(self.asks.wakes_at(), self.hedge_at);
        let at = earlier(earlier(asked, repair), self.restart_at);
        at.map_or(self.answer_by, |at| at.min(self.answer_by))
    }

    /// An answer to one of its requests; those to requests before it started over don't count.
    pub fn on_answer(
        &mut self,
        from: Address,
        generation: Generation,
        body: Body,
        turn: &mut Turn<'_>,
    ) -> Verdict {
        if generation != self.generation || from.role != Role::Replica {
            return Verdict::Wait;
        }
        match body {
            Body::Replicated(reply) => self.on_reply(from.node, reply, turn),
            Body::Refused(refusal) => self.on_refused(from.node, refusal, turn),
            Body::Gossip(_)
            | Body::Replicate(_)
            | Body::ForwardPut(_)
            | Body::ForwardPutReply(_)
            | Body::Client(_)
            | Body::ClientReply(_)
            | Body::Admin(_)
            | Body::AdminReply(_) => Verdict::Wait,
        }
    }

    /// Time has passed.
    pub fn on_time(&mut self, turn: &mut Turn<'_>) -> Verdict {
        let now = turn.now.tick;
        if now >= self.answer_by {
            return Verdict::failed(self.failure(turn.view));
        }
        if take_due(&mut self.restart_at, now) {
            return self.restart(turn);
        }
        self.store_again(turn);
        for (node, want) in self.asks.due(now) {
            self.ask(node, want, turn);
        }
        if take_due(&mut self.hedge_at, now) {
            self.hedge(turn);
        }
        Verdict::Wait
    }

    /// Some peers seem dead now: they are replaced at once.
    pub fn on_deaths(&mut self, turn: &mut Turn<'_>) -> Verdict {
        if self.repair.is_some() {
            return self.judge_repair(turn);
        }
        for node in self.asks.bury(|node| turn.view.is_dead(node)) {
            self.answers.remove(&node);
            self.replace(turn);
        }
        self.judge(turn)
    }

    /// The node adopted another ring record: the read starts over.
    pub fn on_ring(&mut self, turn: &mut Turn<'_>) -> Verdict {
        if self.plan.step == turn.view.step() { Verdict::Wait } else { self.restart(turn) }
    }

    /// This node's copies of these partitions lost what they held: what they showed may be nowhere else.
    pub fn on_loss(&mut self, lost: &BTreeSet<PartitionId>, turn: &mut Turn<'_>) -> Verdict {
        if lost.contains(&self.plan.partition) { self.restart(turn) } else { Verdict::Wait }
    }

    fn ask_first(&mut self, turn: &mut Turn<'_>) -> Verdict {
        let plan = Arc::clone(&self.plan);
        let need = match &plan.read {
            Ok(need) => need,
            Err(why) => return Verdict::failed(unmeetable(*why)),
        };
        self.candidates = candidates(turn.view, &plan);
        if !need.met_by(&self.candidates) {
            return Verdict::failed(self.unavailable(turn.view));
        }
        let mut count = arrange(need, &mut self.candidates);
        explore(need, count, &mut self.candidates, turn.view);
        if self.is_strict() {
            // These are waited for in any case, so they are asked at once.
            count = count.max(strict_copies(plan.seats.len(), need.total())).min(self.candidates.len());
        }
        self.next = count;
        for at in 0..count {
            let Some(node) = self.candidates.get(at) else { break };
            self.ask(*node, if at == 0 { Want::Full } else { Want::Digest }, turn);
        }
        self.expect(turn);
        Verdict::Wait
    }

    fn restart(&mut self, turn: &mut Turn<'_>) -> Verdict {
        let Some(ring) = &mut turn.view.ring else { return Verdict::Wait };
        let served = ring.keyspace(&self.request.keyspace).filter(|served| served.id == self.served.id);
        let Some(served) = served else { return Verdict::failed(Failure::UnknownKeyspace) };
        if self.restarts >= RESTARTS_MAX {
            return Verdict::failed(self.failure(turn.view));
        }
        self.plan = ring.plan(&served, &self.request.key, self.plan.level);
        self.restarts += 1;
        self.generation = self.generation.next();
        self.asks = Asks::default();
        self.answers = Answers::default();
        (self.hedge_at, self.restart_at, self.repair) = (None, None, None);
        self.ask_first(turn)
    }

    fn ask(&mut self, node: NodeId, want: Want, turn: &mut Turn<'_>) {
        self.asks.asked(node, want, turn.now.tick);
        let place = turn.view.place(self.served.id, &self.plan);
        let request = ReplicaRequest::ReadState { place, key: self.request.key.clone(), want };
        turn.view.ask(node, self.asking(), request, turn.out);
    }

    fn on_reply(&mut self, node: NodeId, reply: ReplicaReply, turn: &mut Turn<'_>) -> Verdict {
        let now = turn.now.tick;
        let (want, round) = match &reply {
            ReplicaReply::State { round, .. } => (Want::Full, *round),
            ReplicaReply::Digest { round, .. } => (Want::Digest, *round),
            ReplicaReply::Durable => return self.on_durable(node, turn),
            // A strict keyspace has no copies that say so, and no other waits for a repair.
            ReplicaReply::Held | ReplicaReply::Minted { .. } | ReplicaReply::Page { .. } => {
                return Verdict::Wait;
            }
        };
        turn.view.learn_round(self.plan.partition, round);
        let Some(sent) = self.asks.answered(node, want) else { return Verdict::Wait };
        turn.view.latency.sample(node, now.since_us(sent));
        match reply {
            ReplicaReply::State { state, .. } => {
                if self.answers.add_full(node, &state, round).is_err() {
                    self.asks.spoilt(node);
                    self.answers.remove(&node);
                    self.replace(turn);
                    return self.judge(turn);
                }
            }
            ReplicaReply::Digest { digest, .. } => self.answers.add_digest(node, digest, round),
            ReplicaReply::Durable
            | ReplicaReply::Held
            | ReplicaReply::Minted { .. }
            | ReplicaReply::Page { .. } => {}
        }
        self.decide(turn)
    }

    fn decide(&mut self, turn: &mut Turn<'_>) -> Verdict {
        if self.repair.is_some() {
            return Verdict::Wait;
        }
        let plan = Arc::clone(&self.plan);
        let Ok(need) = &plan.read else { return Verdict::Wait };
        match self.answers.choose(need) {
            ReadChoice::Wait => Verdict::Wait,
            ReadChoice::FetchFull(mut nodes) => {
                nodes.retain(|node| !self.asks.wants_full(node));
                for node in &nodes {
                    self.ask(*node, Want::Full, turn);
                }
                if !nodes.is_empty() {
                    self.expect(turn);
                }
                Verdict::Wait
            }
            ReadChoice::Finish => self.finish(need, turn),
        }
    }

    fn on_refused(&mut self, node: NodeId, refusal: Refusal, turn: &mut Turn<'_>) -> Verdict {
        let now = turn.now.tick;
        match of_copy(refusal) {
            CopyAnswer::Step => {
                // Without the record there is nothing to start over with; it may come with the next gossip.
                let pause = now.plus_us(pause_us(self.restarts));
                self.restart_at = earlier(self.restart_at, Some(pause));
                return Verdict::Wait;
            }
            CopyAnswer::Round(round) => {
                turn.view.learn_round(self.plan.partition, round);
                if let Some(want) = self.asks.once_more(node).filter(|_| self.repair.is_none()) {
                    self.ask(node, want, turn);
                    return Verdict::Wait;
                }
            }
            CopyAnswer::Later | CopyAnswer::Never => {}
        }
        if self.repair.is_some() {
            return self.on_store_refused(node, refusal, turn);
        }
        // Another one is asked; or it again after a pause, if there is no other.
        if !self.asks.refused(node, refusal) {
            return Verdict::Wait;
        }
        self.answers.remove(&node);
        self.replace(turn);
        self.judge(turn)
    }

    /// Asks the next candidate, if there is one.
    fn replace(&mut self, turn: &mut Turn<'_>) {
        let rest = self.candidates.get(self.next..).unwrap_or(&[]);
        let Some(at) = rest.iter().position(|node| !turn.view.is_dead(node)) else {
            self.next = self.candidates.len();
            return;
        };
        let Some(node) = rest.get(at).copied() else { return };
        self.next += at + 1;
        let now = turn.now.tick;
        // A silent one that was to send its state may never do so.
        let late = |node: &NodeId, sent: Tick| {
            now.since_us(sent) >= turn.view.latency.p95_us(node).max(HEDGE_US_MIN)
        };
        let full = self.answers.has_full() || self.asks.full_comes(late);
        self.ask(node, if full { Want::Digest } else { Want::Full }, turn);
        self.expect(turn);
    }

    /// Asks one more beside those that are silent, if the budget or the time allows it.
    fn hedge(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.tick;
        if self.next >= self.candidates.len() || self.repair.is_some() {
            return;
        }
        if now < self.hedge_free_at && !turn.view.hedges.spend() {
            self.hedge_at = Some(self.hedge_free_at);
            return;
        }
        let silent: Vec<(NodeId, Tick)> = self.asks.waiting().collect();
        self.replace(turn);
        for (node, sent) in silent {
            turn.view.latency.sample(node, now.since_us(sent));
        }
    }

    /// Sets when silence is hedged: when nearly all answers would have come, or when the budget is not asked any more.
    fn expect(&mut self, turn: &Turn<'_>) {
        let now = turn.now.tick;
        let more = self.next < self.candidates.len();
        let wait_us = self.asks.p95_us(&turn.view.latency).max(HEDGE_US_MIN);
        let latest = self.hedge_free_at.max(now.plus_us(HEDGE_US_MIN));
        self.hedge_at = more.then(|| now.plus_us(wait_us).min(latest));
    }

    /// Whether the level can still be met; if not by those who are left, those who refused are asked again.
    fn judge(&mut self, turn: &mut Turn<'_>) -> Verdict {
        if self.is_possible(turn.view) {
            return Verdict::Wait;
        }
        self.asks.revive(turn.now.tick);
        if self.is_possible(turn.view) { Verdict::Wait } else { Verdict::failed(self.failure(turn.view)) }
    }

    fn is_possible(&self, view: &View) -> bool {
        let unasked = self.candidates.get(self.next..).unwrap_or(&[]);
        let hoped = |node: &NodeId| {
            let asked = self.asks.hopes_for(node);
            asked.unwrap_or_else(|| unasked.contains(node) && !view.is_dead(node))
        };
        let seats = self.plan.seats.iter().map(|seat| seat.node);
        let silent: Vec<NodeId> = seats.filter(|node| !hoped(node)).collect();
        self.plan.read.as_ref().is_ok_and(|need| need.possible_without(&silent))
    }

    fn failure(&self, view: &View) -> Failure {
        if self.answers.len() == 0 && self.asks.reached_nobody() {
            return self.unavailable(view);
        }
        Failure::Unknown { acked: small(self.answers.len()), needed: self.needed() }
    }

    fn unavailable(&self, view: &View) -> Failure {
        let alive = self.plan.seats.iter().filter(|seat| !view.is_dead(&seat.node)).count();
        Failure::Unavailable { needed: self.needed(), alive: small(alive) }
    }

    fn needed(&self) -> u32 {
        small(self.plan.read.as_ref().map_or(0, Need::total))
    }

    fn is_strict(&self) -> bool {
        match self.served.quorum {
            QuorumKind::Strict => true,
            QuorumKind::Sloppy => false,
        }
    }

    fn asking(&self) -> Asking {
        Asking { op: self.op, generation: self.generation, deadline: self.answer_by }
    }
}
