//! A load whose every write is remembered, and the judgement of what is there after it.
//!
//! An acknowledged write must be there, whole. One whose end is unknown may be there, whole. One that was refused must not
//! be there (I-7: *failed* is never said of a write that a copy may hold).

use crate::harness::{SOON, block_on, wait_for};
use anser_client::{
    Certainty, Client, ContextArg, Found, GetOptions, Key, KeyspaceName, Level, Profile, PutError, PutOptions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long an operation of a load may take over all attempts, unless said: more than the client's default, since
/// clusters and compilers may share the machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// Reads at once when a ledger is checked.
const READS_AT_ONCE: usize = 32;
/// How long one of these may take over all attempts.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How many wrong things a failed test shows.
const SHOWN_MAX: usize = 10;

/// What a load does.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Writers at once.
    pub writers: usize,
    /// How long an operation may take over all attempts.
    pub timeout: Duration,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { writers: 8, timeout: ANSWERED_WITHIN }
    }
}

/// A load that runs on a thread of its own until it is ended.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    thread: JoinHandle<Ledger>,
}

/// What became of each write.
#[derive(Debug, Default)]
pub struct Ledger {
    once: BTreeMap<String, Fate>,
    counters: BTreeMap<String, Counter>,
    /// What did not succeed, in words.
    pub failures: Vec<String>,
    /// Reads that showed what can't be, in words.
    pub wrong: Vec<String>,
    /// Reads that were made on the way.
    pub reads: u64,
}

/// What became of a key's only write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Acknowledged,
    Unknown,
    Refused,
}

/// A key that one writer writes over and over, with the numbers from 1.
#[derive(Clone, Debug, Default)]
struct Counter {
    issued: u64,
    acknowledged: u64,
    refused: BTreeSet<u64>,
}

impl Load {
    /// Starts it; no other load of the cluster may have the same name.
    pub fn start(profile: Profile, name: &str, plan: Plan) -> Load {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (name, flag, count) = (name.to_owned(), stop.clone(), acknowledged.clone());
        let thread = std::thread::spawn(move || {
            block_on(async {
                let client = Client::connect(profile).await.expect("the cluster is reached");
                let mut writers = JoinSet::new();
                for number in 0..plan.writers {
                    let name = format!("{name}-{number}");
                    let (stop, acknowledged) = (flag.clone(), count.clone());
                    let ledger = Ledger::default();
                    let context = ContextArg::Blind;
                    let client = client.clone();
                    writers.spawn(Writer { client, name, plan, ledger, context, acknowledged }.run(stop));
                }
                let mut all = Ledger::default();
                while let Some(ledger) = writers.join_next().await {
                    all.take_in(ledger.expect("a writer ends"));
                }
                client.close().await;
                all
            })
        });
        Load { stop, acknowledged, thread }
    }

    /// Waits until so many more writes were acknowledged.
    #[track_caller]
    pub fn go_on(&self, more: u64) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + more;
        wait_for(&format!("{more} more writes are acknowledged"), SOON, || {
            self.acknowledged.load(Ordering::Relaxed) >= goal || self.thread.is_finished()
        });
        assert!(!self.thread.is_finished(), "the load ended by itself");
    }

    /// Ends it.
    pub fn end(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load ends")
    }
}

/// One writer of a load: writes a new key, counts one up, reads back; in turn.
struct Writer {
    client: Client,
    name: String,
    plan: Plan,
    ledger: Ledger,
    /// Of the counter.
    context: ContextArg,
    acknowledged: Arc<AtomicU64>,
}

impl Writer {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Ledger {
        let mut turn = 0;
        while !stop.load(Ordering::Relaxed) {
            self.write_new(turn).await;
            self.count_up().await;
            self.read_back(turn).await;
            turn += 1;
        }
        self.ledger
    }

    async fn put(&mut self, key: &str, number: u64, context: ContextArg) -> Result<String, Fate> {
        let options = PutOptions { context, timeout: self.plan.timeout, ..PutOptions::default() };
        match self.client.put(&keyspace(), &name(key), value_of(key, number), options).await {
            Ok(written) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                Ok(written.context)
            }
            Err(error) => {
                self.ledger.failures.push(format!("put {key} {number}: {error}"));
                Err(fate_of(&error))
            }
        }
    }

    async fn write_new(&mut self, turn: u64) {
        let key = format!("{}/{turn}", self.name);
        let fate = self.put(&key, 0, ContextArg::Blind).await.err().unwrap_or(Fate::Acknowledged);
        self.ledger.once.insert(key, fate);
    }

    async fn count_up(&mut self) {
        let key = format!("{}/counter", self.name);
        let number = self.ledger.counters.entry(key.clone()).or_default().issued + 1;
        let context = std::mem::replace(&mut self.context, ContextArg::Blind);
        let put = self.put(&key, number, context).await;
        let counter = self.ledger.counters.entry(key).or_default();
        counter.issued = number;
        match put {
            Ok(token) => {
                counter.acknowledged = number;
                self.context = ContextArg::Token(token);
            }
            Err(Fate::Refused) => {
                counter.refused.insert(number);
            }
            Err(Fate::Acknowledged | Fate::Unknown) => {}
        }
    }

    /// Reads one of its keys, an old one or the newest.
    async fn read_back(&mut self, turn: u64) {
        let old = if turn.is_multiple_of(2) { turn } else { scatter(turn) % turn };
        let key = format!("{}/{old}", self.name);
        let options = GetOptions { timeout: self.plan.timeout, ..GetOptions::default() };
        self.ledger.reads += 1;
        match self.client.get(&keyspace(), &name(&key), options).await {
            Ok(found) => self.ledger.wrong.extend(self.ledger.judge_once(&key, &found)),
            Err(error) => self.ledger.failures.push(format!("get {key}: {error}")),
        }
    }
}

fn fate_of(error: &PutError) -> Fate {
    match error.certainty() {
        Certainty::Failed => Fate::Refused,
        Certainty::Unknown => Fate::Unknown,
    }
}

impl Ledger {
    /// Takes in another one, of other keys.
    pub fn take_in(&mut self, other: Ledger) {
        self.once.extend(other.once);
        self.counters.extend(other.counters);
        self.failures.extend(other.failures);
        self.wrong.extend(other.wrong);
        self.reads += other.reads;
    }

    /// Writes to new keys that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.once.values().filter(|fate| **fate == Fate::Acknowledged).count()
    }

    /// Every operation succeeded, and no read showed what can't be.
    #[track_caller]
    pub fn flawless(&self) {
        assert!(
            self.failures.is_empty(),
            "{} operations failed: {}",
            self.failures.len(),
            first(&self.failures)
        );
        self.sound();
    }

    /// No read showed what can't be.
    #[track_caller]
    pub fn sound(&self) {
        assert!(self.wrong.is_empty(), "{} reads are wrong: {}", self.wrong.len(), first(&self.wrong));
    }

    /// Reads every key that was written, and judges it. A cluster that serves answers every read.
    pub async fn check(&self, client: &Client, level: Option<Level>) {
        let keys: Vec<String> = self.once.keys().chain(self.counters.keys()).cloned().collect();
        let mut wrong = Vec::new();
        for (key, found) in read_all(client, keys, level).await {
            wrong.extend(match found {
                Ok(found) if self.once.contains_key(&key) => self.judge_once(&key, &found),
                Ok(found) => self.judge_counter(&key, &found),
                Err(why) => Some(format!("{key}: {why}")),
            });
        }
        assert!(wrong.is_empty(), "{} keys are wrong: {}", wrong.len(), first(&wrong));
    }

    fn judge_once(&self, key: &str, found: &Found) -> Option<String> {
        let fate = self.once.get(key)?;
        let whole = found.versions.iter().all(|version| version.value == value_of(key, 0));
        let fine = match (fate, found.versions.len()) {
            (Fate::Acknowledged, 1) | (Fate::Unknown, 0 | 1) => whole,
            (Fate::Refused, 0) => true,
            (Fate::Acknowledged | Fate::Unknown | Fate::Refused, _) => false,
        };
        (!fine).then(|| format!("{key}: its write is {fate:?}, and it shows {}", shown(found)))
    }

    fn judge_counter(&self, key: &str, found: &Found) -> Option<String> {
        let counter = self.counters.get(key)?;
        let mut highest = 0;
        for version in &found.versions {
            let number = number_in(&version.value).unwrap_or_default();
            let issued = (1..=counter.issued).contains(&number) && !counter.refused.contains(&number);
            if !issued || version.value != value_of(key, number) {
                return Some(format!("{key}: it shows what was never written: {}", shown(found)));
            }
            highest = highest.max(number);
        }
        let lost = highest < counter.acknowledged;
        lost.then(|| {
            format!("{key}: {} was acknowledged, and it shows {}", counter.acknowledged, shown(found))
        })
    }
}

/// Reads keys, many at once.
pub async fn read_all(
    client: &Client,
    keys: Vec<String>,
    level: Option<Level>,
) -> Vec<(String, Result<Found, String>)> {
    let mut tasks = JoinSet::new();
    let mut results = Vec::new();
    for key in keys {
        if tasks.len() >= READS_AT_ONCE {
            results.extend(tasks.join_next().await.map(|read| read.expect("a read ends")));
        }
        let client = client.clone();
        tasks.spawn(async move {
            let options = GetOptions { level, timeout: READ_WITHIN };
            let found = client.get(&keyspace(), &name(&key), options).await;
            (key, found.map_err(|error| error.to_string()))
        });
    }
    while let Some(read) = tasks.join_next().await {
        results.push(read.expect("a read ends"));
    }
    results
}

/// The keyspace of all these tests.
pub fn keyspace() -> KeyspaceName {
    KeyspaceName::new("default").expect("a good name")
}

/// A key from its text.
pub fn name(key: &str) -> Key {
    Key::new(key.as_bytes().to_vec()).expect("a good key")
}

/// The first of what is wrong.
pub fn first(wrong: &[String]) -> String {
    wrong.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join("\n")
}

fn shown(found: &Found) -> String {
    let versions: Vec<String> = found
        .versions
        .iter()
        .map(|version| {
            let text = String::from_utf8_lossy(&version.value);
            format!("{:?} ({} bytes)", text.chars().take(40).collect::<String>(), version.value.len())
        })
        .collect();
    format!("{versions:?}, {} replicas having answered", found.receipt.answered)
}

/// Spreads a number over all numbers (the last step of SplitMix64).
pub fn scatter(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The value of write number `number` to a key: both of them, then bytes that follow from them. Most are short, some long.
pub fn value_of(key: &str, number: u64) -> Vec<u8> {
    let mut value = format!("{key} {number};").into_bytes();
    let seed = value.iter().fold(7, |seed, byte| scatter(seed ^ u64::from(*byte)));
    let long = match seed % 64 {
        0 => 70_000,
        1..=4 => 5_000,
        _ => 20 + seed % 200,
    };
    let bytes = (0..long / 8).flat_map(|i| scatter(seed.wrapping_add(i)).to_le_bytes());
    value.extend(bytes);
    value
}

/// The number in a value.
fn number_in(value: &[u8]) -> Option<u64> {
    let head = value.split(|byte| *byte == b';').next()?;
    std::str::from_utf8(head).ok()?.rsplit_once(' ')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_client::{GetReceipt, ShownVersion};
    use anser_model::{Actor, Dot, Life, NodeId, Step};

    fn found(values: &[Vec<u8>]) -> Found {
        let dot = Dot { actor: Actor { node: NodeId([1; 16]), life: Life(1) }, counter: 1 };
        let version = |value: &Vec<u8>| ShownVersion {
            value: value.clone().into(),
            dot,
            written_at_ms: 0,
            expires_at_ms: None,
        };
        let receipt =
            GetReceipt { replicas: 3, answered: 2, fallbacks: 0, step: Step(1), level: Level::Quorum };
        Found { versions: values.iter().map(version).collect(), context: String::new(), receipt }
    }

    #[test]
    fn a_lost_or_torn_write_is_noticed() {
        let judge = |fate: Fate, values: &[Vec<u8>]| {
            let ledger = Ledger { once: [("k".to_owned(), fate)].into(), ..Ledger::default() };
            ledger.judge_once("k", &found(values)).is_none()
        };
        let (whole, mut torn) = (value_of("k", 0), value_of("k", 0));
        torn.pop();
        assert!(judge(Fate::Acknowledged, std::slice::from_ref(&whole)));
        assert!(!judge(Fate::Acknowledged, &[]));
        assert!(!judge(Fate::Acknowledged, &[whole.clone(), whole.clone()]));
        assert!(judge(Fate::Unknown, &[]) && judge(Fate::Unknown, std::slice::from_ref(&whole)));
        assert!(judge(Fate::Refused, &[]) && !judge(Fate::Refused, &[whole]));
        for fate in [Fate::Acknowledged, Fate::Unknown, Fate::Refused] {
            assert!(!judge(fate, std::slice::from_ref(&torn)), "{fate:?}");
        }
    }

    #[test]
    fn a_count_that_went_backwards_is_noticed() {
        let counter = Counter { issued: 5, acknowledged: 3, refused: [5].into() };
        let ledger = Ledger { counters: [("k".to_owned(), counter)].into(), ..Ledger::default() };
        let judge = |numbers: &[u64]| {
            let values: Vec<Vec<u8>> = numbers.iter().map(|number| value_of("k", *number)).collect();
            ledger.judge_counter("k", &found(&values)).is_none()
        };
        assert!(judge(&[3]) && judge(&[4]) && judge(&[2, 3]) && judge(&[3, 4]));
        assert!(!judge(&[]) && !judge(&[2]), "an acknowledged write is lost");
        assert!(!judge(&[3, 5]) && !judge(&[6]) && !judge(&[0]), "refused, or never written");
    }
}
