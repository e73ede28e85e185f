//! Whom to ask: replicas first, those that fail last. The order is decided here; nothing is asked.
//!
//! Puts go to the minter that the request's id chooses, the same in all retries, so that a retry meets the copy that knows
//! it. Gets are spread over the replicas that answer about equally fast.

use crate::peer::{Peer, Work};
use crate::view::View;
use anser_model::{Key, KeyspaceName, NodeId, Rid};
use fastrand::Rng;
use std::sync::Arc;

/// Most candidates of one operation.
const CANDIDATES_MAX: usize = 8;
/// A replica counts as slower than another from this factor on, in halves...
const SLOWER_HALVES: u64 = 3;
/// ...and this difference, in microseconds: between near nodes, spread matters more than speed.
const SLOWER_US: u64 = 1000;

/// A candidate, as the order sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    node: NodeId,
    replica: bool,
    failures: u32,
    latency_us: u64,
}

/// The candidates of a put, the best first.
pub(crate) fn put_order(
    view: &View,
    keyspace: &KeyspaceName,
    key: &Key,
    rid: Rid,
    random: &mut Rng,
) -> Vec<Arc<Peer>> {
    let minters = anser_model::minter_order(rid, &replicas(view, keyspace, key));
    let mut candidates = candidates(view, &minters, random);
    order_puts(&mut candidates);
    peers(view, &candidates)
}

/// The candidates of a get, the best first.
pub(crate) fn get_order(view: &View, keyspace: &KeyspaceName, key: &Key, random: &mut Rng) -> Vec<Arc<Peer>> {
    let mut replicas = replicas(view, keyspace, key);
    random.shuffle(&mut replicas);
    let mut candidates = candidates(view, &replicas, random);
    order_gets(&mut candidates);
    peers(view, &candidates)
}

/// The candidates of a question that any node can answer.
pub(crate) fn any_order(view: &View, random: &mut Rng) -> Vec<Arc<Peer>> {
    let mut nodes: Vec<NodeId> = view.peers.iter().map(|peer| peer.node).collect();
    random.shuffle(&mut nodes);
    let mut candidates = candidates(view, &nodes, random);
    order_gets(&mut candidates);
    peers(view, &candidates)
}

/// The key's replicas that readers ask; none if the view doesn't know the keyspace (a node may).
fn replicas(view: &View, keyspace: &KeyspaceName, key: &Key) -> Vec<NodeId> {
    let Some(keyspace) = view.record.keyspace(keyspace) else { return Vec::new() };
    let partition = view.record.partition_of(keyspace.id, key);
    view.record.read_placement().replicas(&keyspace.replicas, partition).map(|member| member.node).collect()
}

/// `first` in its order, then enough others to coordinate where none of those is reached.
fn candidates(view: &View, first: &[NodeId], random: &mut Rng) -> Vec<Candidate> {
    let candidate = |peer: &Arc<Peer>, replica| Candidate {
        node: peer.node,
        replica,
        failures: peer.failures(),
        latency_us: u64::try_from(peer.latency(Work::Read).as_micros()).unwrap_or(u64::MAX),
    };
    let mut all: Vec<Candidate> =
        first.iter().filter_map(|node| view.peer(node)).map(|peer| candidate(peer, true)).collect();
    all.truncate(CANDIDATES_MAX);
    let start = random.usize(..view.peers.len().max(1));
    let others = view.peers.iter().cycle().skip(start).take(view.peers.len());
    let others = others.filter(|peer| !first.contains(&peer.node));
    all.extend(others.take(CANDIDATES_MAX - all.len()).map(|peer| candidate(peer, false)));
    all
}

/// Those that failed lately go last; else replicas first, in the minters' order.
fn order_puts(candidates: &mut [Candidate]) {
    candidates.sort_by_key(|candidate| (candidate.failures > 0, !candidate.replica));
}

/// As puts, and replicas that are clearly slower than the first go behind it, the fastest first. What order they come in
/// spreads the load.
fn order_gets(candidates: &mut [Candidate]) {
    order_puts(candidates);
    let Some(fastest_us) = candidates
        .iter()
        .filter(|candidate| candidate.replica && candidate.failures == 0)
        .map(|candidate| candidate.latency_us)
        .min()
    else {
        return;
    };
    let slow = |candidate: &Candidate| {
        let bound_us = (fastest_us / 2).saturating_mul(SLOWER_HALVES).saturating_add(SLOWER_US);
        if candidate.latency_us > bound_us { candidate.latency_us } else { 0 }
    };
    candidates.sort_by_key(|candidate| (candidate.failures > 0, !candidate.replica, slow(candidate)));
}

fn peers(view: &View, candidates: &[Candidate]) -> Vec<Arc<Peer>> {
    candidates.iter().filter_map(|candidate| view.peer(&candidate.node)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u8, replica: bool, failures: u32, latency_us: u64) -> Candidate {
        Candidate { node: NodeId([id; 16]), replica, failures, latency_us }
    }

    fn ids(candidates: &[Candidate]) -> Vec<u8> {
        candidates.iter().map(|candidate| candidate.node.0[0]).collect()
    }

    #[test]
    fn puts_keep_the_minters_order_and_leave_failing_nodes_for_last() {
        let mut all = [
            candidate(3, true, 0, 9),
            candidate(1, true, 2, 1),
            candidate(2, true, 0, 1),
            candidate(4, false, 0, 0),
        ];
        order_puts(&mut all);
        assert_eq!(ids(&all), [3, 2, 4, 1]);
    }

    #[test]
    fn gets_avoid_slow_replicas_but_spread_over_fast_ones() {
        let mut all = [candidate(3, true, 0, 90_000), candidate(2, true, 0, 900), candidate(1, true, 0, 300)];
        order_gets(&mut all);
        assert_eq!(ids(&all), [2, 1, 3]);
    }

    #[test]
    fn a_replica_never_measured_is_tried() {
        let mut all = [candidate(3, true, 0, 500), candidate(2, true, 0, 0)];
        order_gets(&mut all);
        assert_eq!(ids(&all), [3, 2]);
        let mut all = [candidate(3, true, 0, 50_000), candidate(2, true, 0, 0)];
        order_gets(&mut all);
        assert_eq!(ids(&all), [2, 3]);
    }
}
