//! A process that appends, flushes, installs, merges and drops, and is killed at any moment, again and again: what it was
//! told to be durable is there, whole.
//!
//! The process is this test's own program, told by the environment to be the one that is killed.
//! `ANSER_KILL_ROUNDS=200 cargo test -p anser-node killed` has more rounds.

use super::shard::whole_state;
use super::*;
use anser_model::merkle::{Fingerprint, Tally, Tree};
use anser_model::ring::Within;
use anser_model::{Body, Key, KeyState, KeyspaceId, PartitionId};
use anser_storage::compaction::choice::{self, Choice};
use anser_storage::{Engine, Limits, Lookup, StoreKey, fingerprint_of, record};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;

/// Rounds unless told.
const ROUNDS: u64 = 15;
/// Says which folder the process is to write to.
const FOLDER: &str = "ANSER_KILLED_FOLDER";
/// Where the process says how far it was told that all is durable.
const TOLD: &str = "told";
const KEYS: u64 = 3_000;
/// With more tables than this, they are merged between two rounds.
const TABLES_MAX: usize = 60;
/// Writes that are not durable yet, at most.
const AHEAD: u64 = 500;

fn scatter(number: u64) -> u64 {
    let mixed = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// The key that is written at a position of the log.
fn key_of(lsn: u64) -> StoreKey {
    let number = scatter(lsn) % KEYS;
    let partition = PartitionId(u16::try_from(number % 48).unwrap());
    let within = Within(u32::try_from(number).unwrap().wrapping_mul(0x9e37_79b9));
    StoreKey::new(partition, KeyspaceId(1), within, &Key::new(number.to_be_bytes().to_vec()).unwrap())
}

/// What is written there: the position itself, then noise; now and then a lot.
fn state_of(lsn: u64) -> Bytes {
    let length = if lsn.is_multiple_of(401) { 90_000 } else { usize::try_from(scatter(lsn) % 900).unwrap() };
    whole_state(lsn, [&lsn.to_be_bytes()[..], &state(lsn, length)].concat().into())
}

/// The position that a state tells.
fn position_of(state: &[u8]) -> u64 {
    let state = KeyState::decode(state).unwrap();
    let Body::Value(value) = &state.live()[0].1.body else { panic!("a delete") };
    u64::from_be_bytes(*value.first_chunk().unwrap())
}

struct Channel(mpsc::Sender<Feedback>);

impl FeedbackSink for Channel {
    fn feed(&self, _: Asker, _: u32, feedback: Vec<Feedback>) {
        for one in feedback {
            // Nobody listens any more once the folder is being closed.
            let _ = self.0.send(one);
        }
    }
}

/// A shard over the folder, without the machine around it.
struct Shard {
    opened: OpenedFolder,
    handle: DiskHandle,
    answers: mpsc::Receiver<Feedback>,
    engine: Engine,
    next: u64,
    durable: u64,
    merging: bool,
    /// Where each key was written last.
    written: BTreeMap<StoreKey, u64>,
}

impl Shard {
    fn open(dir: &Path) -> Shard {
        let (sender, answers) = mpsc::channel();
        let config = DiskConfig { cache_bytes: 1 << 20, ..DiskConfig::new(NODE, 1) };
        let opened = Disk::open(dir, &config, Arc::new(Channel(sender))).unwrap();
        let handle = opened.disk.handle();
        let limits = Limits { memtable_bytes: 300_000, frozen_max: 2, cache_bytes: 1 << 20 };
        let mut shard = Shard {
            opened,
            handle,
            answers,
            engine: Engine::new(limits),
            next: 0,
            durable: 0,
            merging: false,
            written: BTreeMap::new(),
        };
        shard.ask(Asker::Shard(0), DiskRequest::Recover);
        while shard.next == 0 {
            shard.hear();
        }
        shard.written = (1..shard.next).map(|lsn| (key_of(lsn), lsn)).collect();
        shard
    }

    fn ask(&self, asker: Asker, request: DiskRequest) {
        self.handle.submit(asker, 1, vec![request]);
    }

    /// Takes one answer in.
    fn hear(&mut self) -> Option<(Ticket, Option<Bytes>)> {
        match self.answers.recv_timeout(WAIT).expect("the disk answers") {
            Feedback::Durable { through } => self.durable = self.durable.max(through.0),
            Feedback::RecoveredTables { tables, damaged } => {
                assert!(damaged.is_empty(), "a kill damages nothing");
                self.engine.recovered_tables(tables).unwrap();
            }
            Feedback::RecoveredLog { records, next } => {
                self.engine.recovered_log(&records).unwrap();
                if let Some(next) = next {
                    (self.next, self.durable) = (next.0.max(1), next.0.saturating_sub(1));
                }
            }
            Feedback::Flushed { tables, through } => self.engine.flushed(tables, through).unwrap(),
            Feedback::TablesReplaced { removed, added } => self.engine.replaced(&removed, added).unwrap(),
            Feedback::Merged { .. } => self.merging = false,
            Feedback::Fetched { ticket, blocks } => return Some((ticket, blocks.into_iter().next())),
            Feedback::TableGone { ticket } => return Some((ticket, None)),
            other => panic!("{other:?}"),
        }
        None
    }

    fn write(&mut self) {
        let (key, lsn) = (key_of(self.next), Lsn(self.next));
        let counts = |lsn: u64| fingerprint_of(key.as_bytes(), &state_of(lsn)).unwrap();
        let before = self.written.insert(key.clone(), self.next);
        let replaces = before.map_or(Fingerprint::NONE, counts);
        let encoded = record::encode(&key, &state_of(self.next), replaces);
        self.ask(Asker::Shard(0), DiskRequest::Append(LogRecord { lsn, bytes: encoded.bytes }));
        self.engine.insert(&key, encoded.state, counts(self.next), lsn, replaces);
        self.next += 1;
        while self.engine.is_full() {
            self.hear();
            self.flush();
        }
        self.flush();
    }

    fn flush(&mut self) {
        if let Some((frozen, through)) = self.engine.freeze() {
            self.ask(Asker::Shard(0), DiskRequest::Flush { frozen, through });
            self.merge();
        }
    }

    /// Merges, if nothing is being merged: what is worth it, or else the oldest tables of some group.
    fn merge(&mut self) {
        if self.merging {
            return;
        }
        let groups = choice::runs(&self.engine.tables());
        let worth = groups.values().find_map(|runs| match choice::choose(runs, false, u64::MAX) {
            Choice::Merge { inputs, .. } => Some(inputs),
            Choice::Nothing => None,
        });
        let some = groups.values().nth(usize::try_from(self.next % 3).unwrap()).map(|runs| {
            let oldest = runs.iter().rev().take(2);
            oldest.flat_map(|run| run.tables.iter().copied()).collect()
        });
        if let Some(inputs) = worth.or(some) {
            self.merging = true;
            self.ask(Asker::Compactor, DiskRequest::Merge { shard: 0, inputs, duty: 100 });
        }
    }

    /// Merges in peace what many short lives have left: their merges seldom came to an end.
    fn tidy_up(&mut self) {
        while self.engine.tables().len() > TABLES_MAX {
            self.merge();
            while self.merging {
                self.hear();
            }
        }
    }

    fn get(&mut self, key: &StoreKey) -> Option<Bytes> {
        let mut out = anser_machine::Outbox::new();
        let mut lookup = self.engine.lookup(key, &mut out);
        loop {
            let search = match lookup {
                Lookup::Memory { state, .. } | Lookup::Table { state } => return Some(state),
                Lookup::Absent => return None,
                Lookup::Damaged { table, block } => panic!("{table:?} {block} is damaged"),
                Lookup::Fetch(search) => search,
            };
            let ticket = Ticket(1);
            self.ask(Asker::Shard(0), search.request(ticket));
            let fetched = loop {
                if let Some((_, fetched)) = self.hear() {
                    break fetched;
                }
            };
            lookup = match fetched {
                Some(content) => self.engine.resume(search, content, &mut out),
                None => self.engine.again(&search, &mut out),
            };
        }
    }
}

/// The process that is killed: writes for ever, and says how far it was told that all is durable.
fn write_until_killed(dir: &Path) -> ! {
    let mut shard = Shard::open(&dir.join("data"));
    let told = File::options().write(true).open(dir.join(TOLD)).unwrap();
    loop {
        shard.write();
        while shard.next - shard.durable > AHEAD {
            shard.hear();
            told.write_all_at(&shard.durable.to_be_bytes(), 0).unwrap();
        }
    }
}

/// Every key has the newest state of which the process was told, or a newer one, whole.
fn check(shard: &mut Shard, told: u64) {
    let newest: BTreeMap<StoreKey, u64> = (1..=told).map(|lsn| (key_of(lsn), lsn)).collect();
    for (key, lsn) in newest {
        let state = shard.get(&key).unwrap_or_else(|| panic!("{key:?} of position {lsn} is lost"));
        let found = position_of(&state);
        assert!(found >= lsn && found < shard.next, "{key:?}: position {found} instead of {lsn}");
        assert!(key_of(found) == key && state == state_of(found), "{key:?} of position {found} is torn");
    }
    check_leaves(shard);
}

/// The leaves that were kept are those of what is there.
fn check_leaves(shard: &mut Shard) {
    let mut trees: BTreeMap<PartitionId, Tree> = BTreeMap::new();
    for key in shard.written.clone().into_keys() {
        let state = shard.get(&key).unwrap();
        let (partition, keyspace, _) = key.parts().unwrap();
        let within = u32::from_be_bytes(*key.as_bytes()[6..].first_chunk().unwrap());
        let depth = shard.engine.leaves(partition, keyspace).unwrap().depth();
        let tree = trees.entry(partition).or_insert_with(|| Tree::new(depth));
        tree.change(Within(within), Tally::of(fingerprint_of(key.as_bytes(), &state).unwrap()));
    }
    for (partition, tree) in trees {
        assert_eq!(shard.engine.leaves(partition, KeyspaceId(1)), Some(&tree), "{partition:?}");
    }
}

#[test]
fn a_process_killed_at_any_moment_keeps_what_it_was_told() {
    if let Some(dir) = std::env::var_os(FOLDER) {
        write_until_killed(Path::new(&dir));
    }
    let rounds = std::env::var("ANSER_KILL_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    let guard = tempfile::TempDir::new().unwrap();
    std::fs::write(guard.path().join(TOLD), 0_u64.to_be_bytes()).unwrap();
    let (mut longest, mut tables) = (Duration::ZERO, 0);
    for round in 0..rounds {
        let test = "disk::tests::killed::a_process_killed_at_any_moment_keeps_what_it_was_told";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(FOLDER, guard.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(150 + scatter(round) % 700));
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        assert!(
            std::os::unix::process::ExitStatusExt::signal(&ended).is_some(),
            "it ended by itself: {ended}"
        );

        let told = std::fs::read(guard.path().join(TOLD)).unwrap();
        let told = u64::from_be_bytes(*told.first_chunk().unwrap());
        let began = Instant::now();
        let mut shard = Shard::open(&guard.path().join("data"));
        longest = longest.max(began.elapsed());
        check(&mut shard, told);
        tables += shard.engine.tables().len();
        shard.tidy_up();
        println!("round {round}: {told} positions told, all there; {} tables", shard.engine.tables().len());
        shard.opened.disk.close();
    }
    assert!(tables > 0, "nothing was ever flushed");
    println!("the longest open and read-back took {longest:?}");
}
