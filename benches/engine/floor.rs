//! What lies below: the same bytes in one raw sled tree, and in a file that is only appended to.

use crate::store::Store;
use anser_storage::StoreKey;
use bytes::Bytes;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A sled tree from key to state, with our settings.
pub struct RawSled {
    dir: PathBuf,
    db: sled::Db,
    file: File,
}

impl RawSled {
    /// A new one.
    pub fn create(dir: &Path, cache_bytes: usize) -> RawSled {
        let config = sled::Config::new()
            .path(dir)
            .mode(sled::Mode::HighThroughput)
            .segment_size(8 << 20)
            .cache_capacity(cache_bytes as u64)
            .flush_every_ms(Some(200));
        let db = config.open().unwrap();
        let file = File::options().read(true).write(true).open(dir.join("db")).unwrap();
        RawSled { dir: dir.to_path_buf(), db, file }
    }
}

impl Store for RawSled {
    fn write(&mut self, batch: &[(StoreKey, Bytes)]) {
        for (key, state) in batch {
            self.db.insert(key.as_bytes(), state.as_ref()).unwrap();
        }
        self.db.flush().unwrap();
        self.file.sync_data().unwrap();
    }

    fn get(&mut self, key: &StoreKey) -> Option<Bytes> {
        self.db.get(key.as_bytes()).unwrap().map(|value| Bytes::copy_from_slice(&value))
    }

    fn get_many(&mut self, keys: &[StoreKey]) -> usize {
        keys.iter().filter(|key| self.get(key).is_some()).count()
    }

    fn get_batch(&mut self, keys: &[StoreKey]) -> usize {
        self.get_many(keys)
    }

    fn scan(&mut self) -> usize {
        self.db.iter().map(Result::unwrap).count()
    }

    fn settle(&mut self, _idle: bool) {}

    fn filters(&self) -> (u64, u64) {
        (0, 0)
    }

    fn dir(&self) -> &Path {
        &self.dir
    }
}

/// A file that batches are appended to, each with its `fdatasync`. Nothing can be read from it.
pub struct RawFile {
    dir: PathBuf,
    file: File,
}

impl RawFile {
    /// A new one.
    pub fn create(dir: &Path) -> RawFile {
        std::fs::create_dir_all(dir).unwrap();
        RawFile { dir: dir.to_path_buf(), file: File::create(dir.join("file")).unwrap() }
    }
}

impl Store for RawFile {
    fn write(&mut self, batch: &[(StoreKey, Bytes)]) {
        let mut content = Vec::new();
        for (key, state) in batch {
            content.extend_from_slice(key.as_bytes());
            content.extend_from_slice(state);
        }
        self.file.write_all(&content).unwrap();
        self.file.sync_data().unwrap();
    }

    fn get(&mut self, _key: &StoreKey) -> Option<Bytes> {
        None
    }

    fn get_many(&mut self, _keys: &[StoreKey]) -> usize {
        0
    }

    fn get_batch(&mut self, _keys: &[StoreKey]) -> usize {
        0
    }

    fn scan(&mut self) -> usize {
        0
    }

    fn settle(&mut self, _idle: bool) {}

    fn filters(&self) -> (u64, u64) {
        (0, 0)
    }

    fn dir(&self) -> &Path {
        &self.dir
    }
}
