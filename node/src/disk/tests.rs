//! A folder that is closed, killed, copied while it runs, damaged, or somebody else's.

mod conformance;
mod damage;
mod killed;
mod model;
mod shard;

use super::*;
use anser_machine::{
    DiskRequest, Feedback, Frozen, LogRecord, Lsn, SlotName, Stored, StoredTable, TableId, Ticket,
};
use anser_model::merkle::Fingerprint;
use anser_storage::table::{Table, block};
use bytes::Bytes;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

const NODE: NodeId = NodeId([7; 16]);
const WAIT: Duration = Duration::from_secs(20);

/// Keeps all answers, and lets a test wait for one.
#[derive(Default)]
struct Answers {
    all: Mutex<Vec<(Asker, u32, Feedback)>>,
    more: Condvar,
}

impl FeedbackSink for Answers {
    fn feed(&self, asker: Asker, life: u32, feedback: Vec<Feedback>) {
        let mut all = self.all.lock().unwrap();
        all.extend(feedback.into_iter().map(|feedback| (asker, life, feedback)));
        self.more.notify_all();
    }
}

impl Answers {
    /// Takes the first answer that `pick` wants, with its asker.
    fn wait<T>(&self, asker: Asker, mut pick: impl FnMut(&Feedback) -> Option<T>) -> T {
        let mut picked = None;
        let all = self.all.lock().unwrap();
        let (mut all, timeout) = self
            .more
            .wait_timeout_while(all, WAIT, |all| {
                let place = all.iter().position(|(of, _, feedback)| {
                    if *of == asker {
                        picked = pick(feedback);
                    }
                    picked.is_some()
                });
                place.map(|place| all.remove(place)).is_none()
            })
            .unwrap();
        assert!(!timeout.timed_out(), "waited in vain; there is {all:?}");
        all.retain(|_| true);
        picked.unwrap()
    }

    fn durable(&self, shard: u32, through: u64) {
        self.wait(Asker::Shard(shard), |feedback| match feedback {
            Feedback::Durable { through: lsn } if lsn.0 >= through => Some(()),
            _ => None,
        });
    }
}

struct Node {
    opened: OpenedFolder,
    handle: DiskHandle,
    answers: Arc<Answers>,
}

fn config() -> DiskConfig {
    DiskConfig { cache_bytes: 4 << 20, ..DiskConfig::new(NODE, 2) }
}

fn open_with(dir: &Path, config: &DiskConfig) -> Result<Node, OpenError> {
    let answers = Arc::new(Answers::default());
    let opened = Disk::open(dir, config, answers.clone())?;
    let handle = opened.disk.handle();
    Ok(Node { opened, handle, answers })
}

fn open(dir: &Path) -> Node {
    open_with(dir, &config()).unwrap()
}

fn state(seed: u64, length: usize) -> Bytes {
    // Not compressible.
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

impl Node {
    fn append(&self, shard: u32, lsn: u64, bytes: Bytes) {
        let record = LogRecord { lsn: Lsn(lsn), bytes };
        self.handle.submit(Asker::Shard(shard), 1, vec![DiskRequest::Append(record)]);
    }

    fn flush(&self, shard: u32, entries: &[(String, Bytes)], through: u64) -> StoredTable {
        let stored = |state: &Bytes| Stored {
            state: state.clone(),
            lsn: Lsn(through),
            counts: Fingerprint::NONE,
            replaces: Fingerprint::NONE,
        };
        let frozen: Frozen =
            entries.iter().map(|(key, state)| (Bytes::from(key.clone()).into(), stored(state))).collect();
        let request = DiskRequest::Flush { frozen: Arc::new(frozen), through: Lsn(through) };
        self.handle.submit(Asker::Shard(shard), 1, vec![request]);
        self.answers.wait(Asker::Shard(shard), |feedback| match feedback {
            Feedback::Flushed { tables, through: at } if at.0 == through => Some(tables[0].clone()),
            _ => None,
        })
    }

    fn recover(&self, shard: u32) -> (Vec<StoredTable>, Vec<LogRecord>, Lsn) {
        let asker = Asker::Shard(shard);
        self.handle.submit(asker, 2, vec![DiskRequest::Recover]);
        let tables = self.answers.wait(asker, |feedback| match feedback {
            Feedback::RecoveredTables { tables, .. } => Some(tables.clone()),
            _ => None,
        });
        let mut all = Vec::new();
        loop {
            let (records, next) = self.answers.wait(asker, |feedback| match feedback {
                Feedback::RecoveredLog { records, next } => Some((records.clone(), *next)),
                _ => None,
            });
            all.extend(records);
            if let Some(next) = next {
                return (tables, all, next);
            }
        }
    }

    fn fetch(&self, table: TableId, number: u32) -> Option<Bytes> {
        let request = DiskRequest::Fetch { ticket: Ticket(9), table, block: number, count: 1 };
        self.handle.submit(Asker::Shard(0), 2, vec![request]);
        self.answers.wait(Asker::Shard(0), |feedback| match feedback {
            Feedback::Fetched { blocks, .. } => Some(blocks.first().cloned()),
            Feedback::FetchFailed { .. } | Feedback::TableGone { .. } => Some(None),
            _ => None,
        })
    }

    fn lookup(&self, table: &Table, key: &str) -> Option<Bytes> {
        let content = self.fetch(table.id(), table.block_of(key.as_bytes())?)?;
        block::search(&content, key.as_bytes()).unwrap()
    }

    fn save(&self, slot: SlotName, bytes: Bytes) {
        self.handle.submit(Asker::Control, 1, vec![DiskRequest::Save { slot, bytes }]);
        self.answers
            .wait(Asker::Control, |feedback| matches!(feedback, Feedback::Saved { .. }).then_some(()));
    }

    fn load(&self, slot: SlotName) -> Option<Bytes> {
        self.handle.submit(Asker::Control, 1, vec![DiskRequest::Load { slot }]);
        self.answers.wait(Asker::Control, |feedback| match feedback {
            Feedback::Loaded { bytes, .. } => Some(bytes.clone()),
            _ => None,
        })
    }

    fn segments(&self) -> usize {
        self.opened.disk.works.as_ref().unwrap().manifest().segments.len()
    }

    fn close(self) {
        self.opened.disk.close();
    }
}

/// About what a kill would leave: the files as they are now, the witness before what it speaks of.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let _ = std::fs::copy(from.join("witness"), to.join("witness"));
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if target.exists() {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("data");
    (temporary, dir)
}

#[test]
fn what_was_durable_is_there_after_a_close() {
    let (_guard, dir) = folder();
    let node = open(&dir);
    assert!(node.opened.created);
    let folder = node.opened.folder;
    for lsn in 1..=300 {
        node.append(0, lsn, state(lsn, 100));
        node.append(1, lsn, state(lsn + 1000, 50));
    }
    node.save(SlotName::Ring, state(1, 200_000));
    node.save(SlotName::Ring, state(2, 100_000));
    node.save(SlotName::Incarnation, Bytes::from_static(b"5"));
    node.close();

    let node = open(&dir);
    assert!(!node.opened.created);
    assert_eq!((node.opened.folder, node.opened.shards), (folder, 2));
    let (tables, records, next) = node.recover(1);
    assert!(tables.is_empty());
    assert_eq!(next, Lsn(301));
    let expected: Vec<LogRecord> =
        (1..=300).map(|lsn| LogRecord { lsn: Lsn(lsn), bytes: state(lsn + 1000, 50) }).collect();
    assert_eq!(records, expected);
    assert_eq!(node.load(SlotName::Ring), Some(state(2, 100_000)));
    assert_eq!(node.load(SlotName::Incarnation), Some(Bytes::from_static(b"5")));
    assert_eq!(node.load(SlotName::Peers), None);
    node.close();
}

#[test]
fn what_was_durable_is_there_after_a_kill() {
    let (guard, dir) = folder();
    let node = open(&dir);
    for lsn in 1..=200 {
        node.append(0, lsn, state(lsn, 1000));
        if lsn % 10 == 0 {
            node.answers.durable(0, lsn);
        }
    }
    let entries: Vec<(String, Bytes)> = (0..50).map(|key| (format!("k{key:03}"), state(key, 500))).collect();
    let listed = node.flush(0, &entries, 100);
    for lsn in 201..=2000 {
        node.append(0, lsn, state(lsn, 1000));
    }
    node.answers.durable(0, 201);
    let killed = guard.path().join("killed");
    copy(&dir, &killed);
    node.close();

    let node = open(&killed);
    let (tables, records, next) = node.recover(0);
    assert_eq!(tables, std::slice::from_ref(&listed));
    assert!(next >= Lsn(202), "{next:?}");
    let expected: Vec<LogRecord> =
        (101..next.0).map(|lsn| LogRecord { lsn: Lsn(lsn), bytes: state(lsn, 1000) }).collect();
    assert_eq!(records, expected, "a whole prefix, no gap");
    let table = Table::open(listed.id, listed.meta).unwrap();
    assert!(entries.iter().all(|(key, state)| node.lookup(&table, key).as_ref() == Some(state)));
    node.close();
}

#[test]
fn big_states_stay_out_of_the_blobs() {
    let (_guard, dir) = folder();
    let node = open(&dir);
    let sizes = [0, 1, 3_000, 4_096, 5_000, 47_000, 65_536, 70_000, 1 << 20, 16 << 20];
    let entries: Vec<(String, Bytes)> =
        (0..).zip(sizes).map(|(seed, size)| (format!("k{size:09}"), state(seed, size))).collect();
    for (lsn, (_, state)) in (1..).zip(&entries) {
        node.append(0, lsn, state.clone());
    }
    node.answers.durable(0, 10);
    let listed = node.flush(0, &entries, 9);
    node.close();

    for base in sled_trees::BASES {
        let blobs = dir.join("store").join(base).join("blobs");
        assert!(std::fs::read_dir(blobs).map_or(0, Iterator::count) == 0);
    }
    let node = open(&dir);
    let (tables, records, _) = node.recover(0);
    assert_eq!(tables, std::slice::from_ref(&listed));
    assert_eq!(records, [LogRecord { lsn: Lsn(10), bytes: entries[9].1.clone() }]);
    let table = Table::open(listed.id, listed.meta).unwrap();
    for (key, state) in &entries {
        assert!(node.lookup(&table, key).as_ref() == Some(state), "{key}");
    }
    assert_eq!(node.lookup(&table, "k1"), None);
    assert_eq!(node.fetch(table.id(), 1 << 20), None);
    assert_eq!(node.fetch(TableId(77), 0), None);
    node.close();
}

#[test]
fn the_log_is_dropped_once_it_is_in_tables() {
    let (_guard, dir) = folder();
    let node = open(&dir);
    let lot = state(1, 1 << 20);
    for lsn in 1..=100 {
        node.append(0, lsn, lot.clone());
    }
    node.append(1, 1, Bytes::from_static(b"one"));
    node.answers.durable(0, 100);
    node.answers.durable(1, 1);
    assert!(node.segments() >= 3);
    let entries = [("k".to_owned(), Bytes::from_static(b"v"))];
    node.flush(0, &entries, 100);
    node.flush(1, &entries, 1);
    assert!(node.segments() <= 2, "{}", node.segments());
    node.close();
    let node = open(&dir);
    let (tables, records, next) = node.recover(0);
    assert_eq!((tables.len(), records.len(), next), (1, 0, Lsn(101)));
    node.close();
}

#[test]
fn a_shard_that_writes_little_does_not_keep_the_log() {
    let (_guard, dir) = folder();
    let node = open_with(&dir, &DiskConfig { log_bytes_max: 64 << 20, ..config() }).unwrap();
    node.append(1, 1, Bytes::from_static(b"one"));
    let entries = [("k".to_owned(), Bytes::from_static(b"v"))];
    let lot = state(1, 1 << 20);
    for lsn in 1..=200 {
        node.append(0, lsn, lot.clone());
        if lsn % 50 == 0 {
            node.answers.durable(0, lsn);
            node.flush(0, &entries, lsn);
        }
    }
    node.close();
    let node = open(&dir);
    assert!(node.segments() <= 4, "{}", node.segments());
    let (_, records, next) = node.recover(1);
    assert_eq!((records.len(), next), (1, Lsn(2)));
    assert_eq!(records[0].bytes.as_ref(), b"one");
    node.close();
}

#[test]
fn recovery_comes_after_all_that_was_asked_before() {
    let (_guard, dir) = folder();
    let node = open(&dir);
    for lsn in 1..=500 {
        node.append(0, lsn, state(lsn, 10_000));
    }
    let (_, records, next) = node.recover(0);
    assert_eq!((records.len(), next), (500, Lsn(501)));
    node.close();
}

#[test]
fn a_folder_is_used_by_one_process_and_one_node() {
    let (_guard, dir) = folder();
    let node = open(&dir);
    let error = open_with(&dir, &config()).err().unwrap();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    let handle = node.handle.clone();
    let answers = node.answers.clone();
    node.close();
    handle.submit(Asker::Shard(0), 1, vec![DiskRequest::Recover]);
    answers.wait(Asker::Shard(0), |feedback| matches!(feedback, Feedback::DiskFailed).then_some(()));

    let other = DiskConfig { node: NodeId([8; 16]), ..config() };
    let error = open_with(&dir, &other).err().unwrap();
    assert!(matches!(error, OpenError::OtherNode { owner: NODE, .. }), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
    open(&dir).close();
}

#[test]
fn a_folder_of_another_format_or_without_identity_is_refused() {
    let (_guard, dir) = folder();
    open(&dir).close();
    let identity = dir.join("identity");
    let text = std::fs::read_to_string(&identity).unwrap();
    let refusal = |content: &str| {
        std::fs::write(&identity, content).unwrap();
        open_with(&dir, &config()).err().unwrap()
    };
    assert!(matches!(refusal(&text.replace("format 4", "format 5")), OpenError::UnknownFormat { .. }));
    assert!(matches!(refusal(&text.replace("shards 2", "shards 3")), OpenError::Damaged { .. }));
    assert!(matches!(refusal(""), OpenError::Damaged { .. }));
    std::fs::remove_file(&identity).unwrap();
    assert!(matches!(open_with(&dir, &config()).err().unwrap(), OpenError::Damaged { .. }));
    std::fs::write(&identity, &text).unwrap();
    open(&dir).close();
    std::fs::remove_dir_all(dir.join("store")).unwrap();
    assert!(matches!(open_with(&dir, &config()).err().unwrap(), OpenError::Damaged { .. }));
    let error = open_with(&identity, &config()).err().unwrap();
    assert!(matches!(error, OpenError::Failed { .. }), "{error}");
}

#[test]
fn a_creation_that_was_cut_short_begins_anew() {
    let (_guard, dir) = folder();
    open(&dir).close();
    std::fs::rename(dir.join("identity"), dir.join("identity.new")).unwrap();
    let node = open(&dir);
    assert!(node.opened.created);
    node.close();
}

#[test]
fn damage_is_noticed_and_never_silent() {
    let (guard, dir) = folder();
    let node = open(&dir);
    for lsn in 1..=2000 {
        node.append(0, lsn, state(lsn, 300));
    }
    node.answers.durable(0, 2000);
    node.close();
    let size = std::fs::metadata(dir.join("store/log/db")).unwrap().len();
    let expected: Vec<Bytes> = (1..=2000).map(|lsn| state(lsn, 300)).collect();
    let mut noticed = 0;
    for round in 0..12 {
        let damaged = guard.path().join(format!("damaged{round}"));
        copy(&dir, &damaged);
        let path = damaged.join("store/log/db");
        let mut content = std::fs::read(&path).unwrap();
        let at = usize::try_from(size * (2 * round + 1) / 24).unwrap();
        content[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0x55);
        std::fs::write(&path, content).unwrap();
        match open_with(&damaged, &config()) {
            Ok(node) => {
                let (_, records, _) = node.recover(0);
                let same = records.iter().map(|record| &record.bytes).eq(&expected);
                assert!(same, "round {round}: {} records", records.len());
                node.close();
            }
            Err(error) => {
                noticed += 1;
                assert!(matches!(error, OpenError::Damaged { .. } | OpenError::Failed { .. }), "{error}");
            }
        }
    }
    println!("{noticed} of 12 were noticed, the others hit what holds nothing");
}
