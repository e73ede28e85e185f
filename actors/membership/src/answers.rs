//! What clients are told: the ring without its keys, and the cluster as this node sees it.

use crate::membership::Membership;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use anser_model::ring::{Record, RosterEntry};
use anser_model::{Hlc, NodeId};
use anser_proto::client::{ClientReply, ClusterReply, Failure, MemberView, Outcome, RingReply};
use anser_proto::gossip::PeerState;
use core::net::SocketAddr;

impl Membership {
    /// The ring record and the members' addresses.
    pub(crate) fn describe_ring(&self, wall_ms: u64) -> ClientReply {
        self.answer(wall_ms, |record| {
            // A record has a key at least, so one of zeros stands for them.
            let blank = Record { mac_keys: vec![[0; 32]], ..record.clone() };
            Outcome::Ring(RingReply { record: blank.encode(), addresses: self.addresses() })
        })
    }

    /// The cluster as this node sees it.
    pub(crate) fn describe_cluster(&self, wall_ms: u64) -> ClientReply {
        self.answer(wall_ms, |record| {
            let mut members: Vec<MemberView> = record.roster.iter().map(|entry| self.view(entry)).collect();
            members.sort_by(|a, b| a.name.cmp(&b.name).then(a.node.cmp(&b.node)));
            Outcome::Cluster(ClusterReply {
                name: record.cluster_name.clone(),
                id: record.cluster.to_string(),
                seen_by: self.me(),
                step: record.step,
                partitions: record.partitions,
                members,
            })
        })
    }

    fn answer(&self, wall_ms: u64, outcome: impl FnOnce(&Record) -> Outcome) -> ClientReply {
        let outcome = match self.ring.newest() {
            Some(record) => outcome(record),
            None => Outcome::Failed(Failure::NotReady),
        };
        ClientReply { clock: Hlc::from_ms(wall_ms), outcome }
    }

    fn addresses(&self) -> Vec<(NodeId, SocketAddr)> {
        let mut addresses: Vec<_> = self.peers.iter().map(|(node, peer)| (*node, peer.address)).collect();
        addresses.push((self.me(), self.config.address));
        addresses.sort_unstable();
        addresses
    }

    /// One member. Of whom not even an address is known, nothing was ever heard.
    fn view(&self, entry: &RosterEntry) -> MemberView {
        let node = entry.member.node;
        let (address, state, incarnation) = if node == self.me() {
            (Some(self.config.address), PeerState::Alive, self.claim.said())
        } else {
            match self.peers.get(&node) {
                Some(peer) => (Some(peer.address), peer.state, peer.incarnation),
                None => (None, PeerState::Dead, 0),
            }
        };
        MemberView {
            node,
            name: entry.name.clone(),
            dc: entry.dc.clone(),
            zone: entry.zone.clone(),
            weight: entry.weight.get(),
            address,
            state,
            incarnation,
            replicas: self.ring.replicas_of(&node),
        }
    }
}
