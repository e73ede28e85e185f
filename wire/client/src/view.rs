//! What the client knows of the cluster: the ring record, and a peer for every member. A view never changes; a newer one
//! takes its place, with the peers that are the same (and their connections) carried over.

use crate::peer::Peer;
use anser_model::NodeId;
use anser_model::ring::{BadRecord, Record};
use anser_proto::client::RingReply;
use std::sync::Arc;

/// One view.
pub(crate) struct View {
    /// The ring.
    pub record: Record,
    /// The members with a known address, sorted by node.
    pub peers: Vec<Arc<Peer>>,
    learned: RingReply,
}

impl View {
    /// The view that `reply` gives; none if it is no newer than `before`.
    pub fn learn(before: Option<&View>, reply: RingReply) -> Result<Option<View>, BadRecord> {
        if before.is_some_and(|before| before.learned == reply) {
            return Ok(None);
        }
        let record = match before {
            Some(before) if before.learned.record == reply.record => before.record.clone(),
            Some(_) | None => Record::decode(&reply.record)?,
        };
        if before.is_some_and(|before| before.record.step > record.step) {
            return Ok(None);
        }
        let mut peers: Vec<Arc<Peer>> = reply
            .addresses
            .iter()
            .filter(|(node, _)| record.entry(node).is_some())
            .map(|(node, address)| {
                let known = before.and_then(|before| before.peer(node));
                match known.filter(|known| known.address == *address) {
                    Some(known) => Arc::clone(known),
                    None => Arc::new(Peer::new(*node, *address)),
                }
            })
            .collect();
        peers.sort_by_key(|peer| peer.node);
        peers.dedup_by_key(|peer| peer.node);
        Ok(Some(View { record, peers, learned: reply }))
    }

    /// The peer of a node.
    pub fn peer(&self, node: &NodeId) -> Option<&Arc<Peer>> {
        let at = self.peers.binary_search_by_key(node, |peer| peer.node).ok()?;
        self.peers.get(at)
    }
}
