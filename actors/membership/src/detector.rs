//! The failure detector's own state: whom to probe next, which probes are out, and how well this node itself is doing.
//!
//! Keeps: a peer is never judged by a node that was itself away (its probes' and suspects' time is extended first), and a
//! node that hears from nobody at all takes its time, since the fault may be its own.

use crate::config::Probing;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use anser_machine::Random;
use anser_model::NodeId;
use anser_proto::{Address, OpId, Tick};

/// Most probes out at once, the relayed ones included.
pub(crate) const PROBES_MAX: usize = 128;
/// The worst health: time-outs are (2 + health) / 2 times as long.
const HEALTH_WORST: u64 = 4;
/// A timer that comes this late says that this node was away.
pub(crate) const LATE_MS: u64 = 250;
/// After being away, whatever is pending gets this long again.
const GRACE_MS: u64 = 250;
/// At least so long between two such extensions: under steady overload verdicts are slow, not absent.
const GRACE_GAP_MS: u64 = 2000;

/// A probe that is out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// Whom it asks.
    pub target: NodeId,
    /// The incarnation that it asks about.
    pub incarnation: u64,
    /// When it was sent.
    pub sent: Tick,
    /// How far it is.
    pub stage: Stage,
    /// When this stage ends.
    pub until: Tick,
}

/// How far a probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// This node asked.
    Direct,
    /// Others were asked to ask.
    Indirect,
    /// This node asks for another, which waits for this operation.
    Relayed(Address, OpId),
}

/// The failure detector's own state.
#[derive(Debug, Default)]
pub(crate) struct Detector {
    probes: BTreeMap<u64, Probe>,
    round: Vec<NodeId>,
    dead_round: Vec<NodeId>,
    health: u64,
    heard: Tick,
    grace_after: Tick,
}

impl Detector {
    /// A time-out, stretched by how badly this node is doing.
    pub fn stretched_ms(&self, ms: u64) -> u64 {
        ms.saturating_mul(2 + self.health) / 2
    }

    /// This node does badly.
    pub fn worsen(&mut self) {
        self.health = (self.health + 1).min(HEALTH_WORST);
    }

    /// This node does well.
    pub fn improve(&mut self) {
        self.health = self.health.saturating_sub(1);
    }

    /// Somebody was heard from.
    pub fn hear(&mut self, now: Tick) {
        self.heard = now;
    }

    /// Whether somebody was heard from since.
    pub fn heard_since(&self, since: Tick) -> bool {
        self.heard >= since
    }

    /// Remembers a probe; false if too many are out.
    pub fn begin(&mut self, seq: u64, probe: Probe) -> bool {
        let room = self.probes.len() < PROBES_MAX;
        if room {
            self.probes.insert(seq, probe);
        }
        room
    }

    /// The peer answered, itself or through another: the probe that is done by that.
    pub fn answered(&mut self, seq: u64, target: &NodeId) -> Option<Probe> {
        let fits = self.probes.get(&seq).is_some_and(|probe| probe.target == *target);
        if fits { self.probes.remove(&seq) } else { None }
    }

    /// Takes out the probes whose stage has ended.
    pub fn take_due(&mut self, now: Tick) -> Vec<(u64, Probe)> {
        let due = |probe: &Probe| probe.until <= now;
        let taken: Vec<_> = self.probes.iter().filter(|(_, p)| due(p)).map(|(seq, p)| (*seq, *p)).collect();
        self.probes.retain(|_, probe| !due(probe));
        taken
    }

    /// When the first probe's stage ends.
    pub fn next_due(&self) -> Option<Tick> {
        self.probes.values().map(|probe| probe.until).min()
    }

    /// This node was away: until when its judgement is put off, unless it was put off just before.
    pub fn put_off(&mut self, now: Tick, probing: &Probing) -> Option<Tick> {
        if now < self.grace_after {
            return None;
        }
        self.grace_after = now.plus_ms(GRACE_GAP_MS);
        let until = now.plus_ms(GRACE_MS.max(probing.direct_timeout_ms));
        for probe in self.probes.values_mut() {
            probe.until = probe.until.max(until);
        }
        Some(until)
    }

    /// The next of the (sorted) peers to probe: each once in a shuffled round.
    pub fn next_target(&mut self, random: &mut Random, up: Vec<NodeId>) -> Option<NodeId> {
        next_of(&mut self.round, random, up)
    }

    /// The next of the (sorted) dead peers to probe.
    pub fn next_dead(&mut self, random: &mut Random, dead: Vec<NodeId>) -> Option<NodeId> {
        next_of(&mut self.dead_round, random, dead)
    }
}

/// Takes the next of a round that still belongs to it, beginning a new round when it is over.
fn next_of(round: &mut Vec<NodeId>, random: &mut Random, mut all: Vec<NodeId>) -> Option<NodeId> {
    while let Some(node) = round.pop() {
        if all.binary_search(&node).is_ok() {
            return Some(node);
        }
    }
    random.shuffle(&mut all);
    *round = all;
    round.pop()
}
