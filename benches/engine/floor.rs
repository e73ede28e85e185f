//! What lies below: the same bytes in one raw sled tree, and in a file that is only appended to; the rows of our own tables,
//! read by sled with nothing of ours above it; and what it takes to ask another thread.

use crate::store::Store;
use crate::work::Choice;
use anser_storage::StoreKey;
use bytes::Bytes;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Instant;

/// How often a leaf that was read is looked at again, as our disk does: sled lets go of what is over its cache only so.
const LOOKS: usize = 7;

/// The tables of a closed folder of ours, as sled has them.
pub struct Tables {
    rows: Vec<(sled::Tree, sled::IVec)>,
    records: u64,
    /// Keeps the trees open.
    _db: sled::Db,
}

impl Tables {
    /// Opens a folder of ours that holds so many records.
    pub fn open(dir: &Path, cache_bytes: usize, records: u64) -> Tables {
        let config = sled_config(&dir.join("store/tables"), cache_bytes / 3);
        let db = config.open().unwrap();
        let tables = db.tree_names().into_iter().filter(|name| name.starts_with(b"sst/"));
        let mut rows = Vec::new();
        for name in tables {
            let tree = db.open_tree(name).unwrap();
            let filled = tree.iter().map(Result::unwrap).filter(|(_, row)| !row.is_empty());
            rows.extend(filled.map(|(key, _)| (tree.clone(), key)));
        }
        assert!(!rows.is_empty(), "no table: too few records");
        Tables { rows, records, _db: db }
    }

    /// Reads the row at a record's place; rows of metadata are among them.
    fn read(&self, number: u64) {
        let place = number * self.rows.len() as u64 / self.records;
        let (tree, key) = &self.rows[usize::try_from(place).unwrap()];
        assert!(!tree.get(key).unwrap().unwrap().is_empty());
        (0..LOOKS).for_each(|_| assert!(tree.contains_key(key).unwrap()));
    }

    /// Reads the rows of so many records, one after the other.
    pub fn get(&self, choice: &Choice, draws: std::ops::Range<u64>, measured: &mut crate::Measured) {
        for draw in draws {
            let begun = Instant::now();
            self.read(choice.draw(draw, self.records));
            measured.op(1, begun.elapsed());
        }
    }

    /// The same by two threads; rows a second.
    pub fn get_many(&self, gets: u64) -> f64 {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for draws in [0..gets / 2, gets / 2..gets] {
                scope.spawn(|| draws.for_each(|draw| self.read(Choice::Uniform.draw(draw, self.records))));
            }
        });
        gets as f64 / begun.elapsed().as_secs_f64()
    }

    /// Reads all rows in order; records a second.
    pub fn scan(&self) -> f64 {
        let begun = Instant::now();
        self.rows.iter().for_each(|(tree, key)| assert!(tree.get(key).unwrap().is_some()));
        self.records as f64 / begun.elapsed().as_secs_f64()
    }
}

/// Asks another thread so often, one question after the other, and waits for its answer.
pub fn ask_a_thread(times: u64, measured: &mut crate::Measured) {
    let (question, questions) = channel::<u64>();
    let (answer, answers) = channel();
    let other = std::thread::spawn(move || questions.into_iter().try_for_each(|asked| answer.send(asked)));
    for number in 0..times {
        let begun = Instant::now();
        question.send(number).unwrap();
        assert_eq!(answers.recv().unwrap(), number);
        measured.op(1, begun.elapsed());
    }
    drop(question);
    other.join().unwrap().unwrap();
}

/// sled as our disk opens it.
fn sled_config(dir: &Path, cache_bytes: usize) -> sled::Config {
    sled::Config::new()
        .path(dir)
        .mode(sled::Mode::HighThroughput)
        .segment_size(8 << 20)
        .cache_capacity(cache_bytes as u64)
        .flush_every_ms(Some(200))
}

/// A sled tree from key to state, with our settings.
pub struct RawSled {
    dir: PathBuf,
    db: sled::Db,
    file: File,
}

impl RawSled {
    /// A new one.
    pub fn create(dir: &Path, cache_bytes: usize) -> RawSled {
        let db = sled_config(dir, cache_bytes).open().unwrap();
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

    fn is_busy(&mut self) -> bool {
        false
    }

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

    fn is_busy(&mut self) -> bool {
        false
    }

    fn filters(&self) -> (u64, u64) {
        (0, 0)
    }

    fn dir(&self) -> &Path {
        &self.dir
    }
}
