//! The laws of key states: I-1, I-2, I-4 and I-5, over random histories.

use crate::histories::{History, Snapshot, ops};
use anser_model::KeyState;
use anser_model::state::SETTLED_MAX;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;

fn merged(a: &KeyState, b: &KeyState) -> KeyState {
    let mut merged = a.clone();
    merged.merge(b);
    merged
}

/// What must hold in each single state, however much was forgotten.
fn check_state(history: &History, Snapshot { state, mints }: &Snapshot) {
    let mut dots = BTreeSet::new();
    for (rid, version) in state.live() {
        assert!(!version.dots.is_empty());
        assert!(!state.settled().iter().any(|(hash, _)| *hash == rid.hash64()), "live and settled");
        for dot in &version.dots {
            assert!(dots.insert(*dot), "a dot is attached to two requests");
            assert!(state.context().contains(dot));
            assert_eq!(history.minted_for(dot), Some(*rid), "a dot is attached to another request");
        }
    }
    let live: BTreeSet<_> = state.live().iter().map(|(rid, _)| *rid).collect();
    for rid in history.live(mints) {
        assert!(live.contains(&rid), "{rid:?} was lost: no write that came here had seen it");
    }
    assert!(state.settled().len() <= SETTLED_MAX);
    assert_eq!(KeyState::decode(&state.encode()).as_ref(), Ok(state));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_holds_just_what_nobody_has_settled(ops in ops(1..60)) {
        let history = History::run(&ops);
        for snapshot in &history.snapshots {
            check_state(&history, snapshot);
            let Snapshot { state, mints } = snapshot;
            let live: BTreeSet<_> = state.live().iter().map(|(rid, _)| *rid).collect();
            prop_assert_eq!(&live, &history.live(mints), "a false sibling");
            for dot in history.dots().filter(|dot| state.context().contains(dot)) {
                let rid = history.minted_for(dot).unwrap();
                prop_assert!(state.knows(&rid), "the context claims {dot}, which was never here");
            }
        }
    }

    #[test]
    fn merging_is_a_join(
        ops in ops(1..60), picks in prop::collection::vec(any::<[Index; 3]>(), 20),
    ) {
        let history = History::run(&ops);
        for [a, b, c] in picks {
            let pick = |index: Index| &index.get(&history.snapshots).state;
            let (a, b, c) = (pick(a), pick(b), pick(c));
            let ab = merged(a, b);
            prop_assert_eq!(&ab, &merged(b, a));
            prop_assert_eq!(merged(&ab, c), merged(a, &merged(b, c)));
            prop_assert_eq!(&merged(a, a), a);
            prop_assert_eq!(&merged(&ab, a), &ab);
            prop_assert_eq!(ab.encode(), merged(b, a).encode());
            if a.digest() == b.digest() {
                prop_assert_eq!(a.live(), b.live());
            }
        }
    }

    #[test]
    fn the_same_states_in_any_order_give_the_same(ops in ops(1..60), order in any::<u64>()) {
        let history = History::run(&ops);
        let mut states: Vec<&KeyState> = history.snapshots.iter().map(|snapshot| &snapshot.state).collect();
        let all = |states: &[&KeyState]| states.iter().fold(KeyState::default(), |sum, state| merged(&sum, state));
        let first = all(&states);
        states.sort_by_key(|state| state.digest() ^ order);
        prop_assert_eq!(all(&states), first);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// With more settled requests than are remembered: duplicates may show, nothing is lost.
    #[test]
    fn a_full_memory_loses_no_version(
        ops in ops(400..500), picks in prop::collection::vec(any::<[Index; 2]>(), 20),
    ) {
        let history = History::run(&ops);
        for snapshot in &history.snapshots {
            check_state(&history, snapshot);
        }
        for [a, b] in picks {
            let pick = |index: Index| &index.get(&history.snapshots).state;
            let (a, b) = (pick(a), pick(b));
            let ab = merged(a, b);
            prop_assert_eq!(&ab, &merged(b, a));
            prop_assert_eq!(&merged(a, a), a);
            prop_assert_eq!(&merged(&ab, a), &ab);
            prop_assert_eq!(merged(&ab, b).settled().len(), ab.settled().len());
        }
    }
}
