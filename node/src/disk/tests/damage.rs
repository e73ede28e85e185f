//! Damage in every file of a folder: either it is told, or nothing that counts was hit and every key reads as before. Never
//! a wrong value, never a panic of ours, never a hang.
//!
//! sled 0.34.7 answers damage in its files in six ways: an error when it opens, an error when the page is read, a panic at
//! either; the whole store as of some earlier time; single pages as of some earlier time, since it leaves out the rest of
//! the segment that was hit and goes on with the next; and nothing, where the bytes held nothing.

use super::model::told;
use super::shard::{Shard, key, state};
use super::{NODE, SlotName, WAIT, config, copy};
use crate::disk::DiskConfig;
use crate::disk::sled_trees::{BASES, SledTrees};
use anser_storage::store::{Manifest, Part, TreeName, Trees};
use anser_storage::{Limits, StoreKey};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::mpsc::channel;

const KEYS: u32 = 900;
const LIMITS: Limits = Limits { memtable_bytes: 600_000, frozen_max: 2, cache_bytes: 0 };
/// Keys between two writes of a slot.
const SLOT_EVERY: u32 = 150;
/// Random damages to sled's file that are tried, unless the environment says how many; others get a fourth of it.
const CASES: u32 = 24;
const CASES_BY: &str = "ANSER_DAMAGE_CASES";

/// A folder with tables, log and slots that was closed in good order.
struct Original {
    _guard: tempfile::TempDir,
    dir: PathBuf,
    states: BTreeMap<StoreKey, Bytes>,
    slots: [Bytes; 2],
}

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("data");
    let mut states = BTreeMap::new();
    let mut slots = [Bytes::new(), Bytes::new()];
    // Twice, so that sled has written a snapshot, and over several of its segments.
    for round in 0..2 {
        let mut shard = Shard::open(&dir, &config(), LIMITS).unwrap();
        for number in 0..KEYS {
            let seed = u64::from(round * KEYS + number);
            if number % SLOT_EVERY == 0 {
                slots = [super::state(seed, 300), super::state(seed, 50_000)];
                shard.node.save(SlotName::Ring, slots[0].clone());
                shard.node.save(SlotName::Peers, slots[1].clone());
            }
            let (key, state) = (key(number), state(seed, if number % 30 == 7 { 20_000 } else { 6000 }));
            shard.put(&key, &state);
            states.insert(key, state);
        }
        shard.settle();
        assert!(shard.tables() > 3);
        shard.close();
    }
    for base in BASES {
        let bytes = std::fs::metadata(db(&dir, base)).unwrap().len();
        assert!(bytes > 8 << 20, "sled has one segment only, of {bytes} bytes, in {base}");
    }
    assert_eq!(told(&dir), Vec::<String>::new());
    Original { _guard: temporary, dir, states, slots }
});

#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip { bit: u8 },
    Zero { length: usize },
    Scramble { length: usize },
    Truncate,
}

impl Harm {
    fn apply(self, content: &mut Vec<u8>, at: usize) {
        match self {
            Harm::Flip { bit } => content[at] ^= 1 << bit,
            Harm::Zero { length } => content[at..].iter_mut().take(length).for_each(|byte| *byte = 0),
            Harm::Scramble { length } => content[at..].iter_mut().take(length).for_each(|byte| *byte ^= 0x5a),
            Harm::Truncate => content.truncate(at),
        }
    }
}

fn harm() -> impl Strategy<Value = Harm> {
    let length = || prop_oneof![1..64_usize, 4096..4097_usize, 100_000..200_000_usize];
    prop_oneof![
        4 => (0..8_u8).prop_map(|bit| Harm::Flip { bit }),
        2 => length().prop_map(|length| Harm::Zero { length }),
        2 => length().prop_map(|length| Harm::Scramble { length }),
        1 => Just(Harm::Truncate),
    ]
}

/// The file of one of sled's databases.
fn db(dir: &Path, base: &str) -> PathBuf {
    dir.join("store").join(base).join("db")
}

/// Every file of the folder but its lock, which holds nothing.
fn files(dir: &Path) -> Vec<PathBuf> {
    let bases = BASES.map(|base| dir.join("store").join(base));
    let folders = [&[dir.to_path_buf()][..], &bases].concat();
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.is_file() && !path.ends_with("LOCK")).collect();
    files.sort();
    files
}

/// The states of all keys, in order, and the slots.
type Contents = (Vec<Option<Bytes>>, [Option<Bytes>; 2]);

/// Reads all that a node would read of a folder, on a thread of its own, which is given up when it hangs. Nothing if it
/// was refused, or something could not be read.
fn read_all(dir: &Path) -> Option<Contents> {
    let (sender, read) = channel();
    let dir = dir.to_path_buf();
    let reader = std::thread::spawn(move || {
        let config = DiskConfig { cache_bytes: 4 << 20, ..DiskConfig::new(NODE, 2) };
        let read = Shard::open(&dir, &config, LIMITS).ok().and_then(|mut shard| {
            let states: Result<Vec<_>, _> = ORIGINAL.states.keys().map(|key| shard.get(key)).collect();
            let slots = [SlotName::Ring, SlotName::Peers].map(|slot| shard.node.load(slot));
            shard.close();
            Some((states.ok()?, slots))
        });
        let _ = sender.send(read);
    });
    match read.recv_timeout(WAIT * 2) {
        Ok(read) => {
            reader.join().unwrap();
            read
        }
        Err(error) => panic!("{error}: a damaged folder that a node opens hangs or panics"),
    }
}

/// What became of a damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Told,
    Harmless,
}

fn try_out(file: &Path, at: Index, harm: Harm) -> Fate {
    let original = &*ORIGINAL;
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("data");
    copy(&original.dir, &dir);
    let path = dir.join(file);
    let before = std::fs::read(&path).unwrap();
    let mut content = before.clone();
    // What lies behind holds nothing: sled makes its file longer before it needs to.
    let used = before.iter().rposition(|byte| *byte != 0).unwrap_or_default() + 1;
    harm.apply(&mut content, at.index(used));
    if content == before {
        return Fate::Harmless;
    }
    std::fs::write(&path, &content).unwrap();
    let damages = told(&dir);
    assert!(std::fs::read(&path).unwrap() == content, "an inspection changed {}", file.display());
    let read = read_all(&dir);
    if let Some((states, slots)) = &read {
        let right = states.iter().map(Option::as_ref).eq(original.states.values().map(Some));
        assert!(right, "a wrong value was read, and {damages:?} was told");
        assert!(
            slots.iter().map(Option::as_ref).eq(original.slots.iter().map(Some)),
            "a wrong slot was read"
        );
    }
    if damages.is_empty() {
        assert!(read.is_some(), "called sound, and can't be read");
        Fate::Harmless
    } else {
        Fate::Told
    }
}

#[test]
fn damage_anywhere_is_told_or_does_no_harm() {
    let cases = std::env::var(CASES_BY).map_or(CASES, |cases| cases.parse().unwrap());
    let fates: RefCell<BTreeMap<(PathBuf, Fate), u32>> = RefCell::default();
    for path in files(&ORIGINAL.dir) {
        let file = path.strip_prefix(&ORIGINAL.dir).unwrap();
        let share = if file.ends_with("db") { cases } else { cases.div_ceil(4) };
        let config = ProptestConfig {
            cases: share,
            max_shrink_iters: 0,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let tried = TestRunner::new(config).run(&(any::<Index>(), harm()), |(at, harm)| {
            let fate = try_out(file, at, harm);
            *fates.borrow_mut().entry((file.to_path_buf(), fate)).or_default() += 1;
            Ok(())
        });
        tried.unwrap();
    }
    let fates = fates.into_inner();
    println!("{fates:?}");
    let told = |file: &Path| fates.iter().any(|((of, fate), _)| of.ends_with(file) && *fate == Fate::Told);
    assert!(["identity", "witness", "db"].map(Path::new).into_iter().all(told), "nothing was noticed");
}

#[test]
fn a_store_that_does_not_answer_is_told() {
    use crate::disk::inspect::{InspectOptions, Told, inspect};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let at_once = InspectOptions {
        scratch: Some(scratch.path().to_path_buf()),
        patience: Some(std::time::Duration::ZERO),
    };
    let mut last = None;
    runtime.block_on(inspect(&ORIGINAL.dir, &at_once, |told| last = Some(told))).unwrap();
    assert!(matches!(&last, Some(Told::Damage(damage)) if damage.what.contains("not answered")), "{last:?}");
}

#[test]
fn a_slot_that_fell_back_alone_is_told_and_refused() {
    let (_guard, dir) = super::folder();
    let node = super::open(&dir);
    node.save(SlotName::Incarnation, Bytes::from_static(b"5"));
    node.close();
    let slot = |change: &dyn Fn(&SledTrees)| {
        let trees = SledTrees::open(&dir.join("store"), 4 << 20).unwrap();
        change(&trees);
        trees.sync().unwrap();
    };
    let before = RefCell::new(Bytes::new());
    slot(&|trees| *before.borrow_mut() = trees.get(TreeName::Slots, &[2]).unwrap().unwrap());
    let node = super::open(&dir);
    node.save(SlotName::Incarnation, Bytes::from_static(b"6"));
    node.close();
    assert_eq!(told(&dir), Vec::<String>::new());
    slot(&|trees| trees.put(TreeName::Slots, &[2], &before.borrow()).unwrap());
    assert_eq!(told(&dir), ["the store: slot 2 was written 2 times, and is as after 1"]);
    let error = super::open_with(&dir, &config()).err().unwrap();
    assert!(error.to_string().contains("slot 2 is older"), "{error}");
}

#[test]
fn a_byte_changed_in_every_copy_of_what_counts_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let read = scratch.path().join("read");
    copy(&ORIGINAL.dir, &read);
    let trees = SledTrees::open(&read.join("store"), 4 << 20).unwrap();
    let manifest = Manifest::decode(&Manifest::CELL.read(&trees).unwrap().unwrap()).unwrap();
    let mut values: Vec<(TreeName, Bytes)> = Vec::new();
    for name in trees.names().unwrap().into_iter().filter(|name| manifest.lists(*name)) {
        let mut of_tree = Vec::new();
        trees
            .walk(name, &mut |_, value| {
                of_tree.push((name, Bytes::copy_from_slice(value)));
                ControlFlow::Continue(())
            })
            .unwrap();
        of_tree.retain(|(_, value)| value.len() > 20);
        let (first, last) = (of_tree.first().cloned(), of_tree.last().cloned());
        values.extend(first.into_iter().chain(last));
    }
    drop(trees);
    let sound = BASES.map(|base| std::fs::read(db(&ORIGINAL.dir, base)).unwrap());
    let mut hit = HashSet::new();
    for (name, value) in values {
        // sled may hold a value in parts.
        let base = usize::from(name.part() == Part::Tables);
        let places: Vec<usize> = find_all(&sound[base], &value);
        let mut content = sound[base].clone();
        places.iter().for_each(|place| content[place + value.len() / 2] ^= 4);
        let dir = scratch.path().join("damaged");
        copy(&ORIGINAL.dir, &dir);
        std::fs::write(db(&dir, BASES[base]), content).unwrap();
        let damages = told(&dir);
        assert!(places.is_empty() || !damages.is_empty(), "{} copies of a value of {name}", places.len());
        std::fs::remove_dir_all(&dir).unwrap();
        hit.extend((!places.is_empty()).then(|| std::mem::discriminant(&name)));
    }
    assert!(hit.len() >= 3, "tables, segments of the log, slots");
}

fn find_all(content: &[u8], value: &[u8]) -> Vec<usize> {
    let first = value[0];
    let starts = (0..content.len().saturating_sub(value.len())).filter(|at| content[*at] == first);
    starts.filter(|at| content[*at..].starts_with(value)).collect()
}
