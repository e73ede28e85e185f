//! The laws of hash trees: what they say of two sets of keys is what the sets say.

use anser_model::merkle::{DEPTH_MAX, Delta, Fingerprint, Tally, Tree};
use anser_model::ring::Within;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Few depths are enough, and quick.
const DEPTH: u8 = 3;

/// Keys: where they are, and what they count as.
type Keys = BTreeMap<u32, u128>;

fn keys() -> impl Strategy<Value = Keys> {
    // Some close together.
    let place = prop_oneof![any::<u32>(), (0..40_u32).prop_map(|low| 0x7777_0000 | low << 12)];
    prop::collection::btree_map(place, 1..u128::MAX, 0..60)
}

fn tally(print: u128) -> Tally {
    Tally::of(Fingerprint(print))
}

fn tree(depth: u8, keys: impl IntoIterator<Item = (u32, u128)>) -> Tree {
    let mut tree = Tree::new(depth);
    keys.into_iter().for_each(|(place, print)| tree.change(Within(place), tally(print)));
    tree
}

fn leaf(place: u32, depth: u8) -> u32 {
    (u64::from(place) >> (32 - 4 * u32::from(depth))) as u32
}

/// The changes from one set to the other.
fn delta(depth: u8, old: &Keys, new: &Keys) -> Delta {
    let places: BTreeSet<u32> = old.keys().chain(new.keys()).copied().collect();
    let print = |keys: &Keys, place| keys.get(&place).map_or(Fingerprint::NONE, |print| Fingerprint(*print));
    let mut delta = Delta::new(depth);
    for place in places {
        delta.push(Within(place), Tally::change(print(old, place), print(new, place)));
    }
    delta
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_leaves_that_differ_are_those_of_keys_that_differ(
        all in keys(), only in keys(), other in keys(), depths in (0..=DEPTH, 0..=DEPTH),
    ) {
        let ours: Keys = all.iter().chain(&only).map(|(place, print)| (*place, *print)).collect();
        let theirs: Keys = all.iter().chain(&other).map(|(place, print)| (*place, *print)).collect();
        let depth = depths.0.min(depths.1);
        let places = ours.keys().chain(theirs.keys());
        let differ = places.filter(|place| ours.get(place) != theirs.get(place));
        let expected: BTreeSet<u32> = differ.map(|place| leaf(*place, depth)).collect();
        let found = tree(depths.0, ours.clone()).diff(&tree(depths.1, theirs.clone()));
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn equal_sets_have_equal_trees_in_whatever_order_they_came(
        (ordered, shuffled) in keys().prop_flat_map(|keys| {
            let keys: Vec<(u32, u128)> = keys.into_iter().collect();
            (Just(keys.clone()), Just(keys).prop_shuffle())
        }),
        passing in keys(), depth in 0..=DEPTH, coarse in 0..=DEPTH_MAX,
    ) {
        let mut one = tree(depth, shuffled);
        // Keys that come and go leave nothing.
        passing.iter().for_each(|(place, print)| one.change(Within(*place), tally(*print)));
        passing.iter().for_each(|(place, print)| one.change(Within(*place), -tally(*print)));
        let other = tree(depth, ordered.iter().copied());
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one.root().keys, ordered.len() as i64);
        prop_assert_eq!(one.coarsened(coarse), tree(depth.min(coarse), ordered.iter().copied()));
        prop_assert_eq!(one.coarsened(coarse).root(), one.root());
        // A node is its children, on every level.
        for level in 0..depth {
            for index in 0..1_u32 << (4 * level) {
                let children = one.children(level, index);
                prop_assert!(children.iter().all(|(child, tally)| *tally == one.node(level + 1, *child)));
                prop_assert_eq!(children.into_iter().map(|(_, tally)| tally).sum::<Tally>(), one.node(level, index));
            }
        }
    }

    #[test]
    fn changes_can_be_summed_before_they_are_applied(
        sets in prop::collection::vec(keys(), 1..4), depths in prop::collection::vec(0..=DEPTH, 4), depth in 0..=DEPTH,
    ) {
        let mut before = Keys::new();
        let mut deltas = Vec::new();
        for (set, depth) in sets.iter().zip(&depths) {
            deltas.push(delta(*depth, &before, set));
            before = set.clone();
        }
        let sum = deltas.iter().skip(1).fold(deltas[0].clone(), |sum, delta| sum.plus(delta));
        let coarsest = deltas.iter().map(Delta::depth).min().unwrap();
        prop_assert_eq!(&sum, &delta(coarsest, &Keys::new(), &before));
        prop_assert_eq!(sum.coarsened(depth), delta(coarsest.min(depth), &Keys::new(), &before));
        let mut applied = Tree::new(depth);
        let all = deltas.iter().all(|delta| applied.apply(delta));
        if all {
            prop_assert_eq!(&applied, &tree(depth, before.clone()));
        }
        prop_assert_eq!(all, depth <= coarsest);
        prop_assert_eq!(sum.total(), tree(0, before).root());
        prop_assert_eq!(Delta::from_parts(sum.depth(), sum.leaves().to_vec()), Some(sum));
    }
}
