//! Our storage engine beside fjall: the same work, in turn, with the same bytes of memtable and cache, on one file system.
//!
//! `cargo bench --bench engine`. What "our engine" is here, see `ours.rs`. Ratios within one run count; see the README.
//! Bytes written by the process, until all background work is done, over bytes of keys and states are what writing costs.
//! Deliberately absent: thresholds that fail.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise, as a test does"
)]

#[path = "../asked/mod.rs"]
mod asked;
mod floor;
mod ours;
mod report;
mod store;
mod theirs;
mod work;

use anser_storage::StoreKey;
use asked::Asked;
use bytes::Bytes;
use floor::{RawFile, RawSled, Tables};
use hdrhistogram::Histogram;
use ours::Ours;
use report::{Measured, Row, Written};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use store::Store;
use theirs::Theirs;
use work::{Choice, key, state};

/// The heap that the `anser` binary has; for both stores.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Writes between two bursts of reads, where both are measured together, in batches; and the reads.
const BESIDE: (u64, u64) = (4, 64);

/// Keys of one batch.
const BATCH_KEYS: usize = 64;

/// How much is done; each can be set in the environment.
struct Sizes {
    records: u64,
    value_bytes: usize,
    batch: u64,
    gets: u64,
    /// Each store has so many turns in each row.
    turns: u64,
    /// Whether overwriting is left out, and what lies below.
    reads_only: bool,
    /// A folder on the device whose writes are counted, if that is asked for.
    device: Option<PathBuf>,
    /// For how long nothing must be written for the process to be quiet.
    quiet: Duration,
}

static SIZES: OnceLock<Sizes> = OnceLock::new();

fn sizes() -> &'static Sizes {
    SIZES.get().expect("sizes are set first")
}

/// How many keys are loaded.
fn records() -> usize {
    usize::try_from(sizes().records).unwrap()
}

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |value| value.parse().unwrap_or_else(|_| panic!("{name}: {value}")))
}

fn main() {
    let (records, gets, turns, quiet_ms) = match Asked::of_arguments("engine") {
        Asked::Nothing => return,
        Asked::Measure => (100_000, 40_000, 4, 400),
        Asked::Test => (2_000, 400, 1, 50),
    };
    let sizes = SIZES.get_or_init(|| Sizes {
        records: setting("ENGINE_RECORDS", records),
        value_bytes: usize::try_from(setting("ENGINE_VALUE_BYTES", 400)).unwrap(),
        batch: setting("ENGINE_BATCH", 64),
        gets: setting("ENGINE_GETS", gets),
        turns,
        reads_only: setting("ENGINE_READS_ONLY", 0) != 0,
        device: (setting("ENGINE_DEVICE", 0) != 0).then(|| env!("CARGO_TARGET_TMPDIR").into()),
        quiet: Duration::from_millis(quiet_ms),
    });
    let user_bytes =
        sizes.records as usize * (state(0, 0, sizes.value_bytes).len() + key(0).as_bytes().len());
    let cache_bytes = user_bytes / 10;
    let memtable_bytes = (user_bytes / 24).clamp(64 << 10, 8 << 20);
    println!(
        "{} records of {} bytes, batches of {} with a sync each; {} KiB of memtable, {} KiB of cache",
        sizes.records,
        sizes.value_bytes,
        sizes.batch,
        memtable_bytes >> 10,
        cache_bytes >> 10
    );
    // Not the system's folder for temporary files, which may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = |name: &str| folder.path().join(name);
    let mut stores: [Box<dyn Store>; 2] = [
        Box::new(Ours::create(&dir("ours"), memtable_bytes, cache_bytes)),
        Box::new(Theirs::create(&dir("fjall"), memtable_bytes, cache_bytes)),
    ];
    Row::head(["ours", "fjall"]);
    all(&mut stores).iter().for_each(|row| row.print_costs(user_bytes as u64));
    drop(stores);
    println!("\nwhat lies below");
    tables_alone(&dir("ours"), cache_bytes);
    if !sizes.reads_only {
        below(RawSled::create(&dir("sled"), cache_bytes), RawFile::create(&dir("file")), user_bytes as u64);
    }
}

/// Prints what one part came to, of which there is nothing to compare.
fn alone(name: &str, part: &mut dyn FnMut(&mut Measured)) {
    let mut measured = Measured::default();
    part(&mut measured);
    println!("{name:<48} {:.0} ops/s, us {}", measured.per_second(), measured.latencies());
}

/// The choices of keys with their names.
fn choices() -> [(&'static str, Choice); 2] {
    [("random", Choice::Uniform), ("zipfian", Choice::zipfian(sizes().records))]
}

/// What sled takes to read what our closed folder holds, and what a change of threads takes.
fn tables_alone(dir: &Path, cache_bytes: usize) {
    let (tables, gets) = (Tables::open(dir, cache_bytes, sizes().records), sizes().gets);
    for (name, choice) in choices() {
        alone(&format!("{name} row of our tables, read by sled alone"), &mut |measured| {
            tables.get(&choice, 0..gets, measured);
        });
    }
    println!("{:<48} {:.0} ops/s", "random rows, by two threads", tables.get_many(gets));
    println!("{:<48} {:.0} records/s", "all rows in order, by one thread", tables.scan());
    alone("a question to another thread, and its answer", &mut |measured| {
        floor::ask_a_thread(gets, measured);
    });
}

/// The same bytes in a raw sled tree and in a file.
fn below(sled: RawSled, file: RawFile, user_bytes: u64) {
    let mut stores: [Box<dyn Store>; 2] = [Box::new(sled), Box::new(file)];
    Row::head(["sled tree", "raw file"]);
    let rows = [load(&mut stores), overwrite(&mut stores)];
    rows.iter().for_each(|row| row.print_costs(user_bytes));
    let [sled, _] = &mut stores;
    for (name, choice) in choices() {
        alone(&format!("{name} get from the sled tree"), &mut |measured| {
            (0..sizes().turns).for_each(|turn| reads(sled.as_mut(), &choice, turn, measured));
        });
    }
    alone("ordered scan of the sled tree", &mut |measured| {
        let begun = Instant::now();
        measured.ops(sled.scan() as u64, begun.elapsed());
    });
}

/// All rows of the two engines, printed as they come.
fn all(stores: &mut [Box<dyn Store>; 2]) -> Vec<Row> {
    let loaded = load(stores);
    let uniform = gets("random get", stores, &Choice::Uniform, false);
    let zipfian = gets("zipfian get", stores, &Choice::zipfian(sizes().records), false);
    let many = gets("random get, many at once", stores, &Choice::Uniform, true);
    let batched = batches(stores);
    let absent = absent(stores);
    let scan = turns("ordered scan, all", stores, 1, &mut |store, _, measured| {
        let begun = Instant::now();
        assert_eq!(store.scan(), records());
        measured.ops(records() as u64, begun.elapsed());
    });
    if sizes().reads_only {
        return vec![loaded, uniform, zipfian, many, batched, absent, scan];
    }
    let overwritten = overwrite(stores);
    let after = gets("random get after it", stores, &Choice::Uniform, false);
    let merging = merging(stores);
    let beside = beside(stores);
    for (name, row) in [("merges", &merging), ("overwrites and merges", &beside)] {
        let times = [0, 1].map(|place| {
            let slowest_us = |row: &Row| row.measured[place].slowest_us();
            format!("{:.2}", slowest_us(row) / slowest_us(&after))
        });
        println!("  p99.9 of a get beside {name} over that without: {}", times.join(" / "));
    }
    vec![loaded, uniform, zipfian, many, batched, absent, scan, overwritten, after, merging, beside]
}

/// Has both stores do their parts in turn, each first in every other turn; settled after each, and left idle after the last.
fn turns(
    name: &'static str,
    stores: &mut [Box<dyn Store>; 2],
    count: u64,
    part: &mut dyn FnMut(&mut dyn Store, u64, &mut Measured),
) -> Row {
    let mut row = Row::new(name);
    for turn in 0..count {
        let order = if turn % 2 == 0 { [0, 1] } else { [1, 0] };
        for place in order {
            let (store, measured) = (stores[place].as_mut(), &mut row.measured[place]);
            let before = (Written::so_far(), store.filters());
            part(store, turn, measured);
            let working = Instant::now();
            store.settle(turn + 1 == count);
            measured.settling += working.elapsed();
            measured.written.add_since(before.0, report::quiet());
            measured.filters(before.1, store.filters());
            measured.on_disk = store::bytes_on_disk(store.dir());
        }
    }
    row.print();
    row
}

/// Writes so many batches of keys that `choose` names.
fn writes(store: &mut dyn Store, numbers: impl Iterator<Item = u64>, version: u64, measured: &mut Measured) {
    let numbers: Vec<u64> = numbers.collect();
    for batch in numbers.chunks(usize::try_from(sizes().batch).unwrap()) {
        let entry = |number: &u64| (key(*number), state(*number, version, sizes().value_bytes));
        let batch: Vec<(StoreKey, Bytes)> = batch.iter().map(entry).collect();
        let begun = Instant::now();
        store.write(&batch);
        measured.op(batch.len() as u64, begun.elapsed());
        let bytes = batch.iter().map(|(key, state)| key.as_bytes().len() + state.len());
        measured.user += bytes.sum::<usize>() as u64;
    }
}

fn load(stores: &mut [Box<dyn Store>; 2]) -> Row {
    let part = sizes().records.div_ceil(sizes().turns);
    turns("load (a batch)", stores, sizes().turns, &mut |store, turn, measured| {
        let numbers = (turn * part)..((turn + 1) * part).min(sizes().records);
        writes(store, numbers, 0, measured);
    })
}

fn overwrite(stores: &mut [Box<dyn Store>; 2]) -> Row {
    let part = sizes().records / sizes().turns;
    turns("overwrite (a batch)", stores, sizes().turns, &mut |store, turn, measured| {
        let numbers =
            (turn * part..(turn + 1) * part).map(|draw| Choice::Uniform.draw(draw, sizes().records));
        writes(store, numbers, turn + 1, measured);
    })
}

/// A turn's gets; those that `goes_on` lets be.
fn reads_while(
    store: &mut dyn Store,
    choice: &Choice,
    turn: u64,
    measured: &mut Measured,
    goes_on: &mut dyn FnMut(&mut dyn Store) -> bool,
) {
    let part = sizes().gets / sizes().turns;
    for draw in turn * part..(turn + 1) * part {
        if !goes_on(store) {
            return;
        }
        let number = choice.draw(draw, sizes().records);
        let key = key(number);
        let begun = Instant::now();
        let found = store.get(&key);
        measured.op(1, begun.elapsed());
        // Its version takes one byte, whichever it is; its number takes more, the larger it is.
        let length = state(number, 0, sizes().value_bytes).len();
        assert_eq!(found.map(|state| state.len()), Some(length), "key {number}");
    }
}

fn reads(store: &mut dyn Store, choice: &Choice, turn: u64, measured: &mut Measured) {
    reads_while(store, choice, turn, measured, &mut |_| true);
}

fn gets(name: &'static str, stores: &mut [Box<dyn Store>; 2], choice: &Choice, many: bool) -> Row {
    let part = sizes().gets / sizes().turns;
    turns(name, stores, sizes().turns, &mut |store, turn, measured| {
        if !many {
            return reads(store, choice, turn, measured);
        }
        let draws = turn * part..(turn + 1) * part;
        let keys: Vec<StoreKey> = draws.map(|draw| key(choice.draw(draw, sizes().records))).collect();
        let begun = Instant::now();
        assert_eq!(store.get_many(&keys), keys.len());
        measured.ops(part, begun.elapsed());
    })
}

/// Random keys, so many of them as of one moment.
fn batches(stores: &mut [Box<dyn Store>; 2]) -> Row {
    let part = sizes().gets / sizes().turns;
    turns("batch get, 64 keys", stores, sizes().turns, &mut |store, turn, measured| {
        for first in (turn * part..(turn + 1) * part).step_by(BATCH_KEYS) {
            let draws = first..first + BATCH_KEYS as u64;
            let keys: Vec<StoreKey> =
                draws.map(|draw| key(Choice::Uniform.draw(draw, sizes().records))).collect();
            let begun = Instant::now();
            assert_eq!(store.get_batch(&keys), keys.len());
            measured.op(keys.len() as u64, begun.elapsed());
        }
    })
}

/// Keys that are not there: the filters' work.
fn absent(stores: &mut [Box<dyn Store>; 2]) -> Row {
    let part = sizes().gets / sizes().turns;
    turns("get of what is not there", stores, sizes().turns, &mut |store, turn, measured| {
        for draw in turn * part..(turn + 1) * part {
            // Among the others in order, and none of them.
            let near = key(Choice::Uniform.draw(draw, sizes().records));
            let key = StoreKey::parse([near.as_bytes().as_ref(), b"-"].concat().into()).unwrap();
            let begun = Instant::now();
            assert!(store.get(&key).is_none());
            measured.op(1, begun.elapsed());
        }
    })
}

/// Gets for as long as the store flushes and merges what was overwritten just before; only they are counted.
fn merging(stores: &mut [Box<dyn Store>; 2]) -> Row {
    let part = sizes().records / sizes().turns;
    turns("get beside merges", stores, sizes().turns, &mut |store, turn, measured| {
        let mut unmeasured = Measured::default();
        let numbers = (turn * part..(turn + 1) * part)
            .map(|draw| Choice::Uniform.draw(draw ^ 0x3e26e5, sizes().records));
        writes(store, numbers, 5 + turn, &mut unmeasured);
        reads_while(store, &Choice::Uniform, turn, measured, &mut |store| store.is_busy());
        measured.user += unmeasured.user;
    })
}

/// Gets while the store flushes and merges what is overwritten between them; only they are counted.
fn beside(stores: &mut [Box<dyn Store>; 2]) -> Row {
    let part = sizes().gets / sizes().turns;
    turns("get beside overwrites", stores, sizes().turns, &mut |store, turn, measured| {
        let mut unmeasured = Measured::default();
        for burst in 0..part / BESIDE.1 {
            let place = turn * part + burst * BESIDE.1;
            let written = BESIDE.0 * sizes().batch;
            let draws = (place * BESIDE.0..).take(usize::try_from(written).unwrap());
            let numbers = draws.map(|draw| Choice::Uniform.draw(draw ^ 0xbe51de, sizes().records));
            writes(store, numbers, 10 + turn, &mut unmeasured);
            for draw in place..place + BESIDE.1 {
                let key = key(Choice::Uniform.draw(draw, sizes().records));
                let begun = Instant::now();
                assert!(store.get(&key).is_some());
                measured.op(1, begun.elapsed());
            }
        }
        measured.user += unmeasured.user;
    })
}

/// Nanoseconds to two digits.
fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

/// Adds a time to a histogram.
fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.record(u64::try_from(time.as_nanos()).unwrap()).unwrap();
}
