//! The whole engine over a real folder against a map: written, flushed, merged, read, closed, killed, opened again.

use super::shard::{PARTITIONS, Shard, counts, key, state, within};
use super::{config, copy};
use crate::disk::inspect::{InspectOptions, Told, inspect};
use anser_model::merkle::{Tally, Tree};
use anser_storage::{Limits, StoreKey};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const KEYS: u32 = 40;
/// Small, so that a few writes fill a memtable.
const LIMITS: Limits = Limits { memtable_bytes: 12_000, frozen_max: 2, cache_bytes: 20_000 };

#[derive(Clone, Debug)]
enum Step {
    Put {
        key: u32,
        length: usize,
    },
    Sync,
    Settle,
    Merge,
    Get(u32),
    Reopen,
    /// The process is killed, with whatever it had in flight.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![8 => 0..900_usize, 1 => 5000..9000_usize, 1 => 70_000..90_000_usize];
    prop_oneof![
        24 => (0..KEYS, length).prop_map(|(key, length)| Step::Put { key, length }),
        4 => Just(Step::Sync),
        2 => Just(Step::Settle),
        2 => Just(Step::Merge),
        12 => (0..KEYS + 5).prop_map(Step::Get),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ]
}

struct Model {
    root: PathBuf,
    dir: PathBuf,
    shard: Option<Shard>,
    /// All that was written, in the order of the log.
    written: Vec<(StoreKey, Bytes)>,
    /// So many of them are durable.
    durable: usize,
    kills: usize,
    merges: usize,
}

impl Model {
    fn new(root: &Path) -> Model {
        let dir = root.join("data");
        let shard = Some(Shard::open(&dir, &config(), LIMITS).unwrap());
        Model { root: root.to_path_buf(), dir, shard, written: Vec::new(), durable: 0, kills: 0, merges: 0 }
    }

    fn shard(&mut self) -> &mut Shard {
        self.shard.as_mut().unwrap()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Put { key: number, length } => {
                let (key, state) = (key(*number), state(self.written.len() as u64, *length));
                self.shard().put(&key, &state);
                self.written.push((key, state));
            }
            Step::Sync => {
                self.shard().sync();
                self.durable = self.written.len();
            }
            Step::Settle => self.shard().settle(),
            Step::Merge => {
                self.merges += self.shard().merge();
                self.check_leaves();
            }
            Step::Get(number) => self.get(*number),
            Step::Reopen => {
                self.shard.take().unwrap().close();
                self.durable = self.written.len();
                self.open();
            }
            Step::Kill => {
                self.kills += 1;
                let killed = self.root.join(format!("killed{}", self.kills));
                copy(&self.dir, &killed);
                self.shard.take().unwrap().close();
                std::fs::remove_dir_all(&self.dir).unwrap();
                self.dir = killed;
                self.open();
            }
        }
    }

    /// Opens the folder: what was durable is there, and of the rest the first ones.
    fn open(&mut self) {
        let shard = Shard::open(&self.dir, &config(), LIMITS).unwrap();
        let last = usize::try_from(shard.last()).unwrap();
        assert!((self.durable..=self.written.len()).contains(&last), "{last} of {}..", self.durable);
        self.written.truncate(last);
        self.durable = last;
        self.shard = Some(shard);
        self.check_leaves();
        (0..KEYS).for_each(|number| self.get(number));
    }

    /// The leaves that are kept are those of what was written last.
    fn check_leaves(&mut self) {
        let map: BTreeMap<StoreKey, Bytes> = self.written.iter().cloned().collect();
        for partition in 0..PARTITIONS {
            let kept = self.shard().leaves(partition).cloned().unwrap_or_else(|| Tree::new(0));
            let mut tree = Tree::new(kept.depth());
            for number in (0..KEYS).filter(|number| number % u32::from(PARTITIONS) == u32::from(partition)) {
                if let Some(state) = map.get(&key(number)) {
                    tree.change(within(number), Tally::of(counts(&key(number), state)));
                }
            }
            assert_eq!(kept, tree, "partition {partition}");
        }
    }

    fn get(&mut self, number: u32) {
        let map: BTreeMap<&StoreKey, &Bytes> = self.written.iter().map(|(key, state)| (key, state)).collect();
        let expected = map.get(&key(number)).map(|state| (*state).clone());
        assert_eq!(self.shard().get(&key(number)).unwrap(), expected, "key {number}");
    }

    fn end(mut self) {
        self.check_leaves();
        (0..KEYS).for_each(|number| self.get(number));
        self.shard.take().unwrap().close();
        assert_eq!(told(&self.dir), Vec::<String>::new());
    }
}

/// What an inspection says is damaged.
pub fn told(dir: &Path) -> Vec<String> {
    use anser_storage::store::check::Finding;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut damages = Vec::new();
    let options = InspectOptions { scratch: None, patience: Some(super::WAIT) };
    let inspected = runtime.block_on(inspect(dir, &options, |told| match told {
        Told::Damage(damage) => damages.push(format!("{}: {}", damage.place, damage.what)),
        Told::Store(Finding::Damage { place, what }) => damages.push(format!("{place}: {what}")),
        Told::Store(_) | Told::Whose(_) | Told::OnDisk(_) => {}
    }));
    damages.extend(inspected.err().map(|error| error.to_string()));
    damages
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_folder_is_a_map(steps in prop::collection::vec(step(), 1..120)) {
        let temporary = tempfile::tempdir().unwrap();
        let mut model = Model::new(temporary.path());
        steps.iter().for_each(|step| model.step(step));
        model.end();
    }
}
