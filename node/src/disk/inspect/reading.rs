//! The thread that reads the copy of a store. Nobody waits for it to end: damage can make sled hang.

use super::{Damage, STORE, Told, UNREADABLE};
use crate::disk::sled_trees::SledTrees;
use crate::disk::witness::Reached;
use crate::disk::works::guarded;
use anser_storage::store::check::{Finding, check};
use anser_storage::store::recovery::Opened;
use anser_storage::store::{Part, Segments, StoreError, TreeName, Trees, Visit};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use tokio::sync::mpsc::Sender;

/// What sled may cache; each block is read once.
const CACHE_BYTES: u64 = 16 << 20;

/// Starts to read.
pub(super) fn start(
    store: PathBuf,
    shards: u32,
    reached: Reached,
    found: Sender<Told>,
) -> std::io::Result<()> {
    let body = move || {
        // Whoever does not listen any more has left.
        let mut tell = |told| drop(found.blocking_send(told));
        let read = catch_unwind(AssertUnwindSafe(|| read(store, shards, reached, &mut tell)));
        if read.is_err() {
            tell(damage("reading it panicked".into()));
        }
    };
    std::thread::Builder::new().name("anser-inspect".into()).spawn(body).map(drop)
}

fn damage(what: String) -> Told {
    Told::Damage(Damage { place: STORE, what, meaning: UNREADABLE })
}

fn read(store: PathBuf, shards: u32, reached: Reached, tell: &mut dyn FnMut(Told)) {
    let trees = match guarded(|| SledTrees::open(&store, CACHE_BYTES)) {
        Ok(trees) => Guarded(trees),
        Err(StoreError::Failed(what) | StoreError::Damaged(what)) => return tell(damage(what)),
    };
    let mut opened = None;
    check(&trees, shards, &mut |finding| {
        match (&finding, &mut opened) {
            (Finding::Manifest(manifest, _), _) => {
                let manifest = manifest.clone();
                let (segments, torn, pieces) = (Segments::default(), Vec::new(), BTreeMap::new());
                opened = Some(Opened { manifest, segments, torn, pieces });
            }
            (Finding::Segment(seen), Some(opened)) => {
                opened.pieces.insert(seen.segment, seen.pieces);
            }
            (
                Finding::Segment(_)
                | Finding::Void(_)
                | Finding::Slot { .. }
                | Finding::Block { .. }
                | Finding::Table(_)
                | Finding::Damage { .. },
                _,
            ) => {}
        }
        tell(Told::Store(finding));
    });
    for (slot, saves) in reached.slots() {
        // One that can't be read is told already.
        if let Ok(found) = slot.generation(&trees)
            && found < saves
        {
            let what = format!("slot {} was written {saves} times, and is as after {found}", slot.name);
            let meaning = "the node would take back what it has told others";
            tell(Told::Damage(Damage { place: STORE, what, meaning }));
        }
    }
    let Reached { changes, segment, pieces, saves: _ } = reached;
    if opened.is_some_and(|opened| !opened.has_reached(changes, segment, pieces)) {
        let what = format!(
            "it ends before change {changes} of the manifest and piece {pieces} of segment {segment}, which were synced"
        );
        let meaning = "acknowledged writes are missing, so no node opens it";
        tell(Told::Damage(Damage { place: STORE, what, meaning }));
    }
}

/// Trees whose panics are damages: sled answers some so.
struct Guarded(SledTrees);

impl Trees for Guarded {
    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        guarded(|| self.0.get(tree, key))
    }

    fn put(&self, tree: TreeName, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        guarded(|| self.0.put(tree, key, value))
    }

    fn remove(&self, tree: TreeName, key: &[u8]) -> Result<(), StoreError> {
        guarded(|| self.0.remove(tree, key))
    }

    fn walk(&self, tree: TreeName, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        guarded(|| self.0.walk(tree, visit))
    }

    fn names(&self) -> Result<Vec<TreeName>, StoreError> {
        guarded(|| self.0.names())
    }

    fn drop_tree(&self, tree: TreeName) -> Result<(), StoreError> {
        guarded(|| self.0.drop_tree(tree))
    }

    fn sync_part(&self, part: Part) -> Result<(), StoreError> {
        guarded(|| self.0.sync_part(part))
    }
}
