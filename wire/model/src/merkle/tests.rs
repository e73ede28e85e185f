//! Golden fingerprints, and single steps. The laws are in the crate's property tests.

use super::*;
use crate::id::{Actor, Life, NodeId, Rid};
use crate::ring::Within;
use crate::state::{Seen, Write};
use crate::{Hlc, state};
use bytes::Bytes;

const ACTOR: Actor = Actor { node: NodeId([7; 16]), life: Life(3) };

fn minted(bodies: &[Body]) -> KeyState {
    let mut state = KeyState::default();
    for (body, seq) in bodies.iter().zip(1..) {
        let rid = Rid { writer: 1, seq };
        let write = Write { rid, issued: Hlc(seq), expires: None, body: body.clone(), seen: Seen::Nothing };
        assert!(matches!(state.mint(ACTOR, seq, &write), Ok(state::Minted::New(_))));
    }
    state
}

#[test]
fn fingerprints_are_golden() {
    let value = Body::Value(Bytes::from_static(b"v"));
    let one = minted(std::slice::from_ref(&value));
    let two = minted(&[value, Body::Tombstone]);
    let prints = [Fingerprint::of(b"key", &one), Fingerprint::of(b"key", &two)];
    assert_eq!(prints.map(|print| format!("{:032x}", print.0)), GOLDEN);
}

const GOLDEN: [&str; 2] = ["41ee634e493fe0ecffd4dc06afc9934f", "883ccc8f2652fb68d15822824b260b45"];

#[test]
fn a_fingerprint_is_of_key_and_live_dots_only() {
    let of = |text: &'static str| minted(&[Body::Value(Bytes::from_static(text.as_bytes()))]);
    assert_eq!(Fingerprint::of(b"k", &of("a")), Fingerprint::of(b"k", &of("b")), "not of the value");
    assert_ne!(Fingerprint::of(b"k", &of("a")), Fingerprint::of(b"l", &of("a")));
    assert_ne!(Fingerprint::of(b"k", &of("a")), Fingerprint::of(b"k", &minted(&[Body::Tombstone])));
    assert_eq!(Fingerprint::of(b"k", &KeyState::default()), Fingerprint::NONE);
}

#[test]
fn a_tree_is_as_deep_as_its_keys_want() {
    let depths = [0, 64, 65, 1024, 1025, 16 << 10, 1 << 30, u64::MAX].map(depth_for);
    assert_eq!(depths, [0, 0, 1, 1, 2, 2, 6, 6]);
}

#[test]
fn leaves_are_ranges_of_places() {
    assert_eq!(Tree::places(0, 0), Within(0)..=Within(u32::MAX));
    assert_eq!(Tree::places(1, 15), Within(0xf000_0000)..=Within(u32::MAX));
    assert_eq!(Tree::places(6, 1), Within(0x100)..=Within(0x1ff));
    for depth in 0..=DEPTH_MAX {
        for place in [0, 1, 0x1234_5678, u32::MAX].map(Within) {
            assert!(Tree::places(depth, leaf_of(place, depth)).contains(&place), "{depth} {place:?}");
        }
    }
}

#[test]
fn a_delta_has_its_leaves_in_order_and_inside() {
    let one = Tally { hash: 1, keys: 1 };
    assert!(Delta::from_parts(1, alloc::vec![(3, one), (15, one)]).is_some());
    assert_eq!(Delta::from_parts(1, alloc::vec![(3, one), (16, one)]), None);
    assert_eq!(Delta::from_parts(1, alloc::vec![(3, one), (3, one)]), None);
    assert_eq!(Delta::from_parts(DEPTH_MAX + 1, Vec::new()), None);
    let mut delta = Delta::new(1);
    delta.push(Within(0), one);
    delta.push(Within(5), -one);
    assert!(delta.leaves().is_empty(), "what comes to nothing takes no room");
}

#[test]
fn nodes_that_are_not_there_are_nothing() {
    let mut tree = Tree::new(1);
    tree.change(Within(0), Tally { hash: 9, keys: 1 });
    assert_eq!(tree.node(0, 0), tree.root());
    assert!(
        [tree.node(2, 0), tree.node(1, 16), tree.node(0, 1), tree.node(1, u32::MAX)]
            .iter()
            .all(Tally::is_nothing)
    );
    assert_eq!((tree.children(0, 0).len(), tree.children(1, 0).len()), (WAY, 0));
    assert!(!Tree::new(2).apply(&Delta::new(1)), "it is too coarse");
}

#[test]
fn a_leaf_of_a_change_takes_little() {
    assert_eq!(size_of::<(u32, Tally)>(), 28);
}
