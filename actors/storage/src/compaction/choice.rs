//! Which tables of a group to merge next.
//!
//! Tables come in runs: all of one age share no key. A few runs of like size are merged into one, so that a key is looked
//! for in few runs and each byte is written anew only as often as its run grows by a whole step. All runs of a group are
//! merged when much of what they hold is void, or when nothing else is to be done: also a single one, if hash trees have
//! outgrown the depth at which it tells their leaves. Only who sees all keys can tell finer ones.
//!
//! Source: size-tiered compaction as in Cassandra and in RocksDB's universal style; the measure of what is void is our own.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use anser_machine::{Group, TableId, TableSummary};

/// So many neighbouring runs of like size are merged.
const WIDTH: usize = 8;
/// Two runs are of like size if the larger is less than so many times as large, or if both are small.
const STEP: u64 = 8;
/// Runs of at most so many bytes are all alike.
const SMALL_BYTES: u64 = 256 << 10;
/// With so many runs, look-ups suffer: the smallest neighbours are merged whatever their size.
const RUNS_MAX: usize = 24;
/// All runs are merged once so many entries in a hundred are void: what a store takes beyond its data stays bounded.
const VOID_PERCENT: u64 = 30;
/// The same in times without writes, when there is nothing better to do.
const VOID_PERCENT_IDLE: u64 = 8;
/// And with more runs than this, then.
const RUNS_IDLE: usize = 2;

/// All tables of one age of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The tables.
    pub tables: Vec<TableId>,
    /// Bytes of them on disk.
    pub bytes: u64,
    /// Entries in them.
    pub entries: u64,
    /// About how many entries of older runs they make void.
    pub voids: u64,
    /// Whether a hash tree should be deeper than its changes are told there.
    pub coarse: bool,
}

/// What to do with a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing needs to be done.
    Nothing,
    /// Merge neighbours.
    Merge {
        /// Their tables.
        inputs: Vec<TableId>,
        /// Bytes of them: about what is read, and written.
        bytes: u64,
        /// How many runs become one.
        runs: usize,
        /// Whether look-ups already suffer.
        urgent: bool,
    },
}

/// A shard's tables as runs of each group, the newest first.
pub fn runs(tables: &[TableSummary]) -> BTreeMap<Group, Vec<Run>> {
    let mut by_age: BTreeMap<(Group, core::cmp::Reverse<u64>), Run> = BTreeMap::new();
    for table in tables {
        let run = by_age.entry((table.group, core::cmp::Reverse(table.age))).or_default();
        run.tables.push(table.id);
        run.bytes += table.bytes;
        run.entries += table.entries;
        run.voids += table.voids;
        run.coarse |= table.coarse;
    }
    let mut groups: BTreeMap<Group, Vec<Run>> = BTreeMap::new();
    for ((group, _), run) in by_age {
        groups.entry(group).or_default().push(run);
    }
    groups
}

/// Chooses for one group, of runs from the newest to the oldest. `idle` tells that nothing is being written; nothing of
/// more than `bytes_max` is chosen, since a merge needs as much room again until it is done.
pub fn choose(runs: &[Run], idle: bool, bytes_max: u64) -> Choice {
    let fits = |candidate: &&[Run]| candidate.iter().map(|run| run.bytes).sum::<u64>() <= bytes_max;
    let all = Some(runs).filter(|_| is_worth_all(runs, idle));
    let crowded = if runs.len() > RUNS_MAX { smallest_neighbours(runs) } else { None };
    let best = all.filter(fits).or(alike(runs).filter(fits)).or(crowded.filter(fits));
    best.map_or(Choice::Nothing, |merged| Choice::Merge {
        inputs: merged.iter().flat_map(|run| run.tables.iter().copied()).collect(),
        bytes: merged.iter().map(|run| run.bytes).sum(),
        runs: merged.len(),
        urgent: runs.len() > RUNS_MAX,
    })
}

fn is_worth_all(runs: &[Run], idle: bool) -> bool {
    let entries: u64 = runs.iter().map(|run| run.entries).sum();
    let voids: u64 = runs.iter().map(|run| run.voids).sum();
    let percent = if idle { VOID_PERCENT_IDLE } else { VOID_PERCENT };
    let void = voids.saturating_mul(100) >= entries.saturating_mul(percent).max(1);
    let coarse = runs.iter().any(|run| run.coarse);
    (runs.len() > 1 && (void || (idle && runs.len() > RUNS_IDLE))) || (idle && coarse)
}

/// The step of size that a run is on.
fn level(run: &Run) -> u32 {
    let mut bytes = run.bytes / SMALL_BYTES;
    let mut level = 0;
    while bytes > 0 {
        bytes /= STEP;
        level += 1;
    }
    level
}

/// The newest neighbours of like size, if there are enough: up to the last one that is not larger than their level.
fn alike(runs: &[Run]) -> Option<&[Run]> {
    let mut from = 0;
    while from < runs.len() {
        let top = runs.get(from).map(level)?;
        // Smaller ones in between belong to it: they came of keys written over and over.
        let rest = runs.get(from..)?;
        let length = rest.iter().take_while(|run| level(run) <= top).count();
        if length >= WIDTH {
            return rest.get(..length);
        }
        from += length.max(1);
    }
    None
}

/// The [`WIDTH`] neighbours with the fewest bytes.
fn smallest_neighbours(runs: &[Run]) -> Option<&[Run]> {
    runs.windows(WIDTH).min_by_key(|window| window.iter().map(|run| run.bytes).sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: u64, bytes: u64) -> Run {
        Run { tables: alloc::vec![TableId(id)], bytes, entries: bytes / 100, voids: 0, coarse: false }
    }

    fn inputs(choice: Choice) -> Vec<u64> {
        match choice {
            Choice::Nothing => Vec::new(),
            Choice::Merge { inputs, .. } => inputs.into_iter().map(|id| id.0).collect(),
        }
    }

    fn sized(sizes: &[u64]) -> Vec<Run> {
        (0..).zip(sizes).map(|(id, bytes)| run(id, *bytes)).collect()
    }

    #[test]
    fn runs_of_like_size_are_merged_once_there_are_enough() {
        let small = SMALL_BYTES / 2;
        assert!(inputs(choose(&sized(&[small; 7]), false, u64::MAX)).is_empty());
        assert_eq!(inputs(choose(&sized(&[small; 8]), false, u64::MAX)), (0..8).collect::<Vec<_>>());
        let large = SMALL_BYTES * 5;
        let mut sizes = alloc::vec![small; 3];
        sizes.extend([large; 8]);
        assert_eq!(inputs(choose(&sized(&sizes), false, u64::MAX)), (3..11).collect::<Vec<_>>());
        sizes[7] = small;
        assert_eq!(inputs(choose(&sized(&sizes), false, u64::MAX)), (3..11).collect::<Vec<_>>());
        assert!(inputs(choose(&sized(&sizes), false, large * 3)).is_empty(), "there is no room for it");
    }

    #[test]
    fn what_is_mostly_void_is_merged_whole() {
        let mut runs = sized(&[1 << 20, 4 << 20, 200 << 20]);
        let entries: u64 = runs.iter().map(|run| run.entries).sum();
        assert!(inputs(choose(&runs, false, u64::MAX)).is_empty());
        runs[0].voids = entries * VOID_PERCENT / 100 + 1;
        assert_eq!(inputs(choose(&runs, false, u64::MAX)), [0, 1, 2]);
        assert!(inputs(choose(&runs, false, 100 << 20)).is_empty());
    }

    #[test]
    fn in_quiet_times_a_group_becomes_few_runs() {
        let runs = sized(&[1000, 1000, 1 << 20]);
        assert!(inputs(choose(&runs, false, u64::MAX)).is_empty());
        assert_eq!(inputs(choose(&runs, true, u64::MAX)), [0, 1, 2]);
        assert!(inputs(choose(&runs[1..], true, u64::MAX)).is_empty());
        assert!(inputs(choose(&runs[2..], true, u64::MAX)).is_empty());
    }

    #[test]
    fn in_quiet_times_hash_trees_become_finer() {
        let mut runs = sized(&[1000]);
        runs[0].coarse = true;
        assert!(inputs(choose(&runs, false, u64::MAX)).is_empty());
        assert_eq!(inputs(choose(&runs, true, u64::MAX)), [0]);
        assert!(inputs(choose(&runs, true, 999)).is_empty(), "there is no room for it");
    }

    #[test]
    fn too_many_runs_are_urgent() {
        let sizes: Vec<u64> = (0..=RUNS_MAX as u32).map(|run| SMALL_BYTES * (1 << run.min(20))).collect();
        let Choice::Merge { inputs, urgent, .. } = choose(&sized(&sizes), false, u64::MAX) else {
            panic!("nothing chosen")
        };
        assert!(urgent);
        assert_eq!(inputs.len(), WIDTH);
    }

    #[test]
    fn tables_of_one_age_are_a_run() {
        let table = |id, group, age| TableSummary {
            id: TableId(id),
            group,
            age,
            bytes: 10,
            entries: 2,
            voids: 1,
            coarse: id == 6,
        };
        let runs = runs(&[table(1, 0, 1), table(2, 1, 2), table(5, 0, 3), table(6, 0, 3)]);
        let newest = Run {
            tables: alloc::vec![TableId(5), TableId(6)],
            bytes: 20,
            entries: 4,
            voids: 2,
            coarse: true,
        };
        let oldest = Run { tables: alloc::vec![TableId(1)], bytes: 10, entries: 2, voids: 1, coarse: false };
        assert_eq!(runs.get(&0), Some(&alloc::vec![newest, oldest]));
        assert_eq!(runs.get(&1).map(Vec::len), Some(1));
    }
}
