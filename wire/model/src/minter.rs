//! Who mints a write: the order in which a key's replicas are asked to.
//!
//! Clients and coordinators use the same order, so that a retry meets first the replica that may have minted already.
//! Nothing breaks if they differ (two mints of one request join), it only costs. Source: Thaler, Ravishankar, "Using
//! name-based mappings to increase hit rates" (1998), rendezvous hashing.

use crate::id::{NodeId, Rid};
use alloc::vec::Vec;

/// The replicas in the order in which they are asked to mint `rid`: spread evenly over requests, the same for every
/// attempt, whatever order they come in.
pub fn minter_order(rid: Rid, replicas: &[NodeId]) -> Vec<NodeId> {
    let seed = rid.hash64();
    let mut scored: Vec<(u64, NodeId)> = replicas.iter().map(|node| (score(seed, node), *node)).collect();
    scored.sort_unstable();
    scored.into_iter().map(|(_, node)| node).collect()
}

fn score(seed: u64, node: &NodeId) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(&node.0, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<NodeId> {
        (1..=3).map(|n| NodeId([n; 16])).collect()
    }

    #[test]
    fn the_order_is_the_same_whatever_order_the_replicas_come_in() {
        let rid = Rid { writer: 7, seq: 42 };
        let mut reversed = nodes();
        reversed.reverse();
        assert_eq!(minter_order(rid, &nodes()), minter_order(rid, &reversed));
    }

    #[test]
    fn requests_spread_over_the_replicas() {
        let mut firsts = [0; 3];
        for seq in 0..3_000 {
            let first = minter_order(Rid { writer: 1, seq }, &nodes())[0];
            firsts[usize::from(first.0[0]) - 1] += 1;
        }
        assert!(firsts.iter().all(|count| (900..1_100).contains(count)), "{firsts:?}");
    }
}
