//! The trees for work that nobody waits for: flushes and merges. It offers the processor to others every now and then.
//!
//! A scheduler lets a thread that computes go on for milliseconds before whoever was woken meanwhile has its turn, whatever
//! their priorities: one get in a thousand waited so long for a thread of the disk, or for its own.

use super::sled_trees::SledTrees;
use anser_storage::store::{Part, StoreError, TreeName, Trees, Visit};
use bytes::Bytes;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// After so long, waits included, it offers the processor.
const TURN: Duration = Duration::from_micros(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Background<'a> {
    trees: &'a SledTrees,
    since: Cell<Instant>,
}

impl Background<'_> {
    /// Of these trees.
    pub fn of(trees: &SledTrees) -> Background<'_> {
        Background { trees, since: Cell::new(Instant::now()) }
    }

    fn give_way(&self) {
        if self.since.get().elapsed() >= TURN {
            std::thread::yield_now();
            self.since.set(Instant::now());
        }
    }
}

impl Trees for Background<'_> {
    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.give_way();
        self.trees.get(tree, key)
    }

    fn put(&self, tree: TreeName, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.give_way();
        self.trees.put(tree, key, value)
    }

    fn remove(&self, tree: TreeName, key: &[u8]) -> Result<(), StoreError> {
        self.trees.remove(tree, key)
    }

    fn walk(&self, tree: TreeName, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.trees.walk(tree, visit)
    }

    fn names(&self) -> Result<Vec<TreeName>, StoreError> {
        self.trees.names()
    }

    fn drop_tree(&self, tree: TreeName) -> Result<(), StoreError> {
        self.trees.drop_tree(tree)
    }

    fn sync_part(&self, part: Part) -> Result<(), StoreError> {
        self.trees.sync_part(part)
    }
}
