//! sled's trees are as all trees are.

use super::copy;
use crate::disk::sled_trees::SledTrees;
use anser_storage::store::conformance::{Stand, check};
use std::path::PathBuf;

const CACHE_BYTES: u64 = 4 << 20;

/// Each opening that does not go on with the folder before has one of its own.
struct OnDisk {
    root: tempfile::TempDir,
    folders: usize,
}

impl OnDisk {
    fn folder(&self) -> PathBuf {
        self.root.path().join(self.folders.to_string())
    }

    fn open(&self) -> SledTrees {
        SledTrees::open(&self.folder(), CACHE_BYTES).unwrap()
    }
}

impl Stand for OnDisk {
    type Trees = SledTrees;

    fn fresh(&mut self) -> SledTrees {
        self.folders += 1;
        self.open()
    }

    fn reopened(&mut self, trees: SledTrees) -> SledTrees {
        drop(trees);
        self.open()
    }

    fn killed(&mut self, trees: SledTrees) -> SledTrees {
        let before = self.folder();
        self.folders += 1;
        copy(&before, &self.folder());
        drop(trees);
        self.open()
    }
}

#[test]
fn sled_is_as_all_trees_are() {
    check(&mut OnDisk { root: tempfile::tempdir().unwrap(), folders: 0 });
}
