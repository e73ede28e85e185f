//! The store's trees on sled 0.34.7: a database for the log, another for the tables. In one, each commit would write and
//! sync what a flush or a merge has just written, and sled would move tables that stay out of the way of a log that goes.
//!
//! Its `flush` ends in `sync_file_range`, which doesn't survive a power cut: a second descriptor on the same file is
//! `fdatasync`ed after it. A log message over a quarter of `segment_size` would go to `blobs/`, which is never synced:
//! segments are large, values small, and that folder is checked to be empty.

use super::slowness::Slowness;
use anser_storage::store::{Part, StoreError, TreeName, Trees, VALUE_BYTES_MAX, Visit};
use bytes::Bytes;
use std::collections::HashMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

/// Fixed for ever: sled can't open a folder with another.
const SEGMENT_BYTES: usize = 8 << 20;
/// How often sled collects its garbage; it does so nowhere else.
const COLLECT_INTERVAL_MS: u64 = 200;
/// The cache of the log's database.
const LOG_CACHE_BYTES: u64 = 1 << 20;

/// How often a leaf that was read is looked at again. sled lets go of leaves, in each of 256 parts of its cache, only after 64
/// looks: leaves that are read once would stay by the thousands, ten times what its cache may hold.
const LOOKS: usize = 7;
/// Leaves of smaller values are small themselves.
const LOOKS_VALUE_BYTES_MIN: usize = 4 << 10;

/// The two databases.
#[derive(Debug)]
pub struct SledTrees {
    log: Base,
    tables: Base,
    slowness: Slowness,
}

/// An open sled database.
struct Base {
    db: sled::Db,
    /// A second descriptor on sled's file.
    file: File,
    blobs: PathBuf,
    /// Trees in use. sled's own map is locked for as long as it drops a tree.
    open: RwLock<HashMap<TreeName, sled::Tree>>,
    /// One sync at a time. The system tells a failed write to one caller of `fdatasync` on a descriptor only: whoever else
    /// waited for it must not take its own call's success for a proof.
    syncing: Mutex<()>,
    broken: AtomicBool,
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Base")
    }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

fn of_sled(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { at: Some(place), .. } => {
            StoreError::Damaged(format!("its file is damaged at byte {}", place.lid()))
        }
        sled::Error::Corruption { at: None, .. } => StoreError::Damaged("its files are damaged".into()),
        sled::Error::Io(_)
        | sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_) => failed(error),
    }
}

/// The folders of the databases, within the store's.
pub(super) const BASES: [&str; 2] = ["log", "tables"];

impl SledTrees {
    /// Opens or makes the databases. sled panics over some damage. The log's is read at a start only, and has no cache to
    /// speak of.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<SledTrees, StoreError> {
        let [log, tables] = BASES.map(|name| dir.join(name));
        let (log, tables) = (Base::open(&log, LOG_CACHE_BYTES)?, Base::open(&tables, cache_bytes)?);
        Ok(SledTrees { log, tables, slowness: Slowness::default() })
    }

    /// The same, as slow as a test wants it.
    pub(super) fn slowed_by(self, slowness: &Slowness) -> SledTrees {
        SledTrees { slowness: slowness.clone(), ..self }
    }

    /// Whether no value has left sled's log.
    pub fn check_blobs(&self) -> Result<(), StoreError> {
        self.log.check_blobs()?;
        self.tables.check_blobs()
    }

    /// Bytes that the databases take.
    pub fn bytes_on_disk(&self) -> u64 {
        [&self.log, &self.tables].into_iter().map(Base::bytes_on_disk).sum()
    }

    fn base(&self, part: Part) -> &Base {
        match part {
            Part::Log => &self.log,
            Part::Tables => &self.tables,
        }
    }

    fn of(&self, tree: TreeName) -> &Base {
        self.base(tree.part())
    }
}

impl Base {
    fn open(dir: &Path, cache_bytes: u64) -> Result<Base, StoreError> {
        let config = sled::Config::new()
            .path(dir)
            .mode(sled::Mode::HighThroughput)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(cache_bytes)
            .flush_every_ms(Some(COLLECT_INTERVAL_MS));
        let db = config.open().map_err(of_sled)?;
        let file = File::options().read(true).write(true).open(dir.join("db")).map_err(failed)?;
        let base = Base {
            db,
            file,
            blobs: dir.join("blobs"),
            open: RwLock::new(HashMap::new()),
            syncing: Mutex::new(()),
            broken: AtomicBool::new(false),
        };
        base.check_blobs()?;
        Ok(base)
    }

    fn check_blobs(&self) -> Result<(), StoreError> {
        match std::fs::read_dir(&self.blobs).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::Failed("a value is in blobs/, which is never synced".into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    fn bytes_on_disk(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    fn tree(&self, name: TreeName) -> Result<sled::Tree, StoreError> {
        if let Some(tree) = self.open.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Ok(tree.clone());
        }
        let tree = self.db.open_tree(name.to_string()).map_err(of_sled)?;
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(name, tree.clone());
        Ok(tree)
    }

    /// A tree, if it is there: to open it would make it.
    fn existing(&self, name: TreeName) -> Result<Option<sled::Tree>, StoreError> {
        if let Some(tree) = self.open.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Ok(Some(tree.clone()));
        }
        if self.names().contains(&name) { self.tree(name).map(Some) } else { Ok(None) }
    }

    fn not_broken(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(StoreError::Failed("it has failed before".into()));
        }
        Ok(())
    }

    fn names(&self) -> Vec<TreeName> {
        let names = self.db.tree_names();
        names.iter().filter_map(|name| TreeName::parse(std::str::from_utf8(name).ok()?)).collect()
    }

    fn sync(&self) -> Result<(), StoreError> {
        let flushed = self.db.flush().map_err(of_sled);
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.not_broken()?;
        let synced = flushed.and_then(|_| self.file.sync_data().map_err(failed));
        if synced.is_err() {
            self.broken.store(true, Ordering::Release);
        }
        synced
    }
}

impl Trees for SledTrees {
    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.slowness.hold();
        let Some(tree) = self.of(tree).existing(tree)? else { return Ok(None) };
        let value = tree.get(key).map_err(of_sled)?;
        if value.as_ref().is_some_and(|value| value.len() >= LOOKS_VALUE_BYTES_MIN) {
            for _ in 0..LOOKS {
                tree.contains_key(key).map_err(of_sled)?;
            }
        }
        // Without a copy: sled shares what it has read.
        Ok(value.map(Bytes::from_owner))
    }

    fn put(&self, tree: TreeName, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.slowness.hold();
        self.of(tree).not_broken()?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(StoreError::Failed(format!("a value of {} bytes for {tree}", value.len())));
        }
        self.of(tree).tree(tree)?.insert(key, value).map(drop).map_err(of_sled)
    }

    fn remove(&self, tree: TreeName, key: &[u8]) -> Result<(), StoreError> {
        self.slowness.hold();
        self.of(tree).not_broken()?;
        let Some(tree) = self.of(tree).existing(tree)? else { return Ok(()) };
        tree.remove(key).map(drop).map_err(of_sled)
    }

    fn walk(&self, tree: TreeName, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.slowness.hold();
        let Some(tree) = self.of(tree).existing(tree)? else { return Ok(()) };
        // Ends at the first error: sled's iterators can give errors for ever.
        for entry in &tree {
            let (key, value) = entry.map_err(of_sled)?;
            if visit(&key, &value) == ControlFlow::Break(()) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<TreeName>, StoreError> {
        Ok([&self.log, &self.tables].into_iter().flat_map(Base::names).collect())
    }

    fn drop_tree(&self, tree: TreeName) -> Result<(), StoreError> {
        self.slowness.hold();
        self.of(tree).not_broken()?;
        let base = self.of(tree);
        base.open.write().unwrap_or_else(PoisonError::into_inner).remove(&tree);
        base.db.drop_tree(tree.to_string()).map(drop).map_err(of_sled)
    }

    fn sync_part(&self, part: Part) -> Result<(), StoreError> {
        self.slowness.hold();
        self.base(part).sync()
    }
}
