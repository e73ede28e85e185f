//! The switchboard: takes every message to its actor, here or elsewhere, and every disk request and answer on its way.
//!
//! Keeps: nobody is waited for. Deliberately absent: any decision about what a message says.

use super::clock::Clock;
use super::peers::PeerBook;
use crate::disk::{Asker, DiskHandle, FeedbackSink};
use crate::metrics::Meter;
use anser_host::{Handle, Shell};
use anser_machine::{Count, DiskRequest, Fact, Feedback, Now};
use anser_model::{NodeId, PartitionId};
use anser_proto::hello::Hello;
use anser_proto::{Body, Envelope, Refusal, Role};
use anser_quic::{Identity, Inbound, Source};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

/// The ways to this node's actors.
pub(super) struct Directory {
    pub(super) membership: Handle,
    pub(super) coordinator: Handle,
    pub(super) compactor: Handle,
    pub(super) replicas: Vec<Handle>,
}

impl Directory {
    /// Every actor.
    pub(super) fn all(&self) -> impl Iterator<Item = &Handle> {
        [&self.membership, &self.coordinator, &self.compactor].into_iter().chain(&self.replicas)
    }

    /// The actor that has a role and slot; for replicas the slot is a partition.
    fn find(&self, role: Role, slot: u32) -> Option<&Handle> {
        match role {
            Role::Membership => Some(&self.membership),
            Role::Coordinator => Some(&self.coordinator),
            Role::Replica => {
                let shards = u32::try_from(self.replicas.len()).ok()?;
                // A slot that is no partition is nobody's.
                let partition = PartitionId(u16::try_from(slot).ok()?);
                self.replicas.get(usize::try_from(u32::from(partition.0).checked_rem(shards)?).ok()?)
            }
            // Nobody has anything to say to the compactor.
            Role::Hints | Role::Syncer | Role::Compactor | Role::Session => None,
        }
    }
}

/// See the module.
pub(super) struct Switchboard {
    me: NodeId,
    clock: Clock,
    disk: OnceLock<DiskHandle>,
    directory: OnceLock<Directory>,
    peers: PeerBook,
    meter: Meter,
}

impl Switchboard {
    /// One that knows nobody yet. Whoever sends before the actors are in place waits for that: it happens at the start only.
    pub(super) fn new(me: NodeId, clock: Clock) -> Switchboard {
        Switchboard {
            me,
            clock,
            disk: OnceLock::new(),
            directory: OnceLock::new(),
            peers: PeerBook::default(),
            meter: Meter::new(me),
        }
    }

    /// The data folder has so many shards.
    pub(super) fn set_shards(&self, shards: u32) {
        self.meter.set_shards(shards);
    }

    /// Puts the disk in place.
    pub(super) fn set_disk(&self, disk: DiskHandle) {
        self.disk.get_or_init(|| disk);
    }

    /// Makes it slow.
    #[cfg(feature = "faults")]
    pub(super) fn slow_disk(&self, delay_ms: u64) {
        self.disk.wait().slow_down(delay_ms);
    }

    /// Puts the actors in place.
    pub(super) fn set_directory(&self, directory: Directory) {
        self.directory.get_or_init(|| directory);
    }

    /// This node's actors, once they are there.
    pub(super) fn directory(&self) -> Option<&Directory> {
        self.directory.get()
    }

    /// The peers, and the network to them.
    pub(super) fn peers(&self) -> &PeerBook {
        &self.peers
    }

    /// Delivers messages for this node: one call for each actor that gets any. What is for nobody here is refused.
    pub(super) fn deliver_here(&self, batch: Vec<Envelope>) {
        let directory = self.directory.wait();
        let mut parts: BTreeMap<(Role, u32), (&Handle, Vec<Envelope>)> = BTreeMap::new();
        let mut refused = Vec::new();
        for envelope in batch {
            match directory.find(envelope.to.role, envelope.to.slot) {
                Some(handle) => {
                    let part = parts.entry((handle.role(), handle.slot()));
                    part.or_insert_with(|| (handle, Vec::new())).1.push(envelope);
                }
                None if envelope.body.is_request() => refused.push(refusal(envelope)),
                None => {}
            }
        }
        for (handle, part) in parts.into_values() {
            handle.deliver(part);
        }
        if !refused.is_empty() {
            self.send(refused);
        }
    }
}

/// The answer to a request for an actor that this node doesn't have.
fn refusal(envelope: Envelope) -> Envelope {
    let (from, to) = (envelope.to, envelope.from);
    Envelope { from, to, body: Body::Refused(Refusal::NotServing), ..envelope }
}

impl Shell for Switchboard {
    fn send(&self, batch: Vec<Envelope>) {
        let is_here = |envelope: &Envelope| envelope.to.node == self.me && envelope.to.role != Role::Session;
        let (here, elsewhere): (Vec<Envelope>, Vec<Envelope>) = batch.into_iter().partition(is_here);
        if !here.is_empty() {
            self.deliver_here(here);
        }
        if !elsewhere.is_empty() {
            self.peers.send(elsewhere);
        }
    }

    fn disk(&self, role: Role, slot: u32, life: u32, batch: Vec<DiskRequest>) {
        let asker = match role {
            Role::Replica => Asker::Shard(slot),
            Role::Compactor => Asker::Compactor,
            Role::Membership | Role::Coordinator | Role::Hints | Role::Syncer | Role::Session => {
                Asker::Control
            }
        };
        self.disk.wait().submit(asker, life, batch);
    }

    fn publish(&self, fact: Fact) {
        self.meter.note(&fact);
        self.peers.note(&fact);
        for handle in self.directory.wait().all() {
            handle.tell(fact.clone());
        }
    }

    fn count(&self, _role: Role, count: Count) {
        self.meter.count(count);
    }

    fn now(&self) -> Now {
        self.clock.now()
    }
}

impl FeedbackSink for Switchboard {
    fn feed(&self, asker: Asker, life: u32, batch: Vec<Feedback>) {
        let directory = self.directory.wait();
        let handle = match asker {
            Asker::Shard(shard) => {
                usize::try_from(shard).ok().and_then(|shard| directory.replicas.get(shard))
            }
            Asker::Control => Some(&directory.membership),
            Asker::Compactor => Some(&directory.compactor),
        };
        if let Some(handle) = handle {
            handle.feed(life, batch);
        }
    }
}

impl Inbound for Switchboard {
    fn deliver(&self, _from: Source, batch: Vec<Envelope>) {
        // Refusals of the network's own are for actors here, but may also be for a session's request that came in.
        self.send(batch);
    }

    fn peer_up(&self, node: NodeId, rtt: Duration) {
        tracing::info!(peer = %node.short(), rtt_ms = rtt.as_secs_f64() * 1e3, "connected to a peer");
    }

    fn peer_down(&self, node: NodeId) {
        tracing::info!(peer = %node.short(), "lost the connection to a peer");
    }

    fn learned(&self, node: NodeId, address: SocketAddr, _hello: &Hello) {
        self.publish(Fact::PeerSeen { node, address });
    }

    fn session_opened(&self, session: u32, identity: &Identity) {
        tracing::debug!(session, kind = identity.kind.name(), name = identity.name, "a session opened");
    }

    fn session_closed(&self, session: u32) {
        tracing::debug!(session, "a session closed");
    }

    fn rejected(&self, why: &'static str) {
        metrics::counter!("anser_wire_rejected_total", "reason" => why).increment(1);
    }
}
