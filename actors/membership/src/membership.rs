//! The machine: what happens goes to the part whose business it is; what became of it is settled at the end of each step.
//!
//! Keeps: nothing is gossiped before the own incarnation is durable. Deliberately absent: the rules themselves, which are in
//! `rumours`, `claim` and `ring_keeper`.

use crate::claim::Claim;
use crate::config::Config;
use crate::detector::{Detector, LATE_MS};
use crate::folders::{Folders, Other, OwnFolder};
use crate::founding::Founding;
use crate::peers::PeerTable;
use crate::probing::Timers;
use crate::ring_keeper::RingKeeper;
use crate::rumours::Spread;
use crate::slots::{KeptPeers, decode_incarnation, decode_peers, encode_incarnation, encode_peers};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use anser_machine::{DiskRequest, Event, Fact, Feedback, Machine, Now, Outbox, Random, SlotName};
use anser_model::{FolderId, NodeId};
use anser_proto::client::ClientRequest;
use anser_proto::gossip::PeerState;
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Role, Tick};
use bytes::Bytes;

/// A peer of whom only the address is known gets this long for its first word.
const FIRST_WORD_MS: u64 = 3000;
/// A node that was away this long tells everybody that it is back.
const ABSENCE_MS: u64 = 1500;

/// How far a start is.
#[derive(Debug)]
enum Phase {
    /// Nothing asked yet.
    Fresh,
    /// Slots are being read.
    Loading(Slots),
    /// All slots are read.
    Loaded,
    /// The ring slot can't be read. To go on without it could make this node forget its cluster, so it stays silent.
    Broken,
}

/// The slots read so far; the inner option is whether one was ever saved.
#[derive(Debug, Default)]
struct Slots {
    ring: Option<Option<Bytes>>,
    incarnation: Option<Option<Bytes>>,
    peers: Option<Option<Bytes>>,
}

/// Failure detection, gossip and the ring chain of one node.
#[derive(Debug)]
pub struct Membership {
    pub(crate) config: Config,
    pub(crate) random: Random,
    pub(crate) claim: Claim,
    pub(crate) ring: RingKeeper,
    pub(crate) peers: PeerTable,
    pub(crate) spread: Spread,
    pub(crate) detector: Detector,
    pub(crate) timers: Timers,
    pub(crate) founding: Founding,
    /// This node's data folder, as the others remember it, and theirs.
    pub(crate) own: OwnFolder,
    pub(crate) folders: Folders,
    /// Who told of a rumour that this node refutes, and is to hear so first.
    pub(crate) tellers: BTreeSet<NodeId>,
    pub(crate) disk_failed: bool,
    phase: Phase,
    seq: u64,
}

impl Membership {
    /// A machine that has read nothing yet.
    pub fn new(config: Config) -> Membership {
        Membership {
            random: Random::new(config.random_seed),
            own: OwnFolder::new(config.member.folder, config.shards),
            folders: Folders::default(),
            config,
            claim: Claim::default(),
            ring: RingKeeper::default(),
            peers: PeerTable::default(),
            spread: Spread::default(),
            detector: Detector::default(),
            timers: Timers::default(),
            founding: Founding::default(),
            tellers: BTreeSet::new(),
            disk_failed: false,
            phase: Phase::Fresh,
            seq: 0,
        }
    }

    /// This node.
    pub(crate) fn me(&self) -> NodeId {
        self.config.member.node
    }

    /// Whether all slots are read.
    pub(crate) fn is_loaded(&self) -> bool {
        matches!(self.phase, Phase::Loaded)
    }

    /// Whether this node may gossip: its incarnation is durable.
    pub(crate) fn speaks(&self) -> bool {
        self.claim.said() > 0
    }

    /// Whether a node's words, and words about it, count.
    pub(crate) fn admits(&self, node: &NodeId) -> bool {
        *node != self.me()
            && match self.ring.counts(node) {
                Some(counts) => counts,
                None => self.peers.get(node).is_some() || self.peers.has_room(),
            }
    }

    /// The next operation of this machine.
    pub(crate) fn next_op(&mut self) -> OpId {
        self.seq += 1;
        OpId { life: self.config.life, seq: self.seq }
    }

    /// Sends something, at this node's step.
    pub(crate) fn send(&self, to: Address, op: OpId, deadline: Tick, body: Body, out: &mut Outbox) {
        let from = Address { node: self.me(), role: Role::Membership, slot: 0 };
        out.send(Envelope { from, to, op, step: self.ring.step(), deadline, body });
    }

    /// How long somebody who becomes suspect now may take to say otherwise.
    pub(crate) fn suspect_until(&self, now: Tick, incarnation: u64) -> Tick {
        let patience_ms = if incarnation == 0 { FIRST_WORD_MS } else { self.config.probing.suspicion_ms };
        now.plus_ms(self.detector.stretched_ms(patience_ms))
    }

    fn on_message(&mut self, now: Now, envelope: Envelope, out: &mut Outbox) {
        let Envelope { from, op, step, deadline, body, .. } = envelope;
        match body {
            Body::Gossip(gossip) if self.speaks() => self.on_gossip(now.tick, from, op, step, gossip, out),
            Body::Admin(request) => self.on_admin(now.tick, (from, op, deadline), request, out),
            Body::Client(ClientRequest::DescribeRing) => {
                let reply = Body::ClientReply(self.describe_ring(now.wall_ms));
                self.send(from, op, deadline, reply, out);
            }
            Body::Client(ClientRequest::DescribeCluster) => {
                let reply = Body::ClientReply(self.describe_cluster(now.wall_ms));
                self.send(from, op, deadline, reply, out);
            }
            Body::Client(ClientRequest::Put(_) | ClientRequest::Get(_))
            | Body::Replicate(_)
            | Body::ForwardPut(_) => self.send(from, op, deadline, Body::Refused(Refusal::NotAllowed), out),
            // Gossip before the first word is lost on purpose; the rest answers nothing that this machine asked. What
            // could not be sent shows by itself: the probe's time ends.
            Body::Gossip(_)
            | Body::Replicated(_)
            | Body::ForwardPutReply(_)
            | Body::ClientReply(_)
            | Body::AdminReply(_)
            | Body::Refused(_) => {}
        }
    }

    fn on_feedback(&mut self, now: Tick, feedback: Feedback, out: &mut Outbox) {
        match feedback {
            Feedback::Loaded { slot, bytes } => self.on_loaded(now, slot, bytes, out),
            Feedback::Saved { slot: SlotName::Incarnation } => self.on_claim_saved(now, out),
            Feedback::Saved { slot: SlotName::Ring } => self.on_ring_saved(now, out),
            Feedback::Saved { slot: SlotName::Peers } => self.on_peers_saved(out),
            Feedback::DiskFailed => {
                self.disk_failed = true;
                self.refuse_waiters(out);
            }
            // A shard's, never this machine's.
            Feedback::Saved { slot: SlotName::Copies }
            | Feedback::Durable { .. }
            | Feedback::RecoveredTables { .. }
            | Feedback::RecoveredLog { .. }
            | Feedback::Fetched { .. }
            | Feedback::FetchFailed { .. }
            | Feedback::TableGone { .. }
            | Feedback::Flushed { .. }
            | Feedback::TablesReplaced { .. }
            | Feedback::GroupDamaged { .. }
            | Feedback::Wiped { .. }
            | Feedback::Merged { .. } => {}
        }
    }

    fn on_loaded(&mut self, now: Tick, slot: SlotName, bytes: Option<Bytes>, out: &mut Outbox) {
        let Phase::Loading(slots) = &mut self.phase else { return };
        match slot {
            SlotName::Ring => slots.ring = Some(bytes),
            SlotName::Incarnation => slots.incarnation = Some(bytes),
            SlotName::Peers => slots.peers = Some(bytes),
            // A shard's.
            SlotName::Copies => {}
        }
        let (Some(ring), Some(incarnation), Some(peers)) = (&slots.ring, &slots.incarnation, &slots.peers)
        else {
            return;
        };
        let Ok(ring) = RingKeeper::restored(ring.as_deref()) else {
            self.phase = Phase::Broken;
            return;
        };
        // A damaged incarnation or address book only costs time: a rumour of the higher one is refuted, addresses are learnt.
        let incarnation = incarnation.as_deref().and_then(|bytes| decode_incarnation(bytes).ok());
        // So does what is remembered of folders: an old copy is then recognised by others only.
        let peers = peers.as_deref().and_then(|bytes| decode_peers(bytes).ok()).unwrap_or_default();
        self.folders = Folders::restored(peers.folders);
        self.phase = Phase::Loaded;
        self.claim = Claim::restored(incarnation);
        self.ring = ring;
        if let Some(record) = self.ring.newest() {
            out.publish(Fact::RingAdopted(record.clone()));
        }
        for (node, address) in peers.addresses {
            self.learn_address(now, node, address);
        }
        self.peers.take_addresses();
    }

    /// The incarnation is durable, so it may be said. With the first one gossip begins.
    fn on_claim_saved(&mut self, now: Tick, out: &mut Outbox) {
        let begins = !self.speaks();
        if !self.claim.saved() {
            return;
        }
        let me = self.me();
        self.spread.add(me);
        if begins {
            self.begin_timers(now);
            self.own.ask(now);
            self.peers.give_time(self.suspect_until(now, 0));
            self.greet_all(now);
        }
        for teller in core::mem::take(&mut self.tellers) {
            self.send_rumours(now, teller, out);
        }
    }

    /// Learns where somebody listens from elsewhere than rumours. True if that is news.
    pub(crate) fn learn_address(&mut self, now: Tick, node: NodeId, address: core::net::SocketAddr) -> bool {
        self.admits(&node) && self.peers.note_address(node, address, self.suspect_until(now, 0))
    }

    /// The other members; none before there is a ring.
    pub(crate) fn others(&self) -> Option<Vec<Other>> {
        let nodes = self.ring.newest()?.roster.iter().map(|entry| entry.member.node);
        let is_dead = |node: &NodeId| self.peers.get(node).is_some_and(|peer| peer.state == PeerState::Dead);
        let others = nodes.filter(|node| *node != self.me());
        Some(others.map(|node| Other { node, is_dead: is_dead(&node) }).collect())
    }

    /// What this node will remember of a peer's folder after a crash: which one, and how many records it held.
    pub fn remembers(&self, node: &NodeId) -> Option<(FolderId, u64)> {
        self.folders.durable(node).map(|known| (known.folder, known.records))
    }

    /// Writes the address book, with some addresses more, and what is remembered of folders.
    pub(crate) fn save_peers(&mut self, more: &[(NodeId, core::net::SocketAddr)], out: &mut Outbox) {
        let mut addresses = self.peers.take_addresses();
        let known: BTreeSet<NodeId> = addresses.iter().map(|(node, _)| *node).collect();
        let unknown = more.iter().filter(|(node, _)| !known.contains(node));
        addresses.extend(unknown.copied().collect::<Vec<_>>());
        self.founding.peers_saves += 1;
        let kept = KeptPeers { addresses, folders: self.folders.begin_save() };
        out.disk(DiskRequest::Save { slot: SlotName::Peers, bytes: encode_peers(&kept) });
    }

    /// A node that was away must not judge others by that time; after long it says that it is back.
    fn notice_absence(&mut self, now: Tick) {
        let Some((due, _)) = self.next_timeout() else { return };
        let late_ms = now.since_us(due) / 1000;
        if !self.speaks() || late_ms < LATE_MS {
            return;
        }
        if let Some(until) = self.detector.put_off(now, &self.config.probing) {
            self.detector.worsen();
            self.peers.give_time(until);
            if late_ms >= ABSENCE_MS {
                self.greet_all(now);
            }
        }
    }

    /// What follows from any step: a refutation to save, news to publish, timers to set.
    fn settle(&mut self, now: Tick, out: &mut Outbox) {
        if !self.is_loaded() {
            return;
        }
        if !self.disk_failed
            && let Some(incarnation) = self.claim.next_save()
        {
            let bytes = encode_incarnation(incarnation);
            out.disk(DiskRequest::Save { slot: SlotName::Incarnation, bytes });
        }
        self.judge_folder(now, out);
        if let Some(peers) = self.peers.take_change() {
            out.publish(Fact::PeersChanged(peers.into()));
        }
        if self.speaks() {
            self.set_timers(now);
        }
    }
}

impl Machine for Membership {
    fn handle(&mut self, now: Now, event: Event, out: &mut Outbox) {
        self.notice_absence(now.tick);
        match event {
            Event::Message(envelope) => self.on_message(now, envelope, out),
            Event::Own(feedback) => self.on_feedback(now.tick, feedback, out),
            Event::Fact(Fact::PeerSeen { node, address }) => {
                if self.is_loaded() && self.learn_address(now.tick, node, address) && self.speaks() {
                    self.send_rumours(now.tick, node, out);
                }
            }
            // Its own facts, or nothing to it.
            Event::Fact(Fact::LogGrown { shard, records }) => self.own.grow(shard, records),
            Event::Fact(Fact::CopiesChanged { shard, copies }) => {
                self.own.refills(shard, copies.joining.len())
            }
            Event::Fact(
                Fact::RingAdopted(_)
                | Fact::FolderJudged(_)
                | Fact::PeersChanged(_)
                | Fact::ShardChanged { .. }
                | Fact::TablesChanged { .. }
                | Fact::RoomChanged(_),
            ) => {}
        }
        self.settle(now.tick, out);
    }

    fn next_timeout(&self) -> Option<(Tick, &'static str)> {
        match self.phase {
            Phase::Fresh => Some((Tick(0), "start")),
            Phase::Loaded if self.speaks() => self.next_timer(),
            Phase::Loading(_) | Phase::Loaded | Phase::Broken => None,
        }
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Outbox) {
        match self.phase {
            Phase::Fresh => {
                self.phase = Phase::Loading(Slots::default());
                for slot in [SlotName::Ring, SlotName::Incarnation, SlotName::Peers] {
                    out.disk(DiskRequest::Load { slot });
                }
            }
            Phase::Loaded if self.speaks() => {
                self.notice_absence(now.tick);
                self.run_timers(now.tick, out);
            }
            Phase::Loading(_) | Phase::Loaded | Phase::Broken => {}
        }
        self.settle(now.tick, out);
    }
}
