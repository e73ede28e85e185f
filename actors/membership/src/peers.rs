//! What this node believes of its peers.
//!
//! Keeps: with a ring record known, only the roster's nodes have an entry, and the forgotten never; before that, at most
//! [`STRANGERS_MAX`]. One's own node is no peer.

use crate::rumours::{Belief, believe};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use anser_machine::{PeerView, Peers};
use anser_model::NodeId;
use anser_proto::Tick;
use anser_proto::gossip::{PeerState, Rumour};
use core::net::SocketAddr;

/// Most peers known before a ring record says who counts.
pub(crate) const STRANGERS_MAX: usize = 256;

/// One peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its incarnation; 0 while only its address is known.
    pub incarnation: u64,
    /// How it seems.
    pub state: PeerState,
    /// For a suspect: until when it may say otherwise.
    pub suspect_until: Tick,
    /// Whether all beliefs were exchanged with it since it was last dead.
    pub met: bool,
}

impl Peer {
    /// What is believed of it.
    pub fn belief(&self) -> Belief {
        (self.incarnation, self.state)
    }

    /// Whether it is worth asking.
    pub fn seems_up(&self) -> bool {
        self.state != PeerState::Dead
    }
}

/// All peers, and whether anything changed since it was last asked.
#[derive(Debug, Default)]
pub(crate) struct PeerTable {
    peers: BTreeMap<NodeId, Peer>,
    changed: bool,
    addresses_changed: bool,
}

impl PeerTable {
    /// A peer.
    pub fn get(&self, node: &NodeId) -> Option<&Peer> {
        self.peers.get(node)
    }

    /// All peers.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Peer)> {
        self.peers.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether somebody is worth asking.
    pub fn any_up(&self) -> bool {
        self.peers.values().any(Peer::seems_up)
    }

    /// Whether there is room for one more stranger.
    pub fn has_room(&self) -> bool {
        self.peers.len() < STRANGERS_MAX
    }

    /// What a rumour about a peer says from here.
    pub fn rumour(&self, node: &NodeId) -> Option<Rumour> {
        self.peers.get(node).map(|peer| Rumour {
            node: *node,
            address: peer.address,
            incarnation: peer.incarnation,
            state: peer.state,
        })
    }

    /// Takes in a rumour about somebody who counts. What is believed now, if that is new.
    pub fn hear(&mut self, rumour: &Rumour, suspect_until: Tick) -> Option<PeerState> {
        let known = self.peers.get(&rumour.node);
        let (incarnation, state) = believe(known.map(Peer::belief), (rumour.incarnation, rumour.state))?;
        // Only the peer itself raises its incarnation, so only then the address is its own word.
        let address = match known {
            Some(peer) if peer.incarnation == incarnation => peer.address,
            Some(_) | None => rumour.address,
        };
        let met = state != PeerState::Dead && known.is_some_and(|peer| peer.met);
        self.put(rumour.node, Peer { address, incarnation, state, suspect_until, met });
        Some(state)
    }

    /// Learns an address from elsewhere than rumours: true if it is news. The peer's own word counts for more, unless it
    /// seems dead there.
    pub fn note_address(&mut self, node: NodeId, address: SocketAddr, suspect_until: Tick) -> bool {
        match self.peers.get(&node) {
            Some(peer) if peer.address == address => false,
            Some(peer) if peer.incarnation > 0 && peer.seems_up() => false,
            Some(peer) => {
                self.put(node, Peer { address, ..*peer });
                true
            }
            None => {
                let state = PeerState::Suspect;
                self.put(node, Peer { address, incarnation: 0, state, suspect_until, met: false });
                true
            }
        }
    }

    /// This node's own verdict: a peer became suspect or dead.
    pub fn condemn(&mut self, node: NodeId, state: PeerState, suspect_until: Tick) {
        if let Some(peer) = self.peers.get(&node).copied() {
            let met = peer.met && state != PeerState::Dead;
            self.put(node, Peer { state, suspect_until, met, ..peer });
        }
    }

    /// All beliefs were exchanged with a peer, or soon will be.
    pub fn meet(&mut self, node: &NodeId) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.met = true;
        }
    }

    /// The suspects whose time is up.
    pub fn overdue(&self, now: Tick) -> Vec<NodeId> {
        let overdue = |peer: &Peer| peer.state == PeerState::Suspect && peer.suspect_until <= now;
        self.peers.iter().filter(|(_, peer)| overdue(peer)).map(|(node, _)| *node).collect()
    }

    /// When the first suspect's time is up.
    pub fn next_overdue(&self) -> Option<Tick> {
        let suspects = self.peers.values().filter(|peer| peer.state == PeerState::Suspect);
        suspects.map(|peer| peer.suspect_until).min()
    }

    /// Gives every suspect at least until `until`.
    pub fn give_time(&mut self, until: Tick) {
        for peer in self.peers.values_mut() {
            peer.suspect_until = peer.suspect_until.max(until);
        }
    }

    /// Forgets all but these.
    pub fn retain(&mut self, keep: impl Fn(&NodeId) -> bool) {
        let before = self.peers.len();
        self.peers.retain(|node, _| keep(node));
        if self.peers.len() != before {
            self.changed = true;
            self.addresses_changed = true;
        }
    }

    /// A picture of all for the other actors, if it is another than last time.
    pub fn take_change(&mut self) -> Option<Peers> {
        let view = |peer: &Peer| PeerView {
            address: peer.address,
            state: peer.state,
            incarnation: peer.incarnation,
        };
        core::mem::take(&mut self.changed)
            .then(|| self.peers.iter().map(|(node, peer)| (*node, view(peer))).collect())
    }

    /// Whether addresses changed since they were last saved.
    pub fn addresses_changed(&self) -> bool {
        self.addresses_changed
    }

    /// All addresses, to be saved.
    pub fn take_addresses(&mut self) -> Vec<(NodeId, SocketAddr)> {
        self.addresses_changed = false;
        self.peers.iter().map(|(node, peer)| (*node, peer.address)).collect()
    }

    fn put(&mut self, node: NodeId, peer: Peer) {
        let before = self.peers.insert(node, peer);
        self.addresses_changed |= before.map(|before| before.address) != Some(peer.address);
        self.changed |= before.map(|b| (b.address, b.belief())) != Some((peer.address, peer.belief()));
    }
}
