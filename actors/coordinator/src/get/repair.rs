//! What a strict read waits for: the state it shows made durable, so that no later read goes back behind it.
//!
//! Keeps I-9. Read repair of other keyspaces is sent and not waited for: what it misses, the next read or the sync repairs.

use super::answers::Merged;
use crate::copies::{Copying, possible};
use alloc::vec::Vec;
use anser_model::{KeyState, Need, NodeId};

/// A merged state on its way to the replicas.
#[derive(Debug)]
pub(crate) struct Repair {
    pub state: KeyState,
    pub copying: Copying,
    /// Replicas that readers ask.
    seats: Vec<NodeId>,
    holders: Vec<NodeId>,
    /// How many of the seats must hold it.
    copies: usize,
    /// What the other active placements need of it, if the merge made it.
    others: Vec<Need>,
}

impl Repair {
    /// Of what the `holders` hold already, to be on `copies` of the `seats`.
    pub fn new(
        merged: Merged,
        seats: Vec<NodeId>,
        holders: Vec<NodeId>,
        copies: usize,
        others: Vec<Need>,
    ) -> Repair {
        let copying = Copying::new(merged.state.encode(), merged.round);
        Repair { state: merged.state, copying, seats, holders, copies, others }
    }

    /// Whether it is durable where it must be.
    pub fn is_durable(&self) -> bool {
        let seated = self.seats.iter().filter(|node| self.holders.contains(node)).count();
        seated >= self.copies && self.others.iter().all(|need| need.met_by(&self.holders))
    }

    /// Whether it can still become so, if these never answer.
    pub fn is_possible(&self, silent: &[NodeId]) -> bool {
        let away = |node: &&NodeId| {
            !self.holders.contains(node)
                && (silent.contains(node) || self.copying.given_up().any(|given_up| given_up == **node))
        };
        let there = self.seats.len() - self.seats.iter().filter(away).count();
        let silent = silent.iter().copied().chain(self.copying.given_up());
        there >= self.copies && possible(&self.others, &self.holders, silent)
    }

    /// A replica says that it is durable there.
    pub fn acked(&mut self, node: NodeId) {
        if !self.holders.contains(&node) {
            self.holders.push(node);
        }
    }

    /// Whether a replica holds it.
    pub fn is_held_by(&self, node: &NodeId) -> bool {
        self.holders.contains(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_model::Round;
    use anser_proto::{Refusal, Tick};

    fn node(n: u8) -> NodeId {
        NodeId([n; 16])
    }

    #[test]
    fn it_is_durable_on_as_many_seats_as_asked() {
        let merged = Merged { state: KeyState::default(), digest: 0, round: Round(0) };
        let mut repair = Repair::new(merged, (1..=3).map(node).collect(), vec![node(1)], 2, Vec::new());
        assert!(!repair.is_durable() && repair.is_possible(&[node(2)]));
        assert!(!repair.is_possible(&[node(2), node(3)]));
        assert!(repair.is_possible(&[node(1), node(2)]), "one that holds it is not silent");
        repair.copying.refused(node(2), Refusal::DiskFailed, Tick(0));
        assert!(!repair.is_possible(&[node(3)]));
        repair.acked(node(9));
        assert!(!repair.is_durable(), "a stranger");
        repair.acked(node(3));
        assert!(repair.is_durable());
    }
}
