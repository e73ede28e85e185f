//! The conversation of membership actors: what is answered to which word, and what is taken from it.
//!
//! Keeps: a datagram carries at most [`RUMOURS_PER_DATAGRAM_MAX`] rumours, an exchange at most [`RUMOURS_PER_EXCHANGE_MAX`].
//! The speaker's own rumour is always the first, and somebody who is believed to be suspect or dead is always told so.
//! "Alive" needs both directions: it takes a new incarnation to come back, and only who hears of its death raises it.

use crate::detector::{Probe, Stage};
use crate::membership::Membership;
use crate::peers::Peer;
use crate::ring_keeper::{RECORDS_PER_PUSH_MAX, Verdict, judge};
use alloc::vec::Vec;
use anser_machine::{DiskRequest, Outbox, SlotName};
use anser_model::ring::Record;
use anser_model::{NodeId, Step};
use anser_proto::gossip::{Gossip, Heard, Mark, PeerState, RUMOURS_PER_DATAGRAM_MAX, Rumour};
use anser_proto::{Address, Body, OpId, Role, Tick};
use bytes::Bytes;

/// Most rumours said, and most taken in, in one exchange of beliefs: it fits a control lane's frame.
pub(crate) const RUMOURS_PER_EXCHANGE_MAX: usize = 512;
/// Most suspects that are told at once what was heard of them.
const TOLD_PER_MESSAGE_MAX: usize = 4;
/// About how many nodes of a cluster tell a suspect what they heard of it.
const TELLERS: usize = 16;
/// Most tellers remembered until the refutation is durable.
const TELLERS_MAX: usize = 16;
/// How long gossip may be on its way; later it is stale.
const GOSSIP_DEADLINE_MS: u64 = 2000;

impl Membership {
    /// Takes in what another node's membership says.
    pub(crate) fn on_gossip(
        &mut self,
        now: Tick,
        from: Address,
        op: OpId,
        step: Step,
        gossip: Gossip,
        out: &mut Outbox,
    ) {
        let speaker = from.node;
        if from.role != Role::Membership || !self.admits(&speaker) {
            return;
        }
        self.detector.hear(now);
        if self.ring.should_pull(step, now) {
            self.gossip(now, speaker, Gossip::PullRing { have: self.ring.step() }, out);
        }
        match gossip {
            Gossip::Probe { rumours, mark } => {
                self.hear_all(now, speaker, &rumours, out);
                let heard = self.hear_mark(speaker, &mark, None);
                let (rumours, mark) = (self.rumours_for(&speaker), self.own.mark());
                self.reply(now, from, op, Gossip::ProbeAck { rumours, mark, heard }, out);
            }
            Gossip::ProbeAck { rumours, mark, heard } => {
                self.hear_all(now, speaker, &rumours, out);
                // An answer to a former process may be about another folder.
                let heard = (op.life == self.config.life).then_some(heard);
                self.hear_mark(speaker, &mark, heard);
                self.on_answered(now, op, &speaker, out);
            }
            Gossip::ProbeFor { target, rumours } => {
                self.hear_all(now, speaker, &rumours, out);
                self.relay(now, from, op, target, out);
            }
            Gossip::ProbeForAck { target, rumours } => {
                self.hear_all(now, speaker, &rumours, out);
                self.on_answered(now, op, &target, out);
            }
            Gossip::PushPull { rumours } => {
                self.hear_all(now, speaker, &rumours, out);
                self.peers.meet(&speaker);
                let rumours = self.all_rumours();
                self.reply(now, from, op, Gossip::PushPullReply { rumours }, out);
            }
            Gossip::PushPullReply { rumours } => {
                self.hear_all(now, speaker, &rumours, out);
                self.peers.meet(&speaker);
            }
            Gossip::PullRing { have } => self.push_ring(now, from, op, have, out),
            Gossip::PushRing { records } => self.take_records(records, out),
        }
        self.meet(now, speaker, out);
    }

    /// Takes in how far a member's folder is, and what it remembers of this node's. What is remembered here of its.
    fn hear_mark(&mut self, speaker: NodeId, mark: &Mark, heard: Option<Heard>) -> Heard {
        if self.ring.counts(&speaker) != Some(true) {
            return Heard::Nothing;
        }
        self.own.hear(speaker, mark.trust, heard);
        self.folders.hear(speaker, mark)
    }

    /// Asks somebody whether it is there, with fresh rumours.
    pub(crate) fn probe(&mut self, now: Tick, to: NodeId, op: OpId, out: &mut Outbox) {
        let (rumours, mark) = (self.rumours_for(&to), self.own.mark());
        let to = Address { node: to, role: Role::Membership, slot: 0 };
        self.reply(now, to, op, Gossip::Probe { rumours, mark }, out);
    }

    /// Sends fresh rumours to somebody, in a probe whose answer isn't waited for.
    pub(crate) fn send_rumours(&mut self, now: Tick, to: NodeId, out: &mut Outbox) {
        let op = self.next_op();
        self.probe(now, to, op, out);
    }

    /// Says everything to somebody, for everything it believes.
    pub(crate) fn exchange(&mut self, now: Tick, to: NodeId, out: &mut Outbox) {
        let rumours = self.all_rumours();
        self.gossip(now, to, Gossip::PushPull { rumours }, out);
    }

    /// Says something of a new operation.
    pub(crate) fn gossip(&mut self, now: Tick, to: NodeId, gossip: Gossip, out: &mut Outbox) {
        let op = self.next_op();
        let to = Address { node: to, role: Role::Membership, slot: 0 };
        self.reply(now, to, op, gossip, out);
    }

    /// Says something of a given operation.
    pub(crate) fn reply(&self, now: Tick, to: Address, op: OpId, gossip: Gossip, out: &mut Outbox) {
        self.send(to, op, now.plus_ms(GOSSIP_DEADLINE_MS), Body::Gossip(gossip), out);
    }

    /// The rumours for a datagram to somebody: this node's own, what is believed of the receiver if that is bad, and the
    /// least often told.
    pub(crate) fn rumours_for(&mut self, to: &NodeId) -> Vec<Rumour> {
        let mut rumours = Vec::with_capacity(RUMOURS_PER_DATAGRAM_MAX);
        rumours.push(self.own_rumour());
        rumours.extend(self.peers.rumour(to).filter(|rumour| rumour.state != PeerState::Alive));
        let room = RUMOURS_PER_DATAGRAM_MAX - rumours.len();
        for node in self.spread.pick(room, self.peers.len()) {
            if node != *to {
                rumours.extend(self.peers.rumour(&node));
            }
        }
        rumours
    }

    fn own_rumour(&self) -> Rumour {
        Rumour {
            node: self.me(),
            address: self.config.address,
            incarnation: self.claim.said(),
            state: PeerState::Alive,
        }
    }

    /// This node's own rumour and those of all peers; of a cluster too large for one message, a part that differs each time.
    fn all_rumours(&mut self) -> Vec<Rumour> {
        let mut nodes: Vec<NodeId> = self.peers.iter().map(|(node, _)| *node).collect();
        if nodes.len() >= RUMOURS_PER_EXCHANGE_MAX {
            self.random.shuffle(&mut nodes);
            nodes.truncate(RUMOURS_PER_EXCHANGE_MAX - 1);
        }
        let rumours = nodes.iter().filter_map(|node| self.peers.rumour(node));
        core::iter::once(self.own_rumour()).chain(rumours).collect()
    }

    fn hear_all(&mut self, now: Tick, speaker: NodeId, rumours: &[Rumour], out: &mut Outbox) {
        let mut told = 0;
        for rumour in rumours.iter().take(RUMOURS_PER_EXCHANGE_MAX) {
            if rumour.node == self.me() {
                self.hear_of_me(speaker, rumour);
                continue;
            }
            let reachable = rumour.address.port() != 0 && !rumour.address.ip().is_unspecified();
            if !reachable || !self.admits(&rumour.node) {
                continue;
            }
            let until = self.suspect_until(now, rumour.incarnation);
            let Some(state) = self.peers.hear(rumour, until) else { continue };
            self.spread.add(rumour.node);
            // Who is wrongly suspected should learn it from many, or the refutation may come too late.
            let chosen = self.draw_below(self.peers.len()) < TELLERS;
            if state == PeerState::Suspect && rumour.node != speaker && chosen && told < TOLD_PER_MESSAGE_MAX
            {
                told += 1;
                self.send_rumours(now, rumour.node, out);
            }
        }
    }

    fn draw_below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(self.random.below(bound)).unwrap_or(usize::MAX)
    }

    fn hear_of_me(&mut self, speaker: NodeId, rumour: &Rumour) {
        if rumour.incarnation > crate::rumours::INCARNATION_MAX {
            return;
        }
        if self.claim.refute(rumour.incarnation, rumour.state) {
            if self.tellers.is_empty() {
                self.detector.worsen();
            }
            if self.tellers.len() < TELLERS_MAX {
                self.tellers.insert(speaker);
            }
        }
    }

    fn on_answered(&mut self, now: Tick, op: OpId, target: &NodeId, out: &mut Outbox) {
        if op.life != self.config.life {
            return;
        }
        let Some(probe) = self.detector.answered(op.seq, target) else { return };
        match probe.stage {
            Stage::Direct | Stage::Indirect => self.detector.improve(),
            Stage::Relayed(asker, asked) => {
                let rumours = self.rumours_for(&asker.node);
                self.reply(now, asker, asked, Gossip::ProbeForAck { target: *target, rumours }, out);
            }
        }
    }

    /// Probes somebody for another node.
    fn relay(&mut self, now: Tick, asker: Address, asked: OpId, target: NodeId, out: &mut Outbox) {
        let Some(incarnation) = self.peers.get(&target).map(|peer| peer.incarnation) else { return };
        let op = self.next_op();
        let until = now.plus_ms(self.config.probing.direct_timeout_ms);
        let stage = Stage::Relayed(asker, asked);
        if self.detector.begin(op.seq, Probe { target, incarnation, sent: now, stage, until }) {
            self.probe(now, target, op, out);
        }
    }

    /// Exchanges beliefs with somebody who is heard for the first time, or for the first time since it was dead.
    fn meet(&mut self, now: Tick, speaker: NodeId, out: &mut Outbox) {
        let stranger = self.peers.get(&speaker).is_some_and(|peer: &Peer| !peer.met);
        if stranger && self.timers.may_exchange(now) {
            self.peers.meet(&speaker);
            self.exchange(now, speaker, out);
        }
    }

    /// Sends ring records to a member. Not to strangers: a record has keys in it.
    fn push_ring(&mut self, now: Tick, to: Address, op: OpId, have: Step, out: &mut Outbox) {
        let records = self.ring.after(have);
        if !records.is_empty() && self.ring.counts(&to.node) == Some(true) {
            self.reply(now, to, op, Gossip::PushRing { records }, out);
        }
    }

    /// Takes the first record that follows on what is known; the next one is pulled when this one is durable.
    fn take_records(&mut self, records: Vec<Bytes>, out: &mut Outbox) {
        if self.disk_failed {
            return;
        }
        for bytes in records.into_iter().take(RECORDS_PER_PUSH_MAX) {
            let Ok(record) = Record::decode(&bytes) else { return };
            let own = self.ring.newest().map(|own| &**own);
            match judge(own, &record, &self.config.member.node, &self.config.cluster_name) {
                Verdict::Nothing => {}
                Verdict::Gap | Verdict::Refuse => return,
                Verdict::Adopt => {
                    if let Some(slot) = self.ring.begin(bytes, record) {
                        out.disk(DiskRequest::Save { slot: SlotName::Ring, bytes: slot });
                    }
                    return;
                }
            }
        }
    }
}
