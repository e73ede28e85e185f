//! The narrow part of a disk that the store's logic needs.

use alloc::string::String;
use alloc::vec::Vec;
use anser_machine::TableId;
use bytes::Bytes;
use core::fmt;
use core::ops::ControlFlow;

/// Most bytes of a stored value. Larger ones would leave the tree store's log for files that are never synced.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Why the store stopped. Nothing is tried again: what a failed sync left behind is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Reading, writing or syncing failed.
    #[error("the disk failed: {0}")]
    Failed(String),
    /// What was stored is not what is there.
    #[error("the data is damaged: {0}")]
    Damaged(String),
}

/// An ordered tree of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TreeName {
    /// The manifest's cell.
    Manifest,
    /// The slots' cells.
    Slots,
    /// A segment of the commit log.
    Log(u64),
    /// A table.
    Table(TableId),
}

/// The two parts of a store, synced and crashing apart: what is written for every commit, and dropped soon, and what stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The commit log and the slots.
    Log,
    /// The tables and the manifest.
    Tables,
}

impl Part {
    /// Both.
    pub const ALL: [Part; 2] = [Part::Log, Part::Tables];
}

impl TreeName {
    /// The part that it is in.
    pub fn part(self) -> Part {
        match self {
            TreeName::Log(_) | TreeName::Slots => Part::Log,
            TreeName::Table(_) | TreeName::Manifest => Part::Tables,
        }
    }

    /// Reads a name back.
    pub fn parse(name: &str) -> Option<TreeName> {
        let (kind, number) = name.split_once('/').unwrap_or((name, ""));
        match kind {
            "manifest" if number.is_empty() => Some(TreeName::Manifest),
            "slots" if number.is_empty() => Some(TreeName::Slots),
            "log" => number.parse().ok().map(TreeName::Log),
            "sst" => number.parse().ok().map(|id| TreeName::Table(TableId(id))),
            _ => None,
        }
    }
}

impl fmt::Display for TreeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TreeName::Manifest => f.write_str("manifest"),
            TreeName::Slots => f.write_str("slots"),
            TreeName::Log(segment) => write!(f, "log/{segment}"),
            TreeName::Table(TableId(id)) => write!(f, "sst/{id}"),
        }
    }
}

/// Takes a key and its value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Ordered trees of keys and values of at most [`VALUE_BYTES_MAX`]. After a crash, all of a part that was put before its
/// last `sync_part` that returned is there; of what came after, whatever was put first in that part.
pub trait Trees {
    /// A value.
    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
    /// Puts a value; a tree begins with its first one.
    fn put(&self, tree: TreeName, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Removes a key.
    fn remove(&self, tree: TreeName, key: &[u8]) -> Result<(), StoreError>;
    /// Visits keys and values in order, until told to stop or the first error.
    fn walk(&self, tree: TreeName, visit: &mut Visit<'_>) -> Result<(), StoreError>;
    /// All trees that there are.
    fn names(&self) -> Result<Vec<TreeName>, StoreError>;
    /// Removes a tree with all its keys.
    fn drop_tree(&self, tree: TreeName) -> Result<(), StoreError>;
    /// Makes durable all that was put into a part before. After an error the store is at its end.
    fn sync_part(&self, part: Part) -> Result<(), StoreError>;
    /// The same of all parts.
    fn sync(&self) -> Result<(), StoreError> {
        Part::ALL.into_iter().try_for_each(|part| self.sync_part(part))
    }
}
