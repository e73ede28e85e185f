//! Ordered trees in memory, as a tree store on a disk is after a crash: what was synced is there, and of what came after,
//! whatever was put first.

use anser_storage::store::{StoreError, TreeName, Trees, VALUE_BYTES_MAX, Visit};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeMap;

type Tree = BTreeMap<Vec<u8>, Bytes>;

/// How to take one unsynced change back.
#[derive(Debug)]
enum Undo {
    Key(TreeName, Vec<u8>, Option<Bytes>),
    Tree(TreeName, Tree),
}

/// The trees of one disk.
#[derive(Debug, Default)]
pub(crate) struct SimTrees {
    content: RefCell<BTreeMap<TreeName, Tree>>,
    /// What changed since the last sync, the first change first.
    unsynced: RefCell<Vec<Undo>>,
    /// Whether syncs do nothing and say that they did.
    lies: RefCell<bool>,
}

impl SimTrees {
    /// How many changes a crash may take back.
    pub fn unsynced(&self) -> usize {
        self.unsynced.borrow().len()
    }

    /// A crash that keeps the first `kept` changes since the last sync.
    pub fn crash(&self, kept: usize) {
        let mut content = self.content.borrow_mut();
        let taken_back = self.unsynced.borrow_mut().split_off(kept);
        for undo in taken_back.into_iter().rev() {
            match undo {
                Undo::Key(name, key, Some(before)) => {
                    content.entry(name).or_default().insert(key, before);
                }
                Undo::Key(name, key, None) => {
                    let tree = content.entry(name).or_default();
                    tree.remove(&key);
                    if tree.is_empty() {
                        content.remove(&name);
                    }
                }
                Undo::Tree(name, tree) => {
                    content.insert(name, tree);
                }
            }
        }
        self.unsynced.borrow_mut().clear();
    }

    /// Lets syncs lie from now on.
    pub fn lie(&self) {
        *self.lies.borrow_mut() = true;
    }
}

impl Trees for SimTrees {
    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.content.borrow().get(&tree).and_then(|tree| tree.get(key)).cloned())
    }

    fn put(&self, tree: TreeName, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes in {tree}", value.len());
        let value = Bytes::copy_from_slice(value);
        let before = self.content.borrow_mut().entry(tree).or_default().insert(key.to_vec(), value);
        self.unsynced.borrow_mut().push(Undo::Key(tree, key.to_vec(), before));
        Ok(())
    }

    fn remove(&self, tree: TreeName, key: &[u8]) -> Result<(), StoreError> {
        if let Some(before) = self.content.borrow_mut().entry(tree).or_default().remove(key) {
            self.unsynced.borrow_mut().push(Undo::Key(tree, key.to_vec(), Some(before)));
        }
        Ok(())
    }

    fn walk(&self, tree: TreeName, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        if let Some(tree) = self.content.borrow().get(&tree) {
            // Stopping early is the visitor's right, not an error.
            let _ = tree.iter().try_for_each(|(key, value)| visit(key, value));
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<TreeName>, StoreError> {
        Ok(self.content.borrow().keys().copied().collect())
    }

    fn drop_tree(&self, tree: TreeName) -> Result<(), StoreError> {
        if let Some(before) = self.content.borrow_mut().remove(&tree) {
            self.unsynced.borrow_mut().push(Undo::Tree(tree, before));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        if !*self.lies.borrow() {
            self.unsynced.borrow_mut().clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: TreeName = TreeName::Log(1);

    #[test]
    fn a_crash_keeps_what_was_synced_and_the_first_of_the_rest() {
        let trees = SimTrees::default();
        trees.put(LOG, b"a", b"1").unwrap();
        trees.sync().unwrap();
        trees.put(LOG, b"a", b"2").unwrap();
        trees.put(LOG, b"b", b"1").unwrap();
        trees.put(TreeName::Slots, b"c", b"1").unwrap();
        trees.drop_tree(LOG).unwrap();
        trees.crash(1);
        assert_eq!(trees.get(LOG, b"a").unwrap().unwrap(), "2");
        assert_eq!((trees.get(LOG, b"b").unwrap(), trees.names().unwrap()), (None, vec![LOG]));
        assert_eq!(trees.unsynced(), 0);
    }
}
