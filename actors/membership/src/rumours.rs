//! Rumours: which of two is newer, what to believe of hearsay, and which to pass on next.
//!
//! Keeps: nobody is believed dead on hearsay alone. A death rumour about a peer that was believed in is taken as a
//! suspicion, and each node waits its own time for the refutation; so a slow prober's false verdict, or the other side's
//! after a partition, harms nobody who can still speak up.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use anser_model::NodeId;
use anser_proto::gossip::PeerState;

/// The largest incarnation that is believed: a refutation of any rumour is always possible.
pub(crate) const INCARNATION_MAX: u64 = u64::MAX / 2;
/// How often a rumour is passed on for each doubling of the cluster.
const SENDS_PER_DOUBLING: u32 = 3;

/// A belief about a peer: its incarnation, and how it seems.
pub(crate) type Belief = (u64, PeerState);

/// Whether a belief is newer than another: the higher incarnation wins, since only the peer itself raises it; at equal ones
/// the graver state.
pub(crate) fn is_newer(heard: Belief, known: Belief) -> bool {
    heard > known
}

/// What hearsay about a peer makes one believe, if it changes anything. A belief of incarnation 0 is no word of anybody,
/// only an address.
pub(crate) fn believe(known: Option<Belief>, heard: Belief) -> Option<Belief> {
    if heard.0 > INCARNATION_MAX {
        return None;
    }
    let Some(known) = known else { return Some(heard) };
    let believed_in = match known.1 {
        PeerState::Alive | PeerState::Suspect => known.0 > 0,
        PeerState::Dead => false,
    };
    let taken = match heard.1 {
        PeerState::Dead if believed_in => (heard.0, PeerState::Suspect),
        PeerState::Alive | PeerState::Suspect | PeerState::Dead => heard,
    };
    is_newer(taken, known).then_some(taken)
}

/// Whose rumours still travel, and how often each was sent. One entry a peer at most.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    sent: BTreeMap<NodeId, u32>,
}

impl Spread {
    /// There is news about a node.
    pub fn add(&mut self, node: NodeId) {
        self.sent.insert(node, 0);
    }

    /// Whether there is nothing to pass on.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Forgets the news about all but these.
    pub fn retain(&mut self, keep: impl Fn(&NodeId) -> bool) {
        self.sent.retain(|node, _| keep(node));
    }

    /// The nodes to speak about next, at most `count`, the least often mentioned first; counts them as sent.
    pub fn pick(&mut self, count: usize, peers: usize) -> Vec<NodeId> {
        let mut order: Vec<(u32, NodeId)> = self.sent.iter().map(|(node, sent)| (*sent, *node)).collect();
        order.sort_unstable();
        order.truncate(count);
        for (_, node) in &order {
            self.mention(node, peers);
        }
        order.into_iter().map(|(_, node)| node).collect()
    }

    /// The node was spoken about.
    pub fn mention(&mut self, node: &NodeId, peers: usize) {
        if let Some(sent) = self.sent.get_mut(node) {
            *sent += 1;
            if *sent >= sends_max(peers) {
                self.sent.remove(node);
            }
        }
    }
}

/// How often a rumour is sent in all, among so many peers.
fn sends_max(peers: usize) -> u32 {
    SENDS_PER_DOUBLING * (usize::BITS - peers.leading_zeros()).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use PeerState::{Alive, Dead, Suspect};

    #[test]
    fn beliefs_are_ordered_by_incarnation_then_gravity() {
        let ascending =
            [(0, Dead), (1, Alive), (1, Suspect), (1, Dead), (2, Alive), (100, Dead), (101, Alive)];
        for (i, low) in ascending.iter().enumerate() {
            for (j, high) in ascending.iter().enumerate() {
                assert_eq!(is_newer(*high, *low), j > i, "{high:?} after {low:?}");
            }
        }
    }

    #[test]
    fn hearsay_is_believed_by_this_table() {
        let table = [
            // known, heard, believed
            (None, (3, Alive), Some((3, Alive))),
            (None, (3, Dead), Some((3, Dead))),
            (Some((3, Alive)), (3, Alive), None),
            (Some((3, Alive)), (2, Dead), None),
            (Some((3, Alive)), (3, Suspect), Some((3, Suspect))),
            (Some((3, Alive)), (3, Dead), Some((3, Suspect))),
            (Some((3, Alive)), (7, Dead), Some((7, Suspect))),
            (Some((3, Suspect)), (3, Dead), None),
            (Some((3, Suspect)), (3, Alive), None),
            (Some((3, Suspect)), (4, Alive), Some((4, Alive))),
            (Some((3, Dead)), (3, Alive), None),
            (Some((3, Dead)), (4, Alive), Some((4, Alive))),
            (Some((3, Dead)), (4, Suspect), Some((4, Suspect))),
            (Some((3, Dead)), (9, Dead), Some((9, Dead))),
            (Some((0, Suspect)), (9, Dead), Some((9, Dead))),
            (Some((0, Dead)), (1, Alive), Some((1, Alive))),
            (Some((3, Dead)), (INCARNATION_MAX + 1, Alive), None),
            (None, (u64::MAX, Dead), None),
        ];
        for (known, heard, believed) in table {
            assert_eq!(believe(known, heard), believed, "{heard:?} to one who knows {known:?}");
        }
    }

    #[test]
    fn the_least_mentioned_go_first_and_not_for_ever() {
        let node = |n| NodeId([n; 16]);
        let mut spread = Spread::default();
        spread.add(node(1));
        assert_eq!(spread.pick(1, 3), [node(1)]);
        spread.add(node(2));
        assert_eq!(spread.pick(1, 3), [node(2)], "never mentioned yet");
        assert_eq!(spread.pick(5, 3), [node(1), node(2)]);
        let mut mentions = 4;
        while !spread.pick(1, 3).is_empty() {
            mentions += 1;
        }
        assert_eq!(mentions, 2 * sends_max(3), "each as often as the limit");
        assert!(spread.is_empty());
    }
}
