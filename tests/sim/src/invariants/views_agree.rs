//! After the faults are over, every node believes every other alive, at the same incarnation, in bounded time. (A node that is alone
//! has nobody to know.)

use anser_machine::Peers;
use anser_model::NodeId;
use anser_proto::gossip::PeerState;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Judges what the nodes believe.
pub(crate) fn check(views: &[(NodeId, Option<Arc<Peers>>)]) -> Result<(), String> {
    if views.len() < 2 {
        return Ok(());
    }
    let mut agreed: BTreeMap<NodeId, u64> = BTreeMap::new();
    for (me, peers) in views {
        let Some(peers) = peers else { return Err(format!("node {} knows nobody", me.short())) };
        for (other, _) in views.iter().filter(|(other, _)| other != me) {
            let Some(peer) = peers.get(other) else {
                return Err(format!("node {} does not know {}", me.short(), other.short()));
            };
            if peer.state != PeerState::Alive {
                return Err(format!("node {} believes {} {}", me.short(), other.short(), peer.state.name()));
            }
            let known = *agreed.entry(*other).or_insert(peer.incarnation);
            if known != peer.incarnation {
                return Err(format!(
                    "node {} is at incarnation {known} to one and {} to another",
                    other.short(),
                    peer.incarnation
                ));
            }
        }
    }
    Ok(())
}
