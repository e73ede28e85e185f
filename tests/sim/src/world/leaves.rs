//! The copies' hash trees against what the truth says that the copies hold.

use super::World;
use super::cell::Actor;
use super::node::SHARDS;
use crate::disk::FIRST_SHARD;
use crate::invariants::leaves_are_of_the_data::{check, check_roots};
use crate::truth::Folder;
use crate::verdicts::Invariant;
use anser_model::merkle::{Fingerprint, Tally, Tree, TreeId};
use anser_model::ring::Within;
use std::collections::{BTreeMap, BTreeSet};

/// Where a stored key is within its partition.
fn within(store_key: &[u8]) -> Within {
    let (_, rest) = store_key.split_at(6);
    Within(u32::from_be_bytes(*rest.first_chunk().expect("a store key")))
}

impl World {
    fn trees(&self) -> BTreeSet<TreeId> {
        let tree =
            |slot: &crate::truth::Slot| TreeId { partition: slot.partition(), keyspace: slot.keyspace };
        self.truth.slots.iter().map(tree).collect()
    }

    fn kept(&self, n: usize, id: TreeId) -> Option<&Tree> {
        let shard = (u32::from(id.partition.0) % SHARDS) as usize;
        match &self.nodes[n].cells.get(FIRST_SHARD + shard)?.actor {
            Some(Actor::Replica(machine)) => machine.leaves(id.partition, id.keyspace),
            _ => None,
        }
    }

    /// A shard's copies serve: their trees are those of what they hold. Those that are being refilled are judged later.
    pub(super) fn see_leaves(&mut self, n: usize, shard: u32) {
        if self.truth.folders[n] != Folder::Whole {
            return;
        }
        for id in self.trees().into_iter().filter(|id| u32::from(id.partition.0) % SHARDS == shard) {
            if self.truth.lost[n].contains_key(&id.partition) {
                continue;
            }
            let slots = self.truth.slots.iter().enumerate();
            let slots =
                slots.filter(|(_, slot)| slot.partition() == id.partition && slot.keyspace == id.keyspace);
            let keys = slots.map(|(number, slot)| {
                let state = self.truth.copies[n].memory(number);
                (within(&slot.store_key), Fingerprint::of(&slot.store_key, state))
            });
            let result = check(self.kept(n, id), keys);
            let result = result.map_err(|what| format!("node {n}, {id:?}: {what}"));
            self.judge(Invariant::LeavesAreOfTheData, result);
        }
    }

    /// The same of all copies that can be.
    pub fn check_leaves(&mut self) {
        for n in 0..self.nodes.len() {
            let serving: Vec<u32> = self.nodes[n]
                .serving
                .iter()
                .filter(|(_, serving)| **serving)
                .map(|(shard, _)| *shard)
                .collect();
            if self.nodes[n].up {
                serving.into_iter().for_each(|shard| self.see_leaves(n, shard));
            }
        }
    }

    /// All replicas agree by now: those of a partition's keyspace have one root.
    pub fn check_roots(&mut self) {
        let mut roots: BTreeMap<TreeId, Vec<(usize, Tally)>> = BTreeMap::new();
        for (number, slot) in self.truth.slots.iter().enumerate() {
            let id = TreeId { partition: slot.partition(), keyspace: slot.keyspace };
            let root = |n: usize| (n, self.kept(n, id).map(Tree::root).unwrap_or_default());
            roots.insert(id, self.truth.whole_replicas(number).map(root).collect());
        }
        for roots in roots.into_values() {
            self.judge(Invariant::LeavesAreOfTheData, check_roots(&roots));
        }
    }
}
