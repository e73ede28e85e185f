//! The operator's conversation, and how a ring record comes into force: saved, adopted, published, and only then said.
//!
//! Keeps: one node is in one cluster for ever; a second genesis is refused. Deliberately absent: who may ask (the session
//! has read the certificate).

use crate::membership::Membership;
use crate::ring_keeper::{Verdict, judge};
use alloc::vec::Vec;
use anser_machine::{DiskRequest, Fact, Outbox, SlotName};
use anser_model::NodeId;
use anser_model::ring::Record;
use anser_proto::admin::{AdminReply, AdminRequest, NodeDescription};
use anser_proto::{Address, Body, OpId, Refusal, Tick};
use bytes::Bytes;
use core::net::SocketAddr;

/// Most operators that wait for a founding.
const WAITERS_MAX: usize = 16;

/// Somebody who waits for an answer.
type Asker = (Address, OpId, Tick);

/// A founding on its way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Founding {
    waiters: Vec<Asker>,
    addresses: Vec<(NodeId, SocketAddr)>,
    /// Writes of the addresses on their way.
    pub peers_saves: u32,
}

impl Membership {
    /// Answers an operator.
    pub(crate) fn on_admin(&mut self, now: Tick, asker: Asker, request: AdminRequest, out: &mut Outbox) {
        let reply = if !self.is_loaded() {
            Some(Body::Refused(Refusal::NotServing))
        } else {
            match request {
                AdminRequest::DescribeNode => Some(Body::AdminReply(AdminReply::Node(self.describe_node()))),
                AdminRequest::FoundCluster { record, addresses } => {
                    self.found(now, asker, record, addresses, out)
                }
            }
        };
        if let Some(body) = reply {
            self.send(asker.0, asker.1, asker.2, body, out);
        }
    }

    fn describe_node(&self) -> NodeDescription {
        NodeDescription {
            member: self.config.member,
            name: self.config.name.clone(),
            dc: self.config.dc.clone(),
            zone: self.config.zone.clone(),
            weight: self.config.weight,
            address: self.config.address,
            genesis: self.ring.genesis().cloned(),
        }
    }

    /// Takes a genesis in. None: the answer follows when it is durable.
    fn found(
        &mut self,
        now: Tick,
        asker: Asker,
        bytes: Bytes,
        mut addresses: Vec<(NodeId, SocketAddr)>,
        out: &mut Outbox,
    ) -> Option<Body> {
        let Ok(record) = Record::decode(&bytes) else {
            return Some(Body::AdminReply(AdminReply::BadGenesis));
        };
        let verdict = judge(None, &record, &self.config.member.node, &self.config.cluster_name);
        if verdict != Verdict::Adopt {
            return Some(Body::AdminReply(AdminReply::BadGenesis));
        }
        if let Some(known) = self.ring.genesis().or_else(|| self.ring.saving())
            && *known != bytes
        {
            return Some(Body::AdminReply(AdminReply::AlreadyFounded));
        }
        if self.disk_failed {
            return Some(Body::Refused(Refusal::DiskFailed));
        }
        if self.founding.waiters.len() >= WAITERS_MAX {
            return Some(Body::Refused(Refusal::Busy));
        }
        addresses.retain(|(node, _)| *node != self.me() && record.entry(node).is_some());
        addresses.sort_unstable();
        addresses.dedup_by_key(|(node, _)| *node);
        self.founding.waiters.push(asker);
        self.save_peers(&addresses, out);
        if self.ring.newest().is_some() {
            self.learn_addresses(now, &addresses);
        } else {
            self.founding.addresses = addresses;
            if let Some(slot) = self.ring.begin(bytes, record) {
                out.disk(DiskRequest::Save { slot: SlotName::Ring, bytes: slot });
            }
        }
        None
    }

    /// A record is durable, so it is in force.
    pub(crate) fn on_ring_saved(&mut self, now: Tick, out: &mut Outbox) {
        let Some(record) = self.ring.saved() else { return };
        let me = self.me();
        let ring = &self.ring;
        let counts = |node: &NodeId| ring.counts(node) == Some(true);
        self.peers.retain(counts);
        self.folders.retain(counts);
        self.spread.retain(|node| *node == me || counts(node));
        out.publish(Fact::RingAdopted(record));
        let addresses = core::mem::take(&mut self.founding.addresses);
        self.learn_addresses(now, &addresses);
        if self.speaks() {
            self.greet_all(now);
        }
        self.answer_waiters(out);
    }

    /// What is kept of the peers is durable.
    pub(crate) fn on_peers_saved(&mut self, out: &mut Outbox) {
        self.founding.peers_saves = self.founding.peers_saves.saturating_sub(1);
        if self.founding.peers_saves == 0 {
            self.folders.saved();
        }
        self.answer_waiters(out);
    }

    /// Nothing more becomes durable: nobody is to wait for it.
    pub(crate) fn refuse_waiters(&mut self, out: &mut Outbox) {
        for (to, op, deadline) in core::mem::take(&mut self.founding.waiters) {
            self.send(to, op, deadline, Body::Refused(Refusal::DiskFailed), out);
        }
    }

    fn answer_waiters(&mut self, out: &mut Outbox) {
        if self.founding.peers_saves > 0 || self.ring.saving().is_some() {
            return;
        }
        for (to, op, deadline) in core::mem::take(&mut self.founding.waiters) {
            self.send(to, op, deadline, Body::AdminReply(AdminReply::Founded), out);
        }
    }

    fn learn_addresses(&mut self, now: Tick, addresses: &[(NodeId, SocketAddr)]) {
        for (node, address) in addresses {
            self.learn_address(now, *node, *address);
        }
    }
}
