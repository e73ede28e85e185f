//! fjall 3, an LSM store in Rust: one keyspace with its defaults but for the sizes.

use crate::store::Store;
use anser_storage::StoreKey;
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Threads that read at once, where many reads are asked for: as many as our disk has for it.
const THREADS: usize = 2;
/// How long its background work may take to end.
const SETTLES_WITHIN: Duration = Duration::from_secs(600);
/// For how long it must look idle to be so.
const IDLE: Duration = Duration::from_millis(300);

/// See the module.
pub struct Theirs {
    dir: PathBuf,
    db: Database,
    keys: Keyspace,
}

impl Theirs {
    /// A new one with so many bytes of memtable and of cache.
    pub fn create(dir: &Path, memtable_bytes: usize, cache_bytes: usize) -> Theirs {
        let db = Database::builder(dir).cache_size(cache_bytes as u64).open().unwrap();
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes as u64);
        let keys = db.keyspace("keys", options).unwrap();
        Theirs { dir: dir.to_path_buf(), db, keys }
    }
}

impl Store for Theirs {
    fn write(&mut self, batch: &[(StoreKey, Bytes)]) {
        let mut writes = self.db.batch().durability(Some(PersistMode::SyncData));
        for (key, state) in batch {
            writes.insert(&self.keys, key.as_bytes().clone(), state.clone());
        }
        writes.commit().unwrap();
    }

    fn get(&mut self, key: &StoreKey) -> Option<Bytes> {
        self.keys.get(key.as_bytes()).unwrap().map(Bytes::from)
    }

    fn get_many(&mut self, keys: &[StoreKey]) -> usize {
        let store = &self.keys;
        std::thread::scope(|scope| {
            let parts = keys.chunks(keys.len().div_ceil(THREADS));
            let read = |part: &[StoreKey]| {
                part.iter().filter(|key| store.get(key.as_bytes()).unwrap().is_some()).count()
            };
            let readers: Vec<_> = parts.map(|part| scope.spawn(move || read(part))).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).sum()
        })
    }

    fn get_batch(&mut self, keys: &[StoreKey]) -> usize {
        let moment = self.db.snapshot();
        keys.iter().filter(|key| moment.get(&self.keys, key.as_bytes()).unwrap().is_some()).count()
    }

    fn scan(&mut self) -> usize {
        self.keys.iter().map(|entry| entry.into_inner().unwrap()).filter(|(key, _)| !key.is_empty()).count()
    }

    fn settle(&mut self, _idle: bool) {
        let begun = Instant::now();
        let mut idle_since = Instant::now();
        while idle_since.elapsed() < IDLE {
            assert!(begun.elapsed() < SETTLES_WITHIN, "its background work does not end");
            if self.is_busy() {
                idle_since = Instant::now();
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn is_busy(&mut self) -> bool {
        self.db.outstanding_flushes() > 0 || self.db.active_compactions() > 0
    }

    fn filters(&self) -> (u64, u64) {
        let metrics = self.keys.metrics();
        let asked = metrics.filter_queries() as u64;
        (asked, asked.saturating_sub(metrics.io_skipped_by_filter() as u64))
    }

    fn dir(&self) -> &Path {
        &self.dir
    }
}
