//! Trees in memory, for the tests of this crate: a crash keeps a prefix of what was put after the last sync.

use super::row::{ROW_CHUNKS, Rows, put_chunk};
use super::trees::{Part, StoreError, TreeName, Trees, VALUE_BYTES_MAX, Visit};
use anser_machine::TableId;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeMap;

type Content = BTreeMap<TreeName, BTreeMap<Vec<u8>, Bytes>>;

#[derive(Clone)]
enum Change {
    Put(TreeName, Vec<u8>, Bytes),
    Remove(TreeName, Vec<u8>),
    Drop(TreeName),
}

#[derive(Default)]
pub struct Memory {
    now: RefCell<Content>,
    synced: RefCell<Content>,
    since: RefCell<Vec<Change>>,
}

impl Change {
    fn part(&self) -> Part {
        match self {
            Change::Put(tree, ..) | Change::Remove(tree, _) | Change::Drop(tree) => tree.part(),
        }
    }
}

fn apply(content: &mut Content, change: &Change) {
    match change.clone() {
        Change::Put(tree, key, value) => {
            content.entry(tree).or_default().insert(key, value);
        }
        Change::Remove(tree, key) => {
            content.entry(tree).or_default().remove(&key);
        }
        Change::Drop(tree) => {
            content.remove(&tree);
        }
    }
}

impl Memory {
    fn change(&self, change: Change) {
        apply(&mut self.now.borrow_mut(), &change);
        self.since.borrow_mut().push(change);
    }

    pub fn unsynced(&self) -> usize {
        self.since.borrow().len()
    }

    /// What a crash leaves that keeps the first `kept` changes since the last sync.
    pub fn crash(&self, kept: usize) -> Memory {
        let mut content = self.synced.borrow().clone();
        self.since.borrow().iter().take(kept).for_each(|change| apply(&mut content, change));
        Memory {
            now: RefCell::new(content.clone()),
            synced: RefCell::new(content),
            since: RefCell::default(),
        }
    }

    /// A table's chunks, as they lie in its rows.
    pub fn chunks(&self, table: TableId, count: u32) -> Vec<Vec<u8>> {
        let mut rows = Rows::of(table);
        (0..count).map(|number| rows.chunk(self, number).unwrap().unwrap().to_vec()).collect()
    }

    /// Lays a table's chunks out anew.
    pub fn put_chunks(&self, table: TableId, chunks: &[Vec<u8>]) {
        for (first, row) in (0_u32..).step_by(ROW_CHUNKS as usize).zip(chunks.chunks(ROW_CHUNKS as usize)) {
            let mut value = Vec::new();
            row.iter().for_each(|chunk| put_chunk(&mut value, chunk));
            self.put(TreeName::Table(table), &first.to_be_bytes(), &value).unwrap();
        }
    }

    pub fn edit(&self, tree: TreeName, key: &[u8], edit: impl FnOnce(&mut Vec<u8>)) {
        let mut value = self.get(tree, key).unwrap().unwrap().to_vec();
        edit(&mut value);
        self.put(tree, key, &value).unwrap();
    }
}

impl Trees for Memory {
    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.now.borrow().get(&tree).and_then(|tree| tree.get(key)).cloned())
    }

    fn put(&self, tree: TreeName, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(StoreError::Failed(format!("a value of {} bytes for {tree}", value.len())));
        }
        self.change(Change::Put(tree, key.to_vec(), Bytes::copy_from_slice(value)));
        Ok(())
    }

    fn remove(&self, tree: TreeName, key: &[u8]) -> Result<(), StoreError> {
        if self.now.borrow().contains_key(&tree) {
            self.change(Change::Remove(tree, key.to_vec()));
        }
        Ok(())
    }

    fn walk(&self, tree: TreeName, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        if let Some(tree) = self.now.borrow().get(&tree) {
            let _ = tree.iter().try_for_each(|(key, value)| visit(key, value));
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<TreeName>, StoreError> {
        Ok(self.now.borrow().keys().copied().collect())
    }

    fn drop_tree(&self, tree: TreeName) -> Result<(), StoreError> {
        self.change(Change::Drop(tree));
        Ok(())
    }

    fn sync_part(&self, part: Part) -> Result<(), StoreError> {
        let mut synced = self.synced.borrow_mut();
        let of_part = |change: &mut Change| change.part() == part;
        self.since.borrow_mut().extract_if(.., of_part).for_each(|change| apply(&mut synced, &change));
        Ok(())
    }
}
