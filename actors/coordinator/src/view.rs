//! What the coordinator knows of the world beyond its operations: ring, peers, rounds, latencies, time.

use crate::config::{Config, MARGIN_US_MAX, OPERATION_MS_MAX};
use crate::latency::{HedgeBudget, Latency};
use crate::route::{Plan, Ring};
use crate::timers::OpNumber;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use anser_machine::{Now, Outbox, Peers, Random};
use anser_model::{Hlc, KeyspaceId, NodeId, PartitionId, Round, Step};
use anser_proto::client::{Failure, Outcome};
use anser_proto::gossip::PeerState;
use anser_proto::replicate::{Place, ReplicaRequest};
use anser_proto::{Address, Body, Envelope, OpId, Role, Tick};

/// Bits of an operation's wire number that tell its requests' generation.
const GENERATION_BITS: u32 = 8;

/// Whether an operation goes on.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It waits for answers or time.
    Wait,
    /// It is over.
    Done(Outcome),
}

impl Verdict {
    /// It is over, without success.
    pub fn failed(failure: Failure) -> Verdict {
        Verdict::Done(Outcome::Failed(failure))
    }
}

/// One step of the machine, as operations see it.
pub(crate) struct Turn<'a> {
    pub view: &'a mut View,
    pub now: Now,
    pub out: &'a mut Outbox,
}

/// Which requests of an operation an answer belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Generation(pub u8);

/// What the coordinator knows.
#[derive(Debug)]
pub(crate) struct View {
    pub config: Config,
    pub ring: Option<Ring>,
    pub peers: Arc<Peers>,
    pub latency: Latency,
    pub hedges: HedgeBudget,
    pub random: Random,
    /// Rounds over 0, as copies told them; at most one a partition.
    rounds: BTreeMap<PartitionId, Round>,
    clock: Hlc,
}

impl View {
    /// Before anything is known.
    pub fn new(config: Config) -> View {
        View {
            ring: None,
            peers: Arc::new(Peers::new()),
            latency: Latency::default(),
            hedges: HedgeBudget::new(config.hedge_per_mille),
            random: Random::new(config.seed),
            rounds: BTreeMap::new(),
            clock: Hlc::default(),
            config,
        }
    }

    /// This coordinator's address.
    pub fn address(&self) -> Address {
        Address { node: self.config.me, role: Role::Coordinator, slot: 0 }
    }

    /// The adopted step; 0 before the first.
    pub fn step(&self) -> Step {
        self.ring.as_ref().map_or(Step(0), |ring| ring.record().step)
    }

    /// How a node seems. One that membership has not told of may yet be there.
    pub fn standing(&self, node: &NodeId) -> PeerState {
        if *node == self.config.me {
            return PeerState::Alive;
        }
        self.peers.get(node).map_or(PeerState::Suspect, |peer| peer.state)
    }

    /// Whether a node seems dead.
    pub fn is_dead(&self, node: &NodeId) -> bool {
        match self.standing(node) {
            PeerState::Alive | PeerState::Suspect => false,
            PeerState::Dead => true,
        }
    }

    /// Where a key is, in the round that its partition is known to be in.
    pub fn place(&self, keyspace: KeyspaceId, plan: &Plan) -> Place {
        let round = if self.rounds.is_empty() { None } else { self.rounds.get(&plan.partition).copied() };
        Place { keyspace, partition: plan.partition, round: round.unwrap_or_default() }
    }

    /// A copy told its partition's round.
    pub fn learn_round(&mut self, partition: PartitionId, round: Round) {
        if round > Round(0) {
            let known = self.rounds.entry(partition).or_default();
            *known = (*known).max(round);
        }
    }

    /// The clock's answer for replies.
    pub fn clock(&self) -> Hlc {
        self.clock
    }

    /// Follows the wall clock, and a stamp that is not too far ahead of it.
    pub fn follow(&mut self, wall_ms: u64, stamp: Option<Hlc>) {
        self.clock = self.clock.max(Hlc::from_ms(wall_ms));
        let near = stamp.filter(|stamp| stamp.ms() <= wall_ms.saturating_add(self.config.max_drift_ms));
        self.clock = self.clock.max(near.unwrap_or_default());
    }

    /// Asks a node's copy of a partition.
    pub fn ask(&self, node: NodeId, asking: Asking, request: ReplicaRequest, out: &mut Outbox) {
        let slot = u32::from(request.partition().0);
        let to = Address { node, role: Role::Replica, slot };
        out.send(self.envelope(to, asking, Body::Replicate(request)));
    }

    /// An envelope to another actor for one of its operations.
    pub fn envelope(&self, to: Address, asking: Asking, body: Body) -> Envelope {
        Envelope {
            from: self.address(),
            to,
            op: OpId { life: self.config.life, seq: asking.seq() },
            step: self.step(),
            deadline: asking.deadline,
            body,
        }
    }
}

/// As what an operation asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    pub op: OpNumber,
    pub generation: Generation,
    pub deadline: Tick,
}

impl Generation {
    /// The one after it. The bounds on attempts, tries and restarts keep it far from the end.
    pub fn next(self) -> Generation {
        Generation(self.0.saturating_add(1))
    }
}

impl Asking {
    fn seq(self) -> u64 {
        self.op << GENERATION_BITS | u64::from(self.generation.0)
    }
}

/// The operation and generation of an answer.
pub(crate) fn addressed(seq: u64) -> (OpNumber, Generation) {
    let [low, ..] = seq.to_le_bytes();
    (seq >> GENERATION_BITS, Generation(low))
}

/// When an operation ends, and when its asker is answered: a little before the asker stops waiting.
pub(crate) fn answer_by(now: Tick, deadline: Tick) -> Tick {
    let deadline = deadline.min(now.plus_ms(OPERATION_MS_MAX));
    let left_us = deadline.since_us(now);
    now.plus_us(left_us - (left_us / 8).min(MARGIN_US_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_leave_a_little_before_the_deadline() {
        let table = [(0, 1_000_000, 995_000), (0, 8_000, 7_000), (500, 500, 500), (900, 500, 900)];
        for (now, deadline, expected) in table {
            assert_eq!(answer_by(Tick(now), Tick(deadline)), Tick(expected), "{now} {deadline}");
        }
        assert_eq!(answer_by(Tick(0), Tick(u64::MAX)), Tick(60_000_000 - 5_000));
    }

    #[test]
    fn a_wire_number_holds_operation_and_generation() {
        let asking = Asking { op: 7, generation: Generation(9), deadline: Tick(0) };
        assert_eq!(addressed(asking.seq()), (7, Generation(9)));
    }
}
