//! The trees for work that nobody waits for: flushes and merges. It offers the processor to others every now and then.
//!
//! A scheduler lets a thread that computes go on for milliseconds before whoever was woken meanwhile has its turn, whatever
//! their priorities: one get in a thousand waited so long for a thread of the disk, or for its own.

use super::garbage;
use super::sled_trees::SledTrees;
use anser_storage::store::{Part, StoreError, TreeName, Trees, Visit};
use bytes::Bytes;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// After so long, waits for the disk included, it offers the processor.
const TURN: Duration = Duration::from_micros(25);

/// Where others compute without end, it has at least this part of the time: one in so many.
const SHARE: u32 = 5;

/// A thread's turn of the processor. It lasts the longer, the longer the thread waited for it.
#[derive(Debug)]
pub(super) struct Turn {
    since: Cell<Instant>,
    lasts: Cell<Duration>,
}

impl Turn {
    /// One that begins now.
    pub fn begin() -> Turn {
        Turn { since: Cell::new(Instant::now()), lasts: Cell::new(TURN) }
    }

    /// Offers the processor, if it has been long enough; whether it was.
    pub fn give_way(&self) -> bool {
        if self.since.get().elapsed() < self.lasts.get() {
            return false;
        }
        let offered = Instant::now();
        std::thread::yield_now();
        let begins = Instant::now();
        self.since.set(begins);
        self.lasts.set(TURN.max((begins - offered) / (SHARE - 1)));
        true
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Background<'a> {
    trees: &'a SledTrees,
    turn: Turn,
}

impl Background<'_> {
    /// Of these trees.
    pub fn of(trees: &SledTrees) -> Background<'_> {
        Background { trees, turn: Turn::begin() }
    }

    /// As [`Turn::give_way`]. What was replaced meanwhile goes before anything else is.
    fn give_way(&self) {
        if self.turn.give_way() {
            garbage::collect();
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
        self.give_way();
        self.trees.remove(tree, key)
    }

    fn walk(&self, tree: TreeName, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.trees.walk(tree, &mut |key, value| {
            self.give_way();
            visit(key, value)
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn each_turn_takes_apart_what_was_let_go_of() {
        let folder = tempfile::tempdir().unwrap();
        let trees = SledTrees::open(folder.path(), 1 << 20).unwrap();
        let background = Background::of(&trees);
        let gone = Arc::new(AtomicBool::new(false));
        let flag = gone.clone();
        sled::pin().defer(move || flag.store(true, Ordering::Release));
        let since = Instant::now();
        while !gone.load(Ordering::Acquire) {
            assert!(since.elapsed() < Duration::from_secs(10), "it is still there");
            background.give_way();
        }
    }
}
