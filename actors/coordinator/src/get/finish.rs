//! The end of a get: merge, repair, answer; and, in strict keyspaces, the wait until what is shown is durable.

use super::Get;
use super::readers::strict_copies;
use super::repair::Repair;
use crate::failure::{small, tiny};
use crate::view::{Turn, Verdict, View};
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_machine::Count;
use anser_model::{Body, KeyState, Need, NodeId, Token, Version};
use anser_proto::Refusal;
use anser_proto::client::{Failure, GetReceipt, GetReply, Outcome, ShownVersion};
use anser_proto::replicate::{Place, ReplicaRequest};

impl Get {
    /// Enough is known: merges, repairs, and answers; or, if strict, waits until what it shows is durable.
    pub(super) fn finish(&mut self, need: &Need, turn: &mut Turn<'_>) -> Verdict {
        let Some(merged) = self.answers.merge() else { return Verdict::Wait };
        let lacking: Vec<NodeId> = self.answers.with_digest(merged.digest, false).collect();
        let never_written = merged.state.context().is_empty();
        if lacking.is_empty() && (!self.is_strict() || never_written) {
            return self.reply(&merged.state, turn);
        }
        let plan = Arc::clone(&self.plan);
        let seats: Vec<NodeId> = plan.seats.iter().map(|seat| seat.node).collect();
        let holders: Vec<NodeId> = self.answers.with_digest(merged.digest, true).collect();
        let copies = strict_copies(seats.len(), need.total());
        let others = if lacking.is_empty() { Vec::new() } else { self.other_needs(turn.view) };
        let repair = Repair::new(merged, seats, holders, copies, others);
        let waits = self.is_strict() && !repair.is_durable();
        let to = plan.write_nodes.iter().filter(|node| {
            let waited_for = waits && !repair.is_held_by(node) && !turn.view.is_dead(node);
            lacking.contains(node) || waited_for
        });
        let to: Vec<NodeId> = to.copied().collect();
        for node in to {
            turn.out.count(Count::ReadRepair);
            self.store(&repair, node, turn);
        }
        if !waits {
            return self.reply(&repair.state, turn);
        }
        self.repair = Some(repair);
        self.hedge_at = None;
        self.judge_repair(turn)
    }

    /// What a write of the keyspace's own level needs of the active placements that readers don't ask.
    fn other_needs(&self, view: &mut View) -> Vec<Need> {
        let Some(ring) = &mut view.ring else { return Vec::new() };
        let plan = ring.plan(&self.served, &self.request.key, self.served.write);
        let needs = plan.writes.iter().flatten().enumerate();
        needs.filter(|(at, _)| *at != plan.read_at).map(|(_, need)| need.clone()).collect()
    }

    fn store(&self, repair: &Repair, node: NodeId, turn: &mut Turn<'_>) {
        let place = Place { round: repair.copying.round(), ..turn.view.place(self.served.id, &self.plan) };
        let state = repair.copying.state().clone();
        let request = ReplicaRequest::StoreState { place, key: self.request.key.clone(), state };
        turn.view.ask(node, self.asking(), request, turn.out);
    }

    /// Sends the repair again to those who are due for it.
    pub(super) fn store_again(&mut self, turn: &mut Turn<'_>) {
        let Some(mut repair) = self.repair.take() else { return };
        for node in repair.copying.due(turn.now.tick) {
            self.store(&repair, node, turn);
        }
        self.repair = Some(repair);
    }

    pub(super) fn on_durable(&mut self, node: NodeId, turn: &mut Turn<'_>) -> Verdict {
        let Some(repair) = &mut self.repair else { return Verdict::Wait };
        repair.acked(node);
        self.judge_repair(turn)
    }

    pub(super) fn on_store_refused(
        &mut self,
        node: NodeId,
        refusal: Refusal,
        turn: &mut Turn<'_>,
    ) -> Verdict {
        let Some(repair) = &mut self.repair else { return Verdict::Wait };
        match repair.copying.refused(node, refusal, turn.now.tick) {
            // What was read may have been forgotten since.
            Some(_) => self.restart(turn),
            None => self.judge_repair(turn),
        }
    }

    pub(super) fn judge_repair(&mut self, turn: &mut Turn<'_>) -> Verdict {
        let Some(repair) = &self.repair else { return Verdict::Wait };
        if repair.is_durable() {
            return self.reply(&repair.state, turn);
        }
        let dead = self.plan.write_nodes.iter().filter(|node| turn.view.is_dead(node));
        let dead: Vec<NodeId> = dead.copied().collect();
        if repair.is_possible(&dead) { Verdict::Wait } else { Verdict::failed(self.failure(turn.view)) }
    }

    fn reply(&self, state: &KeyState, turn: &mut Turn<'_>) -> Verdict {
        let mac_key = turn.view.ring.as_ref().and_then(|ring| ring.record().mac_keys.first());
        let Some(mac_key) = mac_key else { return Verdict::failed(Failure::NotReady) };
        let shown_now = state.shown(turn.now.wall_ms);
        let versions: Vec<ShownVersion> = shown_now.filter_map(|(_, version)| shown(version)).collect();
        if !versions.is_empty() {
            turn.out.count(Count::Siblings(small(versions.len())));
        }
        Verdict::Done(Outcome::Get(GetReply {
            versions,
            context: Token::of(state).seal(mac_key, self.served.id, &self.request.key),
            receipt: GetReceipt {
                replicas: tiny(self.plan.seats.len()),
                answered: tiny(self.answers.len()),
                fallbacks: 0,
                step: self.plan.step,
                level: self.plan.level,
            },
        }))
    }
}

fn shown(version: &Version) -> Option<ShownVersion> {
    let value = match &version.body {
        Body::Value(value) => value.clone(),
        Body::Tombstone => return None,
    };
    Some(ShownVersion {
        value,
        dot: *version.dots.last()?,
        written_at_ms: version.issued.ms(),
        expires_at_ms: version.expires,
    })
}
