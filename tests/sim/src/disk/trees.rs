//! Ordered trees in memory, as a tree store on a disk is after a crash: what was synced is there, and of what came after,
//! whatever was put first.

use anser_storage::store::{Part, StoreError, TreeName, Trees, VALUE_BYTES_MAX, Visit};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// One tree. Segments of the log have dense keys, laid out beforehand: a list is ten times as fast.
#[derive(Debug)]
enum Tree {
    Map(BTreeMap<Vec<u8>, Bytes>),
    List(Vec<Option<Bytes>>),
}

/// The place of a key in a list.
fn place(key: &[u8]) -> usize {
    let sequence = key.try_into().map(u64::from_be_bytes).expect("a log's key is a sequence");
    usize::try_from(sequence).expect("a segment is short")
}

impl Tree {
    fn new(name: TreeName) -> Tree {
        match name {
            TreeName::Log(_) => Tree::List(Vec::new()),
            TreeName::Manifest | TreeName::Slots | TreeName::Table(_) => Tree::Map(BTreeMap::new()),
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Bytes> {
        match self {
            Tree::Map(map) => map.get(key),
            Tree::List(list) => list.get(place(key))?.as_ref(),
        }
    }

    /// Sets or removes; gives what was there.
    fn set(&mut self, key: &[u8], value: Option<Bytes>) -> Option<Bytes> {
        match (self, value) {
            (Tree::Map(map), Some(value)) => map.insert(key.to_vec(), value),
            (Tree::Map(map), None) => map.remove(key),
            (Tree::List(list), value) => {
                let place = place(key);
                if list.len() <= place {
                    list.resize(place + 1, None);
                }
                let before = std::mem::replace(&mut list[place], value);
                while list.last().is_some_and(Option::is_none) {
                    list.pop();
                }
                before
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Tree::Map(map) => map.is_empty(),
            Tree::List(list) => list.is_empty(),
        }
    }

    fn walk(&self, visit: &mut Visit<'_>) -> ControlFlow<()> {
        match self {
            Tree::Map(map) => map.iter().try_for_each(|(key, value)| visit(key, value)),
            Tree::List(list) => (0_u64..).zip(list).try_for_each(|(key, value)| match value {
                Some(value) => visit(&key.to_be_bytes(), value),
                None => ControlFlow::Continue(()),
            }),
        }
    }
}

/// How to take one unsynced change back.
#[derive(Debug)]
enum Undo {
    Key(TreeName, Vec<u8>, Option<Bytes>),
    /// A key of the log.
    Sequence(u64, [u8; 8], Option<Bytes>),
    Tree(TreeName, Tree),
}

impl Undo {
    fn part(&self) -> Part {
        match self {
            Undo::Key(name, ..) | Undo::Tree(name, _) => name.part(),
            Undo::Sequence(..) => Part::Log,
        }
    }
}

/// Sets a key back; a tree without keys is none.
fn restore(content: &mut BTreeMap<TreeName, Tree>, name: TreeName, key: &[u8], before: Option<Bytes>) {
    let gone = before.is_none();
    let tree = content.entry(name).or_insert_with(|| Tree::new(name));
    tree.set(key, before);
    if gone && tree.is_empty() {
        content.remove(&name);
    }
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

    /// A crash that keeps of each part the first so many changes since its last sync.
    pub fn crash(&self, mut kept: impl FnMut(Part, usize) -> usize) {
        let mut content = self.content.borrow_mut();
        let mut taken_back = Vec::new();
        for part in Part::ALL {
            let mut of_part: Vec<Undo> =
                self.unsynced.borrow_mut().extract_if(.., |undo| undo.part() == part).collect();
            let kept = kept(part, of_part.len());
            taken_back.extend(of_part.split_off(kept));
        }
        for undo in taken_back.into_iter().rev() {
            match undo {
                Undo::Key(name, key, before) => restore(&mut content, name, &key, before),
                Undo::Sequence(segment, key, before) => {
                    restore(&mut content, TreeName::Log(segment), &key, before);
                }
                Undo::Tree(name, tree) => {
                    content.insert(name, tree);
                }
            }
        }
    }

    /// Lets syncs lie from now on.
    pub fn lie(&self) {
        *self.lies.borrow_mut() = true;
    }

    fn set(&self, name: TreeName, key: &[u8], value: Option<Bytes>) {
        let mut content = self.content.borrow_mut();
        let before = content.entry(name).or_insert_with(|| Tree::new(name)).set(key, value);
        let undo = match (name, key.try_into()) {
            (TreeName::Log(segment), Ok(key)) => Undo::Sequence(segment, key, before),
            _ => Undo::Key(name, key.to_vec(), before),
        };
        self.unsynced.borrow_mut().push(undo);
    }
}

impl Trees for SimTrees {
    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.content.borrow().get(&tree).and_then(|tree| tree.get(key)).cloned())
    }

    fn put(&self, tree: TreeName, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes in {tree}", value.len());
        self.set(tree, key, Some(Bytes::copy_from_slice(value)));
        Ok(())
    }

    fn remove(&self, tree: TreeName, key: &[u8]) -> Result<(), StoreError> {
        self.set(tree, key, None);
        Ok(())
    }

    fn walk(&self, tree: TreeName, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        if let Some(tree) = self.content.borrow().get(&tree) {
            // Stopping early is the visitor's right, not an error.
            let _ = tree.walk(visit);
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

    fn sync_part(&self, part: Part) -> Result<(), StoreError> {
        if !*self.lies.borrow() {
            self.unsynced.borrow_mut().retain(|undo| undo.part() != part);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: TreeName = TreeName::Log(1);
    const KEYS: [[u8; 8]; 2] = [[0; 8], [0, 0, 0, 0, 0, 0, 0, 1]];

    #[test]
    fn a_crash_keeps_what_was_synced_and_the_first_of_the_rest() {
        let trees = SimTrees::default();
        trees.put(LOG, &KEYS[0], b"1").unwrap();
        trees.sync().unwrap();
        trees.put(LOG, &KEYS[0], b"2").unwrap();
        trees.put(LOG, &KEYS[1], b"1").unwrap();
        trees.put(TreeName::Slots, b"c", b"1").unwrap();
        trees.put(TreeName::Manifest, b"m", b"1").unwrap();
        trees.drop_tree(LOG).unwrap();
        trees.crash(|part, unsynced| if part == Part::Log { 1 } else { unsynced });
        assert_eq!(trees.get(LOG, &KEYS[0]).unwrap().unwrap(), "2");
        assert_eq!(
            (trees.get(LOG, &KEYS[1]).unwrap(), trees.names().unwrap()),
            (None, vec![TreeName::Manifest, LOG])
        );
        assert_eq!(trees.unsynced(), 0);
    }
}
