//! What the disk's threads share: the trees, the manifest, and what the log's segments hold.

use super::DiskConfig;
use super::folder::Folder;
use super::garbage;
use super::port::Port;
use super::sled_trees::SledTrees;
use super::witness::{Reached, Witness};
use anser_machine::{StoredTable, TableId};
use anser_storage::store::{Manifest, Part, Segments, StoreError, TreeName, Trees, log, recovery};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

/// What the threads share. Locks are taken in the order of the fields.
#[derive(Debug)]
pub(super) struct Works {
    pub port: Arc<Port>,
    pub trees: SledTrees,
    pub log_bytes_max: u64,
    /// The segment that the log goes on in, laid out and listed.
    prepared: Mutex<Option<u64>>,
    /// Held over writing and syncing it.
    manifest: Mutex<Manifest>,
    /// Tables that there are. Held while a block is read, so that none is dropped meanwhile.
    live: RwLock<BTreeSet<TableId>>,
    /// The next table's number: some are being written that the manifest doesn't list yet.
    next_table: AtomicU64,
    /// Held briefly.
    segments: Mutex<Segments>,
    witness: Mutex<Witness>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Works {
    /// Opens the store of a folder, drops what doesn't count, and makes the segment that the log goes on in.
    pub fn open(folder: &Folder, config: &DiskConfig, port: Arc<Port>) -> Result<Works, StoreError> {
        let trees = SledTrees::open(&folder.store, config.cache_bytes)?.slowed_by(&port.slowness);
        if folder.created {
            recovery::create(&trees)?;
            trees.sync()?;
            folder.finish_creation()?;
        }
        let opened = recovery::open(&trees)?;
        let witness = Witness::open(folder.dir(), folder.created)?;
        let reached = witness.reached();
        if !opened.has_reached(reached.changes, reached.segment, reached.pieces) {
            return Err(StoreError::Damaged("its newest writes, which were synced, are not there".into()));
        }
        for (slot, saves) in reached.slots() {
            if slot.generation(&trees)? < saves {
                return Err(StoreError::Damaged(format!("slot {} is older than it was", slot.name)));
            }
        }
        for segment in &opened.torn {
            tracing::info!(
                "segment {segment} of the log ended in an unfinished group; it was never acknowledged and is left out"
            );
        }
        let live = opened.manifest.tables.iter().map(|entry| TableId(entry.id)).collect();
        let works = Works {
            port,
            live: RwLock::new(live),
            next_table: AtomicU64::new(opened.manifest.next_table),
            trees,
            log_bytes_max: config.log_bytes_max,
            prepared: Mutex::new(None),
            manifest: Mutex::new(opened.manifest),
            segments: Mutex::new(opened.segments),
            witness: Mutex::new(witness),
        };
        works.prepare_segment()?;
        works.drop_needless(|_| ())?;
        works.trees.check_blobs()?;
        works.measure();
        Ok(works)
    }

    pub fn manifest(&self) -> MutexGuard<'_, Manifest> {
        lock(&self.manifest)
    }

    /// The number of a table that is to be written.
    pub fn next_table(&self) -> TableId {
        TableId(self.next_table.fetch_add(1, Ordering::Relaxed))
    }

    /// Tables count from now on.
    pub fn tables_added(&self, tables: &[StoredTable]) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.extend(tables.iter().map(|table| table.id));
    }

    /// Drops tables that the manifest lists no more.
    pub fn drop_tables(&self, tables: &[TableId]) -> Result<(), StoreError> {
        self.live.write().unwrap_or_else(PoisonError::into_inner).retain(|live| !tables.contains(live));
        tables.iter().try_for_each(|table| self.trees.drop_tree(TreeName::Table(*table)))?;
        garbage::collect_all();
        Ok(())
    }

    /// Reads of a table; none if it is there no more.
    pub fn with_table<T>(&self, table: TableId, read: impl FnOnce(&SledTrees) -> T) -> Option<T> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.contains(&table).then(|| read(&self.trees))
    }

    pub fn segments(&self) -> MutexGuard<'_, Segments> {
        lock(&self.segments)
    }

    /// Changes the manifest, durably.
    pub fn change_manifest(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), StoreError> {
        let mut manifest = self.manifest();
        let mut changed = manifest.clone();
        change(&mut changed);
        changed.changes += 1;
        let stale = Manifest::CELL.write(&self.trees, &changed.encode())?;
        self.trees.sync_part(Part::Tables)?;
        self.note(|reached| reached.changes = changed.changes)?;
        *manifest = changed;
        stale.sweep(&self.trees)
    }

    /// Notes how far the store has come, after the sync.
    pub fn note(&self, change: impl FnOnce(&mut Reached)) -> Result<(), StoreError> {
        let mut witness = lock(&self.witness);
        self.port.slowness.hold();
        witness.note(change)
    }

    /// Changes the manifest, and drops the segments that are needless then.
    pub fn drop_needless(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), StoreError> {
        let mut needless = Vec::new();
        self.change_manifest(|manifest| {
            change(manifest);
            needless = self.segments().needless(manifest);
            manifest.segments.retain(|segment| !needless.contains(segment));
        })?;
        for segment in needless {
            self.trees.drop_tree(TreeName::Log(segment))?;
            self.segments().remove(segment);
        }
        garbage::collect_all();
        Ok(())
    }

    /// Lays out the segment that comes next, unless there is one.
    pub fn prepare_segment(&self) -> Result<(), StoreError> {
        let mut prepared = lock(&self.prepared);
        if prepared.is_some() {
            return Ok(());
        }
        let segment = self.manifest().next_segment;
        log::begin(&self.trees, segment)?;
        // It must be there once it is listed; and be listed before it holds anything, since what is not listed is void.
        self.trees.sync_part(Part::Log)?;
        self.change_manifest(|manifest| {
            manifest.next_segment = segment + 1;
            manifest.segments.push(segment);
        })?;
        self.segments().entry(segment);
        *prepared = Some(segment);
        Ok(())
    }

    /// The segment that the log goes on in; `before` takes no more.
    pub fn next_segment(&self, before: Option<u64>) -> Result<u64, StoreError> {
        self.prepare_segment()?;
        let segment = lock(&self.prepared).take();
        if let Some(before) = before {
            self.segments().entry(before).sealed = true;
        }
        segment.ok_or_else(|| StoreError::Failed("no segment of the log was prepared".into()))
    }

    /// Tells how large the store is. (How many tables there are, the shards tell.)
    pub fn measure(&self) {
        metrics::gauge!("anser_disk_bytes").set(as_f64(self.trees.bytes_on_disk()));
    }

    /// The last sync.
    pub fn end(&self) {
        let synced = if self.port.has_failed() { Ok(()) } else { self.trees.sync() };
        let synced = synced.and_then(|()| lock(&self.witness).sync());
        if let Err(error) = synced.and_then(|()| self.trees.check_blobs()) {
            self.port.fail(&error);
        }
    }
}

/// For gauges, which are floating.
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Turns a panic, with which sled answers some damage, into an error.
pub(super) fn guarded<T>(open: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(StoreError::Damaged("its files can't be read".into())))
}

/// Starts a thread of the disk; a panic in it stops the store.
pub(super) fn spawn(
    name: &str,
    works: Arc<Works>,
    body: impl FnOnce(&Works) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let called = name.to_owned();
    std::thread::Builder::new().name(called.clone()).spawn(move || {
        if catch_unwind(AssertUnwindSafe(|| body(&works))).is_err() {
            works.port.fail(&format_args!("the thread {called} panicked"));
        }
    })
}
