//! What time brings: probes and their verdicts, suspects whose time is up, rumours, greetings, exchanges of beliefs.
//!
//! Keeps: every peer is probed for ever, the dead ones slowly, whatever is believed of it. Calls that come early or twice do
//! nothing: each timer is looked at on its own.

use crate::config::Probing;
use crate::detector::{Probe, Stage};
use crate::folders::ASK_GAP_MS;
use crate::membership::Membership;
use alloc::vec::Vec;
use anser_machine::{Fact, Outbox};
use anser_model::NodeId;
use anser_proto::gossip::{Gossip, PeerState};
use anser_proto::{Address, OpId, Role, Tick};

/// How many others are asked to probe a peer that did not answer.
const INDIRECT_PROBES: usize = 3;
/// To how many peers fresh rumours go at a time.
const GOSSIP_FANOUT: usize = 3;
/// How many peers are greeted at a time, at a start or a return.
const GREETING_BURST: usize = 32;
/// Between two such bursts.
const GREETING_GAP_MS: u64 = 50;
/// One more dead peer is probed at a time for each so many.
const DEAD_PER_PROBE: usize = 16;
/// Between two exchanges of beliefs with newly met peers.
const EXCHANGE_GAP_MS: u64 = 100;
/// What is kept of peers is written so much later than it changed, with what changes meanwhile.
const SAVE_DELAY_MS: u64 = 1000;
/// Between two writes of it.
const SAVE_GAP_MS: u64 = 5000;

/// When what is next.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    probe: Tick,
    dead_probe: Tick,
    push_pull: Tick,
    gossip: Option<Tick>,
    gossip_after: Tick,
    greet: Option<Tick>,
    greetings: Vec<NodeId>,
    save_peers: Option<Tick>,
    save_after: Tick,
    exchange_after: Tick,
    ask: Option<Tick>,
}

impl Timers {
    /// Whether beliefs may be exchanged with somebody new now; counts it as done.
    pub fn may_exchange(&mut self, now: Tick) -> bool {
        let may = now >= self.exchange_after;
        if may {
            self.exchange_after = now.plus_ms(EXCHANGE_GAP_MS);
        }
        may
    }
}

impl Membership {
    /// Begins to probe. The first times are drawn, so that nodes started together don't stay in step.
    pub(crate) fn begin_timers(&mut self, now: Tick) {
        let Probing { probe_interval_ms, dead_probe_interval_ms, push_pull_interval_ms, .. } =
            self.config.probing;
        self.timers.probe = now.plus_ms(self.random.below(probe_interval_ms));
        self.timers.dead_probe = now.plus_ms(self.random.below(dead_probe_interval_ms));
        self.timers.push_pull = now.plus_ms(self.random.below(push_pull_interval_ms));
    }

    /// Says to every peer that this node is here, some at a time.
    pub(crate) fn greet_all(&mut self, now: Tick) {
        self.timers.greetings = self.peers.iter().map(|(node, _)| *node).collect();
        self.timers.greet = Some(now);
    }

    /// Sets the timers that are needed only sometimes.
    pub(crate) fn set_timers(&mut self, now: Tick) {
        let timers = &mut self.timers;
        if self.spread.is_empty() || !self.peers.any_up() {
            timers.gossip = None;
        } else if timers.gossip.is_none() {
            timers.gossip = Some(now.max(timers.gossip_after));
        }
        let unsaved = self.peers.addresses_changed() || self.folders.changed();
        if unsaved && timers.save_peers.is_none() && !self.disk_failed {
            timers.save_peers = Some(now.plus_ms(SAVE_DELAY_MS).max(timers.save_after));
        }
        timers.ask = match self.own.is_asking() {
            true => timers.ask.or(Some(now.plus_ms(ASK_GAP_MS))),
            false => None,
        };
    }

    /// The next timer, and what it is for.
    pub(crate) fn next_timer(&self) -> Option<(Tick, &'static str)> {
        let timers = &self.timers;
        let always =
            [(timers.probe, "probe"), (timers.dead_probe, "probe the dead"), (timers.push_pull, "exchange")];
        let sometimes = [
            (timers.gossip, "gossip"),
            (timers.greet, "greet"),
            (timers.save_peers, "save what is kept of peers"),
            (timers.ask, "ask for the folder"),
            (self.own.until(), "trust the folder"),
            (self.detector.next_due(), "judge a probe"),
            (self.peers.next_overdue(), "end a suspicion"),
        ];
        let sometimes = sometimes.into_iter().filter_map(|(at, why)| at.map(|at| (at, why)));
        always.into_iter().chain(sometimes).min_by_key(|(at, _)| *at)
    }

    /// Does what is due.
    pub(crate) fn run_timers(&mut self, now: Tick, out: &mut Outbox) {
        for (seq, probe) in self.detector.take_due(now) {
            match probe.stage {
                Stage::Direct => self.ask_others(now, seq, probe, out),
                Stage::Indirect => self.judge_probe(now, &probe, out),
                Stage::Relayed(..) => {}
            }
        }
        for node in self.peers.overdue(now) {
            self.peers.condemn(node, PeerState::Dead, now);
            self.spread.add(node);
        }
        if now >= self.timers.probe {
            self.timers.probe =
                now.plus_ms(self.detector.stretched_ms(self.config.probing.probe_interval_ms));
            self.probe_next(now, out);
        }
        if now >= self.timers.dead_probe {
            self.timers.dead_probe = now.plus_ms(self.config.probing.dead_probe_interval_ms);
            self.probe_dead(now, out);
        }
        if now >= self.timers.push_pull {
            self.timers.push_pull = now.plus_ms(self.config.probing.push_pull_interval_ms);
            for node in self.draw(1, |peer| peer == PeerState::Alive, None) {
                self.exchange(now, node, out);
            }
        }
        self.set_timers(now);
        if self.timers.gossip.is_some_and(|at| now >= at) {
            self.timers.gossip = None;
            self.timers.gossip_after = now.plus_ms(self.config.probing.gossip_interval_ms);
            for node in self.draw(GOSSIP_FANOUT, |peer| peer != PeerState::Dead, None) {
                self.send_rumours(now, node, out);
            }
        }
        if self.timers.greet.is_some_and(|at| now >= at) {
            self.greet_some(now, out);
        }
        if self.timers.ask.is_some_and(|at| now >= at) {
            self.timers.ask = Some(now.plus_ms(ASK_GAP_MS));
            self.ask_for_folder(now, out);
        }
        if self.timers.save_peers.is_some_and(|at| now >= at) {
            self.timers.save_peers = None;
            self.timers.save_after = now.plus_ms(SAVE_GAP_MS);
            self.save_peers(&[], out);
        }
    }

    fn probe_next(&mut self, now: Tick, out: &mut Outbox) {
        let up = self.nodes(|state| state != PeerState::Dead);
        let Some(target) = self.detector.next_target(&mut self.random, up) else { return };
        let Some(incarnation) = self.peers.get(&target).map(|peer| peer.incarnation) else { return };
        let op = self.next_op();
        let until = now.plus_ms(self.detector.stretched_ms(self.config.probing.direct_timeout_ms));
        let probe = Probe { target, incarnation, sent: now, stage: Stage::Direct, until };
        if self.detector.begin(op.seq, probe) {
            self.probe(now, target, op, out);
        }
    }

    /// The peer did not answer in time: others are asked to try, and it gets a second chance itself.
    fn ask_others(&mut self, now: Tick, seq: u64, probe: Probe, out: &mut Outbox) {
        let target = probe.target;
        let until = now.plus_ms(self.detector.stretched_ms(self.config.probing.indirect_timeout_ms));
        let probe = Probe { stage: Stage::Indirect, until, ..probe };
        if !self.detector.begin(seq, probe) {
            return;
        }
        let op = OpId { life: self.config.life, seq };
        for node in self.draw(INDIRECT_PROBES, |state| state == PeerState::Alive, Some(target)) {
            let rumours = self.rumours_for(&node);
            let to = Address { node, role: Role::Membership, slot: 0 };
            self.reply(now, to, op, Gossip::ProbeFor { target, rumours }, out);
        }
        self.probe(now, target, op, out);
    }

    /// Nobody reached the peer: it is suspected, unless it was already, or spoke up meanwhile.
    fn judge_probe(&mut self, now: Tick, probe: &Probe, out: &mut Outbox) {
        let others = self.nodes(|state| state == PeerState::Alive).len();
        if others > 1 && !self.detector.heard_since(probe.sent) {
            self.detector.worsen();
        }
        let asked_about = (probe.incarnation, PeerState::Alive);
        if self.peers.get(&probe.target).is_some_and(|peer| peer.belief() == asked_about) {
            let until = self.suspect_until(now, probe.incarnation);
            self.peers.condemn(probe.target, PeerState::Suspect, until);
            self.spread.add(probe.target);
            // By the lane, which repeats what is lost: a suspect must hear of it.
            self.exchange(now, probe.target, out);
        }
    }

    fn probe_dead(&mut self, now: Tick, out: &mut Outbox) {
        let dead = self.nodes(|state| state == PeerState::Dead);
        for _ in 0..dead.len().div_ceil(DEAD_PER_PROBE) {
            if let Some(node) = self.detector.next_dead(&mut self.random, dead.clone()) {
                self.send_rumours(now, node, out);
            }
        }
    }

    fn greet_some(&mut self, now: Tick, out: &mut Outbox) {
        let keep = self.timers.greetings.len().saturating_sub(GREETING_BURST);
        for node in self.timers.greetings.split_off(keep) {
            self.send_rumours(now, node, out);
        }
        self.timers.greet = (keep > 0).then(|| now.plus_ms(GREETING_GAP_MS));
    }

    /// Asks those who did not say yet what they remember of this node's folder.
    fn ask_for_folder(&mut self, now: Tick, out: &mut Outbox) {
        let unheard: Vec<NodeId> =
            self.peers.iter().map(|(node, _)| *node).filter(|node| self.own.is_unheard(node)).collect();
        for node in unheard.into_iter().take(GREETING_BURST) {
            self.send_rumours(now, node, out);
        }
    }

    /// Judges this node's own folder by what is known now.
    pub(crate) fn judge_folder(&mut self, now: Tick, out: &mut Outbox) {
        if self.own.is_undecided() {
            let others = self.others();
            if let Some(trust) = self.own.judge(now, others.as_deref()) {
                out.publish(Fact::FolderJudged(trust));
            }
        }
    }

    /// The peers that seem so, sorted.
    fn nodes(&self, seems: impl Fn(PeerState) -> bool) -> Vec<NodeId> {
        self.peers.iter().filter(|(_, peer)| seems(peer.state)).map(|(node, _)| *node).collect()
    }

    /// Draws some of the peers that seem so.
    fn draw(&mut self, count: usize, seems: impl Fn(PeerState) -> bool, but: Option<NodeId>) -> Vec<NodeId> {
        let mut nodes = self.nodes(seems);
        nodes.retain(|node| Some(*node) != but);
        self.random.shuffle(&mut nodes);
        nodes.truncate(count);
        nodes
    }
}
