//! Group commit against the least that a disk can be asked: the same bytes appended to a file with one `fdatasync` a group.
//!
//! Both in turn on one file system, so that the ratio holds on a noisy machine: `cargo bench --bench commit`.
//! Deliberately absent: actors and quorums. A group here is handed over at once; how groups form is the loopback's matter.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise, as a test does"
)]

#[path = "../asked/mod.rs"]
mod asked;

use anser_machine::{DiskRequest, Feedback, LogRecord, Lsn};
use anser_model::merkle::Fingerprint;
use anser_model::ring::Within;
use anser_model::{Hlc, Key, KeyState, KeyspaceId, Life, NodeId, PartitionId, Rid};
use anser_node::disk::{Asker, Disk, DiskConfig, DiskHandle, FeedbackSink};
use anser_storage::{StoreKey, record};
use asked::Asked;
use bytes::Bytes;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Records of a group, and how many groups are measured.
const GROUPS: [(u64, usize); 4] = [(1, 400), (8, 400), (64, 300), (512, 200)];
/// Groups of each size before the first that counts.
const WARM_UP: usize = 10;
/// Before each group: longer than the commit thread ever lets a group grow after a busy one.
const BETWEEN: Duration = Duration::from_millis(6);
/// How long one group may take.
const GROUP_WITHIN: Duration = Duration::from_secs(30);
const SHARD: Asker = Asker::Shard(0);
const NODE: NodeId = NodeId([7; 16]);

fn main() {
    let groups = match Asked::of_arguments("commit") {
        Asked::Nothing => return,
        Asked::Measure => GROUPS,
        Asked::Test => GROUPS.map(|(records, _)| (records, 3)),
    };
    // Not the system's folder for temporary files, which may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut store = Store::open(&folder.path().join("data"));
    let mut raw = File::create(folder.path().join("raw")).unwrap();
    println!(
        "group commit of puts of 100 bytes beside a raw append + fdatasync of the same bytes; lower quartiles"
    );
    println!("records  groups     raw us   store us   ratio   store us/record");
    for (records, count) in groups {
        let (mut raw_times, mut store_times) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for round in 0..count + WARM_UP.min(count) {
            std::thread::sleep(BETWEEN);
            let group = store.group(records);
            // Each comes first in every other round, so that neither always follows the other's sync.
            let early = (round % 2 == 0).then(|| append(&mut raw, &group));
            let spent_store = store.commit(group.clone());
            let spent_raw = early.unwrap_or_else(|| append(&mut raw, &group));
            if round >= WARM_UP.min(count) {
                raw_times.push(spent_raw);
                store_times.push(spent_store);
            }
        }
        let (raw_us, store_us) = (quartile_us(raw_times), quartile_us(store_times));
        let (ratio, each_us) = (store_us / raw_us, store_us / records as f64);
        println!("{records:>7} {count:>7} {raw_us:>10.1} {store_us:>10.1} {ratio:>7.2} {each_us:>17.2}");
    }
    store.disk.close();
}

fn append(file: &mut File, group: &[LogRecord]) -> Duration {
    let begun = Instant::now();
    let content: Vec<u8> = group.iter().flat_map(|record| record.bytes.iter().copied()).collect();
    file.write_all(&content).unwrap();
    file.sync_data().unwrap();
    begun.elapsed()
}

/// A quarter of the times were shorter: others' syncs on the same disk disturb less than they do the median.
fn quartile_us(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 4].as_secs_f64() * 1e6
}

/// Passes the disk's answers on.
struct Sink(Mutex<Sender<Feedback>>);

impl FeedbackSink for Sink {
    fn feed(&self, _asker: Asker, _life: u32, feedback: Vec<Feedback>) {
        let answers = self.0.lock().unwrap();
        // While the folder closes nobody listens.
        feedback.into_iter().for_each(|feedback| drop(answers.send(feedback)));
    }
}

/// A node's data folder, with one shard.
struct Store {
    disk: Disk,
    handle: DiskHandle,
    answers: Receiver<Feedback>,
    next: u64,
}

impl Store {
    fn open(dir: &Path) -> Store {
        let (sender, answers) = channel();
        let sink = Arc::new(Sink(Mutex::new(sender)));
        let disk = Disk::open(dir, &DiskConfig::new(NODE, 1), sink).unwrap().disk;
        let handle = disk.handle();
        handle.submit(SHARD, 1, vec![DiskRequest::Recover]);
        let next = loop {
            match answers.recv_timeout(GROUP_WITHIN).unwrap() {
                Feedback::RecoveredLog { next: Some(next), .. } => break next.0,
                Feedback::RecoveredTables { .. } | Feedback::RecoveredLog { .. } => {}
                other => panic!("an empty folder answered {other:?}"),
            }
        };
        Store { disk, handle, answers, next }
    }

    /// The log records of so many puts of new keys.
    fn group(&self, records: u64) -> Vec<LogRecord> {
        (self.next..self.next + records).map(|lsn| LogRecord { lsn: Lsn(lsn), bytes: put(lsn) }).collect()
    }

    /// Hands a group over, and waits until all of it is durable.
    fn commit(&mut self, group: Vec<LogRecord>) -> Duration {
        self.next += group.len() as u64;
        let last = Lsn(self.next - 1);
        let begun = Instant::now();
        self.handle.submit(SHARD, 1, group.into_iter().map(DiskRequest::Append).collect());
        let answer = self.answers.recv_timeout(GROUP_WITHIN).unwrap();
        let spent = begun.elapsed();
        assert!(
            matches!(answer, Feedback::Durable { through } if through == last),
            "a group was split: {answer:?}"
        );
        spent
    }
}

/// The log record of a put of 100 bytes under a key of 16.
fn put(n: u64) -> Bytes {
    let key = StoreKey::new(
        PartitionId(200),
        KeyspaceId(1),
        Within(u32::try_from(n).unwrap().wrapping_mul(0x9e37_79b9)),
        &Key::new(format!("user:{n:011}").into_bytes()).unwrap(),
    );
    let mut state = KeyState::default();
    let write = anser_model::state::Write {
        rid: Rid { writer: 1, seq: n },
        issued: Hlc(n),
        expires: None,
        body: anser_model::Body::Value(Bytes::from(vec![b'v'; 100])),
        seen: anser_model::state::Seen::Present,
    };
    state.mint(anser_model::Actor { node: NODE, life: Life(1) }, n + 1, &write).unwrap();
    record::encode(&key, &state.encode(), Fingerprint::NONE).bytes
}
