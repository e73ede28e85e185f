//! What every implementation of [`Trees`] must do, as checks that each of them runs: the one on sled, the simulator's, the
//! one in memory. They panic at the first thing that is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "these are tests, kept where all who need them can reach them"
)]

use super::trees::{Part, StoreError, TreeName, Trees, VALUE_BYTES_MAX};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use anser_machine::TableId;
use core::ops::ControlFlow;

/// Where trees are made, killed and opened again.
pub trait Stand {
    /// The implementation.
    type Trees: Trees;
    /// Empty ones.
    fn fresh(&mut self) -> Self::Trees;
    /// Closes them in good order, after a sync, and opens them again.
    fn reopened(&mut self, trees: Self::Trees) -> Self::Trees;
    /// Kills them as they are, and opens what is left. Of what was not synced, the first changes of each
    /// part may be there.
    fn killed(&mut self, trees: Self::Trees) -> Self::Trees;
}

const TREES: [TreeName; 5] =
    [TreeName::Manifest, TreeName::Slots, TreeName::Log(1), TreeName::Log(300), TreeName::Table(TableId(2))];
/// Steps of a random story, and how many stories there are.
const STORY_STEPS: usize = 250;
const STORIES: u64 = 4;

/// All that there is, trees without keys left out.
type Content = BTreeMap<TreeName, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Runs all checks.
pub fn check(stand: &mut impl Stand) {
    values_are_put_replaced_and_removed(stand);
    a_walk_is_in_order_and_ends_when_told(stand);
    values_have_any_length_up_to_the_longest(stand);
    a_tree_is_dropped_whole(stand);
    reading_makes_no_tree(stand);
    what_was_synced_outlives_a_kill(stand);
    (0..STORIES).for_each(|seed| a_story_is_a_map(stand, seed));
}

fn content(trees: &impl Trees) -> Content {
    let mut content = Content::new();
    for name in trees.names().unwrap() {
        let mut tree = BTreeMap::new();
        let mut last: Option<Vec<u8>> = None;
        trees
            .walk(name, &mut |key, value| {
                assert!(last.as_deref().is_none_or(|last| last < key), "{name} is walked out of order");
                last = Some(key.to_vec());
                tree.insert(key.to_vec(), value.to_vec());
                ControlFlow::Continue(())
            })
            .unwrap();
        if !tree.is_empty() {
            content.insert(name, tree);
        }
    }
    content
}

/// A key that the tree may have: those of the log are sequences.
fn key(tree: TreeName, number: u64) -> Vec<u8> {
    match tree {
        TreeName::Log(_) => number.to_be_bytes().to_vec(),
        TreeName::Manifest | TreeName::Slots | TreeName::Table(_) => {
            // Of one to three bytes, so that some begin with others.
            let bytes = number.to_le_bytes();
            bytes[..1 + usize::try_from(number % 3).unwrap()].to_vec()
        }
    }
}

fn values_are_put_replaced_and_removed(stand: &mut impl Stand) {
    let trees = stand.fresh();
    for tree in TREES {
        let (one, other) = (key(tree, 4), key(tree, 5));
        assert_eq!(trees.get(tree, &one).unwrap(), None, "{tree}");
        trees.put(tree, &one, b"first").unwrap();
        trees.put(tree, &other, b"").unwrap();
        trees.put(tree, &one, b"second").unwrap();
        assert_eq!(trees.get(tree, &one).unwrap().as_deref(), Some(b"second".as_slice()), "{tree}");
        assert_eq!(
            trees.get(tree, &other).unwrap().as_deref(),
            Some(b"".as_slice()),
            "{tree}: empty is a value"
        );
        trees.remove(tree, &one).unwrap();
        trees.remove(tree, &one).unwrap();
        assert_eq!(trees.get(tree, &one).unwrap(), None, "{tree}");
        assert!(trees.get(tree, &other).unwrap().is_some(), "{tree}");
    }
    let names = trees.names().unwrap();
    assert!(TREES.iter().all(|tree| names.iter().filter(|name| *name == tree).count() == 1), "{names:?}");
}

fn a_walk_is_in_order_and_ends_when_told(stand: &mut impl Stand) {
    let trees = stand.fresh();
    for tree in TREES {
        for number in (0..40).rev() {
            trees.put(tree, &key(tree, number), &number.to_le_bytes()).unwrap();
        }
        let all = content(&trees).remove(&tree).unwrap();
        assert_eq!(all.len(), 40, "{tree}");
        for stop in [1, 7, 40] {
            let mut seen = Vec::new();
            let walked = trees.walk(tree, &mut |key, _| {
                seen.push(key.to_vec());
                if seen.len() < stop { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            walked.expect("to stop is no error");
            assert!(seen.iter().eq(all.keys().take(stop)), "{tree}: the first {stop}");
        }
    }
}

fn values_have_any_length_up_to_the_longest(stand: &mut impl Stand) {
    let trees = stand.fresh();
    let lengths = [0, 1, 4096, VALUE_BYTES_MAX - 1, VALUE_BYTES_MAX];
    let value = |length: usize| -> Vec<u8> { (0..length).map(|at| (at % 251).to_le_bytes()[0]).collect() };
    let table = TREES[4];
    for (number, length) in (0..).zip(lengths) {
        trees.put(table, &key(table, number), &value(length)).unwrap();
    }
    let too_long = trees.put(table, &key(table, 99), &value(VALUE_BYTES_MAX + 1));
    assert!(matches!(too_long, Err(StoreError::Failed(_))), "{too_long:?}");
    assert_eq!(trees.get(table, &key(table, 99)).unwrap(), None, "a value that is too long is not stored");
    trees.sync().unwrap();
    let trees = stand.reopened(trees);
    for (number, length) in (0..).zip(lengths) {
        assert_eq!(trees.get(table, &key(table, number)).unwrap().as_deref(), Some(value(length).as_slice()));
    }
}

fn a_tree_is_dropped_whole(stand: &mut impl Stand) {
    let trees = stand.fresh();
    for tree in TREES {
        (0..100).for_each(|number| trees.put(tree, &key(tree, number), b"value").unwrap());
    }
    let [.., log, table] = TREES;
    for tree in [log, table] {
        trees.drop_tree(tree).unwrap();
        trees.drop_tree(tree).expect("to drop what is not there is no error");
        assert!(!trees.names().unwrap().contains(&tree), "{tree}");
    }
    trees.put(log, &key(log, 3), b"anew").unwrap();
    trees.sync().unwrap();
    let trees = stand.reopened(trees);
    let left = content(&trees);
    assert_eq!(left.len(), 4, "{:?}", left.keys());
    assert_eq!(left[&log], BTreeMap::from([(key(log, 3), b"anew".to_vec())]), "a tree begins anew");
}

fn reading_makes_no_tree(stand: &mut impl Stand) {
    let trees = stand.fresh();
    let before = trees.names().unwrap();
    for tree in TREES {
        assert_eq!(trees.get(tree, &key(tree, 1)).unwrap(), None);
        trees.walk(tree, &mut |_, _| panic!("{tree} has a key")).unwrap();
        trees.remove(tree, &key(tree, 1)).unwrap();
    }
    assert_eq!(trees.names().unwrap(), before);
}

fn what_was_synced_outlives_a_kill(stand: &mut impl Stand) {
    let mut trees = stand.fresh();
    for round in 0..3_u64 {
        for tree in TREES {
            (0..20).for_each(|number| trees.put(tree, &key(tree, number), &round.to_le_bytes()).unwrap());
        }
        trees.sync().unwrap();
        let synced = content(&trees);
        trees = stand.killed(trees);
        assert_eq!(content(&trees), synced, "round {round}");
    }
}

/// Random numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn of_part(content: &Content, part: Part) -> Content {
    let trees = content.iter().filter(|(tree, _)| tree.part() == part);
    trees.map(|(tree, keys)| (*tree, keys.clone())).collect()
}

/// Random changes, syncs, kills and reopenings, against a map: after a kill there is what was synced, and of the changes
/// since then the first ones of each part, over all of its trees in their order.
fn a_story_is_a_map(stand: &mut impl Stand, seed: u64) {
    let mut dice = Dice(seed);
    let mut trees = stand.fresh();
    let mut map = Content::new();
    // Of each part: the map as it was at the last sync, and after each change since.
    let mut since = Part::ALL.map(|part| (part, alloc::vec![Content::new()]));
    for step in 0..STORY_STEPS {
        let tree = TREES[usize::try_from(dice.below(5)).unwrap()];
        let key = key(tree, dice.below(30));
        match dice.below(40) {
            0..24 => {
                let length = usize::try_from(dice.below(9).pow(4)).unwrap();
                let value = alloc::vec![step.to_le_bytes()[0]; length];
                trees.put(tree, &key, &value).unwrap();
                map.entry(tree).or_default().insert(key, value);
            }
            24..31 => {
                trees.remove(tree, &key).unwrap();
                map.entry(tree).or_default().remove(&key);
            }
            31 => {
                trees.drop_tree(tree).unwrap();
                map.remove(&tree);
            }
            32..38 => {
                let (part, since) = &mut since[usize::try_from(dice.below(2)).unwrap()];
                trees.sync_part(*part).unwrap();
                since.clear();
            }
            38 => {
                trees = stand.killed(trees);
                map = content(&trees);
                for (part, since) in &mut since {
                    let left = of_part(&map, *part);
                    assert!(
                        since.contains(&left),
                        "seed {seed}, step {step}: not the first changes of {part:?}"
                    );
                    *since = alloc::vec![left];
                }
            }
            _ => {
                trees.sync().unwrap();
                trees = stand.reopened(trees);
                since.iter_mut().for_each(|(_, since)| since.clear());
            }
        }
        map.retain(|_, tree| !tree.is_empty());
        for (part, since) in &mut since {
            let now = of_part(&map, *part);
            if since.last() != Some(&now) {
                since.push(now);
            }
        }
        assert_eq!(content(&trees), map, "seed {seed}, step {step}");
    }
}
