//! Which replicas a read asks, and in which order. Plain decisions.

use crate::route::Plan;
use crate::view::View;
use alloc::vec::Vec;
use anser_model::{Need, NodeId};

/// The replicas that may be asked, the best first: the own copy, then by how they seem, where they are, how fast they are.
pub(crate) fn candidates(view: &View, plan: &Plan) -> Vec<NodeId> {
    let me = view.config.me;
    let mut ranked: Vec<_> = plan
        .seats
        .iter()
        .filter(|seat| !view.is_dead(&seat.node))
        .map(|seat| {
            let away = seat.node != me;
            (away, view.standing(&seat.node), !seat.local, view.latency.mean_us(&seat.node), seat.node)
        })
        .collect();
    ranked.sort_by_key(|(away, standing, remote, mean_us, _)| (*away, *standing, *remote, *mean_us));
    ranked.into_iter().map(|(.., node)| node).collect()
}

/// Now and then, takes the last of those asked first from the others, to learn how fast it is by now.
pub(crate) fn explore(need: &Need, count: usize, candidates: &mut [NodeId], view: &mut View) {
    let others = u64::try_from(candidates.len().saturating_sub(count)).unwrap_or(0);
    let one_in = u64::from(view.config.explore_one_in);
    if count < 2 || others == 0 || one_in == 0 || view.random.below(one_in) != 0 {
        return;
    }
    let Ok(other) = usize::try_from(view.random.below(others)) else { return };
    candidates.swap(count - 1, count + other);
    if !candidates.get(..count).is_some_and(|first| need.met_by(first)) {
        candidates.swap(count - 1, count + other);
    }
}

/// On how many replicas a strict read's state must be durable: so many that every later read of the level meets it.
pub(crate) fn strict_copies(replicas: usize, read: usize) -> usize {
    read.max((replicas + 1).saturating_sub(read))
}

/// Puts those that are asked first to the front, as few as meet the need, and says how many.
pub(crate) fn arrange(need: &Need, candidates: &mut Vec<NodeId>) -> usize {
    let meets = |nodes: &[NodeId]| need.met_by(nodes);
    let Some(mut count) =
        (need.total()..=candidates.len()).find(|count| candidates.get(..*count).is_some_and(meets))
    else {
        return candidates.len();
    };
    // With a need in several groups, not all of the first ones help.
    for at in (0..count.saturating_sub(1)).rev() {
        if count <= need.total() {
            break;
        }
        let Some(first) = candidates.get(..count) else { break };
        let others: Vec<NodeId> =
            first.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, node)| *node).collect();
        if meets(&others) {
            let superfluous = candidates.remove(at);
            candidates.insert(count - 1, superfluous);
            count -= 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::route::Seat;
    use anser_machine::PeerView;
    use anser_model::Level;
    use anser_model::level::Site;
    use anser_model::ring::DcName;
    use anser_proto::gossip::PeerState;

    fn node(n: u8) -> NodeId {
        NodeId([n; 16])
    }

    fn sites(dcs: &[(&str, &[u8])]) -> Vec<Site> {
        let dc = |name: &str| DcName::new(name).unwrap();
        dcs.iter()
            .flat_map(|(name, nodes)| nodes.iter().map(|n| Site { node: node(*n), dc: dc(name) }))
            .collect()
    }

    fn need(level: Level) -> Need {
        level.need(&sites(&[("dc1", &[1, 2, 3])]), &DcName::new("dc1").unwrap()).unwrap()
    }

    fn view() -> View {
        View::new(Config { explore_one_in: 1, ..Config::new(node(1), DcName::new("dc1").unwrap(), 1, 1) })
    }

    #[test]
    fn the_own_copy_comes_first_then_the_living_the_near_and_the_fast() {
        let mut view = view();
        let peer = |state| PeerView { address: "127.0.0.1:1".parse().unwrap(), state, incarnation: 1 };
        let states = (2..=6).map(|n| match n {
            4 => (node(n), peer(PeerState::Suspect)),
            5 => (node(n), peer(PeerState::Dead)),
            _ => (node(n), peer(PeerState::Alive)),
        });
        view.peers = alloc::sync::Arc::new(states.collect());
        for (n, us) in [(2, 10), (3, 900), (4, 20), (6, 100)] {
            view.latency.sample(node(n), us);
        }
        let seats = (1..=6).rev().map(|n| Seat { node: node(n), local: n != 2 }).collect();
        let plan = Plan::of_seats(Level::Quorum, seats);
        assert_eq!(candidates(&view, &plan), [1, 6, 3, 2, 4].map(node));
    }

    #[test]
    fn now_and_then_another_one_is_tried_if_the_need_is_still_met() {
        let mut view = view();
        let mut tried = [1, 2, 3].map(node);
        explore(&need(Level::Quorum), 2, &mut tried, &mut view);
        assert_eq!(tried, [1, 3, 2].map(node));
        let mut first_only = [1, 2, 3].map(node);
        explore(&need(Level::Count(1)), 1, &mut first_only, &mut view);
        assert_eq!(first_only, [1, 2, 3].map(node), "the own copy stays the first");
        let dc1 = DcName::new("dc1").unwrap();
        let local = Level::LocalQuorum.need(&sites(&[("dc1", &[1, 2]), ("dc2", &[3])]), &dc1).unwrap();
        let mut kept = [1, 2, 3].map(node);
        explore(&local, 2, &mut kept, &mut view);
        assert_eq!(kept, [1, 2, 3].map(node));
    }

    #[test]
    fn as_few_as_meet_the_need_are_asked() {
        let mut candidates: Vec<NodeId> = (1..=3).map(node).collect();
        assert_eq!(arrange(&need(Level::Count(1)), &mut candidates), 1);
        assert_eq!(arrange(&need(Level::Quorum), &mut candidates), 2);
        assert_eq!(arrange(&need(Level::All), &mut candidates), 3);

        let dc1 = DcName::new("dc1").unwrap();
        let each = Level::EachQuorum.need(&sites(&[("dc1", &[1, 2, 3]), ("dc2", &[4, 5, 6])]), &dc1).unwrap();
        let mut candidates: Vec<NodeId> = (1..=6).map(node).collect();
        let count = arrange(&each, &mut candidates);
        assert!(count == 4 && each.met_by(&candidates[..count]), "{candidates:?}");
        assert_eq!(candidates, [1, 2, 4, 5, 3, 6].map(node), "who is superfluous is the next");
        let mut too_few: Vec<NodeId> = (1..=4).map(node).collect();
        assert_eq!(arrange(&each, &mut too_few), 4);
    }

    #[test]
    fn strict_reads_meet_each_other() {
        let table = [(3, 1, 3), (3, 2, 2), (3, 3, 3), (5, 2, 4), (1, 1, 1)];
        for (replicas, read, copies) in table {
            assert_eq!(strict_copies(replicas, read), copies, "N={replicas} R={read}");
        }
    }
}
