//! Damage to what is stored: bits flip, ranges become zero. What was written is kept aside, so that whatever is read for good
//! can be told from it.

use super::trees::SimTrees;
use crate::dice::Dice;
use anser_storage::store::{Part, StoreError, TreeName, Trees, Visit};
use bytes::Bytes;
use std::ops::ControlFlow;

/// In a million, damage that is a range of zeroes.
const ZEROES: u64 = 300_000;
/// Longest such range.
const ZEROES_MAX: usize = 64;

impl SimTrees {
    /// Flips bits of a stored value of one kind of tree, or zeroes a part of it; tells which.
    pub fn damage(&self, dice: &mut Dice) -> Option<(TreeName, Vec<u8>)> {
        let mut content = self.content.borrow_mut();
        let kind = dice.below(4);
        let of_kind = |name: &TreeName| match name {
            TreeName::Log(_) => kind == 0,
            TreeName::Table(_) => kind == 1,
            TreeName::Manifest => kind == 2,
            TreeName::Slots => kind == 3,
        };
        let mut values: Vec<(TreeName, Vec<u8>)> = Vec::new();
        for (name, tree) in content.iter().filter(|(name, _)| of_kind(name)) {
            let _ = tree.walk(&mut |key, value| {
                if !value.is_empty() {
                    values.push((*name, key.to_vec()));
                }
                ControlFlow::Continue(())
            });
        }
        if values.is_empty() {
            return None;
        }
        let (name, key) = values.swap_remove(dice.index(values.len()));
        let tree = content.get_mut(&name)?;
        let written = tree.get(&key)?.clone();
        let mut value = written.to_vec();
        let (from, bit) = (dice.index(value.len()), dice.below(8));
        if dice.chance(ZEROES) {
            let to = value.len().min(from + 1 + dice.index(ZEROES_MAX));
            value[from..to].fill(0);
        }
        if value == written {
            value[from] ^= 1 << bit;
        }
        tree.set(&key, Some(value.into()));
        self.damaged.borrow_mut().entry((name, key.clone())).or_insert(written);
        Some((name, key))
    }

    /// What was written, where it is damaged; none if nothing is.
    pub fn as_written(&self) -> Option<AsWritten<'_>> {
        (!self.damaged.borrow().is_empty()).then_some(AsWritten(self))
    }
}

/// The trees without their damage.
pub(crate) struct AsWritten<'a>(&'a SimTrees);

impl AsWritten<'_> {
    fn written(&self, tree: TreeName, key: &[u8]) -> Option<Bytes> {
        self.0.damaged.borrow().get(&(tree, key.to_vec())).cloned()
    }
}

impl Trees for AsWritten<'_> {
    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.written(tree, key).map_or_else(|| self.0.get(tree, key), |value| Ok(Some(value)))
    }

    fn put(&self, tree: TreeName, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.0.put(tree, key, value)
    }

    fn remove(&self, tree: TreeName, key: &[u8]) -> Result<(), StoreError> {
        self.0.remove(tree, key)
    }

    fn walk(&self, tree: TreeName, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.0.walk(tree, &mut |key, value| match self.written(tree, key) {
            Some(written) => visit(key, &written),
            None => visit(key, value),
        })
    }

    fn names(&self) -> Result<Vec<TreeName>, StoreError> {
        self.0.names()
    }

    fn drop_tree(&self, tree: TreeName) -> Result<(), StoreError> {
        self.0.drop_tree(tree)
    }

    fn sync_part(&self, part: Part) -> Result<(), StoreError> {
        self.0.sync_part(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: TreeName = TreeName::Log(1);
    const KEY: [u8; 8] = [0; 8];

    #[test]
    fn damage_changes_what_is_read_and_not_what_was_written() {
        let mut dice = Dice::new(1, "damage");
        let trees = SimTrees::default();
        trees.put(LOG, &KEY, &[0; 9]).unwrap();
        assert!(trees.as_written().is_none());
        while trees.damage(&mut dice).is_none() {}
        assert_ne!(trees.get(LOG, &KEY).unwrap().unwrap(), [0; 9][..]);
        assert_eq!(trees.as_written().unwrap().get(LOG, &KEY).unwrap().unwrap(), [0; 9][..]);
        trees.put(LOG, &KEY, b"1").unwrap();
        assert!(trees.as_written().is_none());
    }
}
