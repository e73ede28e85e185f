//! One step each: what minting, merging and the codec do to a state.

use super::*;
use crate::id::{Actor, Life, NodeId};
use alloc::vec;
use std::format;

fn actor(node: u8) -> Actor {
    Actor { node: NodeId([node; 16]), life: Life(u64::from(node) << 32) }
}

fn rid(seq: u64) -> Rid {
    Rid { writer: 7, seq }
}

fn write(seq: u64, value: &str, seen: Seen) -> Write {
    let body = Body::Value(Bytes::copy_from_slice(value.as_bytes()));
    Write { rid: rid(seq), issued: Hlc::from_ms(1_000 + seq), expires: None, body, seen }
}

fn values(state: &KeyState) -> Vec<Bytes> {
    let value = |(_, version): &(Rid, Version)| match &version.body {
        Body::Value(value) => value.clone(),
        Body::Tombstone => unreachable!("a tombstone is not shown"),
    };
    state.shown(0).map(value).collect()
}

fn seen(state: &KeyState) -> Seen {
    crate::Token::of(state).into_seen()
}

#[test]
fn a_blind_write_supersedes_what_is_there() {
    let mut state = KeyState::default();
    let first = state.mint(actor(1), 1, &write(1, "a", Seen::Present));
    assert_eq!(first, Ok(Minted::New(Dot { actor: actor(1), counter: 1 })));
    state.mint(actor(1), 2, &write(2, "b", Seen::Present)).unwrap();
    assert_eq!(values(&state), ["b"]);
    assert_eq!(state.settled(), [(rid(1).hash64(), Hlc::from_ms(1_001))]);
    assert!(state.knows(&rid(1)) && state.knows(&rid(2)) && !state.knows(&rid(3)));
}

#[test]
fn a_retry_is_not_minted_again() {
    let mut state = KeyState::default();
    state.mint(actor(1), 1, &write(1, "a", Seen::Present)).unwrap();
    let live = state.clone();
    assert_eq!(state.mint(actor(1), 2, &write(1, "a", Seen::Present)), Ok(Minted::Known));
    assert_eq!(state, live);
    state.mint(actor(1), 2, &write(2, "b", Seen::Present)).unwrap();
    let settled = state.clone();
    assert_eq!(state.mint(actor(1), 3, &write(1, "a", Seen::Nothing)), Ok(Minted::Known));
    assert_eq!(state, settled);
}

#[test]
fn same_context_makes_two_siblings_and_the_joint_context_settles_both() {
    let mut state = KeyState::default();
    state.mint(actor(1), 1, &write(1, "base", Seen::Present)).unwrap();
    let context = seen(&state);
    let stale = context.clone();
    state.mint(actor(1), 2, &write(2, "x", context.clone())).unwrap();
    state.mint(actor(1), 3, &write(3, "y", context)).unwrap();
    assert_eq!(values(&state), ["x", "y"]);
    let joint = seen(&state);
    state.mint(actor(1), 4, &write(4, "joined", joint)).unwrap();
    assert_eq!(values(&state), ["joined"]);
    state.mint(actor(1), 5, &write(5, "late", stale)).unwrap();
    assert_eq!(values(&state), ["joined", "late"], "a stale context hides nothing newer");
}

#[test]
fn two_mints_of_one_request_are_one_version() {
    let mut a = KeyState::default();
    let mut b = KeyState::default();
    a.mint(actor(1), 1, &write(1, "v", Seen::Nothing)).unwrap();
    b.mint(actor(2), 1, &write(1, "v", Seen::Nothing)).unwrap();
    let merged = a.merge(&b);
    assert_eq!(merged, Merged { changed: true, clashes: 0 });
    assert_eq!(a.live()[0].1.dots.len(), 2);
    assert_eq!(a.merge(&b), Merged::default());
}

#[test]
fn a_token_settles_a_request_that_the_copy_meets_only_later() {
    let mut a = KeyState::default();
    a.mint(actor(1), 1, &write(1, "old", Seen::Nothing)).unwrap();
    // The retry at another copy, and a third copy that has met neither.
    let mut b = KeyState::default();
    b.mint(actor(2), 1, &write(1, "old", Seen::Nothing)).unwrap();
    let mut c = KeyState::default();
    c.mint(actor(3), 1, &write(2, "new", seen(&a))).unwrap();
    c.merge(&b);
    assert_eq!(values(&c), ["new"]);
    b.merge(&c);
    assert_eq!(b, c);
}

#[test]
fn a_write_is_never_settled_by_its_own_token() {
    let mut a = KeyState::default();
    a.mint(actor(1), 1, &write(1, "v", Seen::Nothing)).unwrap();
    let mut b = KeyState::default();
    b.mint(actor(2), 1, &write(1, "v", seen(&a))).unwrap();
    assert_eq!(values(&b), ["v"]);
    b.merge(&a);
    assert_eq!(values(&b), ["v"]);
}

#[test]
fn a_delete_is_a_version_that_is_not_shown_and_expiry_hides() {
    let mut state = KeyState::default();
    let mut expiring = write(1, "v", Seen::Present);
    expiring.expires = Some(500);
    state.mint(actor(1), 1, &expiring).unwrap();
    assert_eq!((state.shown(499).count(), state.shown(500).count()), (1, 0));
    let mut delete = write(2, "", Seen::Present);
    delete.body = Body::Tombstone;
    state.mint(actor(1), 2, &delete).unwrap();
    assert_eq!((state.live().len(), state.shown(0).count()), (1, 0));
}

#[test]
fn a_write_past_the_sibling_limit_changes_nothing() {
    let mut state = KeyState::default();
    let limit = u64::try_from(SIBLINGS_MAX).unwrap();
    for seq in 1..=limit {
        state.mint(actor(1), seq, &write(seq, "v", Seen::Nothing)).unwrap();
    }
    let (full, context) = (state.clone(), seen(&state));
    let refused = state.mint(actor(1), limit + 1, &write(limit + 1, "v", Seen::Nothing));
    assert_eq!(refused, Err(MintError::TooManySiblings));
    assert_eq!(state, full);
    state.mint(actor(1), limit + 1, &write(limit + 1, "one", context)).unwrap();
    assert_eq!(values(&state), ["one"]);
    assert_eq!(state.settled().len(), SETTLED_MAX);
}

#[test]
fn the_latest_settled_stay() {
    let mut a = KeyState::default();
    for seq in 1..=200 {
        a.mint(actor(1), seq, &write(seq, "v", Seen::Present)).unwrap();
    }
    assert_eq!(a.settled().len(), SETTLED_MAX);
    assert!(a.settled().iter().all(|(_, issued)| issued.ms() > 1_000 + 199 - 64));
    let mut b = KeyState::default();
    b.merge(&a);
    assert_eq!(a, b);
}

/// A copy that remembers a settled request meets its retry, minted anew where the request was forgotten. If the retry had
/// superseded the present version, both would be gone.
#[test]
fn a_forgotten_retry_supersedes_nothing() {
    let mut behind = KeyState::default();
    behind.mint(actor(1), 1, &write(1, "early", Seen::Present)).unwrap();
    behind.mint(actor(1), 2, &write(2, "later", Seen::Present)).unwrap();
    let mut ahead = behind.clone();
    for counter in 3..=100 {
        ahead.mint(actor(1), counter, &write(counter, "latest", Seen::Present)).unwrap();
    }
    assert!(behind.knows(&rid(1)) && !ahead.knows(&rid(1)));
    ahead.mint(actor(1), 101, &write(1, "early", Seen::Present)).unwrap();
    assert_eq!(values(&ahead), ["early", "latest"], "at worst a duplicate");
    behind.merge(&ahead);
    assert_eq!(values(&behind), ["latest"]);
    ahead.merge(&behind);
    assert_eq!(ahead, behind);
}

/// Why a retry must not supersede what it never saw: its heirs may be among it.
#[test]
fn two_writes_minted_in_both_orders_stay_if_their_retries_supersede_nothing() {
    for (retried, left) in [(Seen::Present, 0), (Seen::Nothing, 2)] {
        let mint = |actor, first: &Write, second: &Write| {
            let mut state = KeyState::default();
            state.mint(actor, 1, first).unwrap();
            state.mint(actor, 2, second).unwrap();
            state
        };
        let mut one = mint(actor(1), &write(1, "a", Seen::Present), &write(2, "b", retried.clone()));
        let two = mint(actor(2), &write(2, "b", Seen::Present), &write(1, "a", retried));
        one.merge(&two);
        assert_eq!(values(&one).len(), left);
    }
}

#[test]
fn a_clash_leaves_one_body_whichever_side_merges() {
    let mut a = KeyState::default();
    let mut b = KeyState::default();
    a.mint(actor(1), 1, &write(1, "one", Seen::Nothing)).unwrap();
    b.mint(actor(2), 1, &write(1, "two", Seen::Nothing)).unwrap();
    let (mut left, mut right) = (a.clone(), b.clone());
    assert_eq!((left.merge(&b).clashes, right.merge(&a).clashes), (1, 1));
    assert_eq!(left, right);
}

#[test]
#[should_panic(expected = "minted before")]
fn a_known_dot_is_never_minted() {
    let mut state = KeyState::default();
    state.mint(actor(1), 2, &write(1, "a", Seen::Present)).unwrap();
    let _ = state.mint(actor(1), 2, &write(2, "b", Seen::Present));
}

/// Two siblings, one of two dots, one settled id, an expiry and a tombstone.
fn rich() -> KeyState {
    let mut a = KeyState::default();
    let mut b = KeyState::default();
    a.mint(actor(1), 1, &write(1, "first", Seen::Present)).unwrap();
    a.mint(actor(1), 300, &write(2, "second", Seen::Present)).unwrap();
    b.mint(actor(2), 1, &write(2, "second", Seen::Nothing)).unwrap();
    let mut delete = write(3, "", Seen::Nothing);
    delete.body = Body::Tombstone;
    delete.expires = Some(5_000);
    b.mint(actor(2), 2, &delete).unwrap();
    a.merge(&b);
    a
}

#[test]
fn a_state_has_golden_bytes_and_a_golden_digest() {
    let state = rich();
    let hex: String = state.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_STATE);
    assert_eq!(state.digest(), GOLDEN_DIGEST);
    assert_eq!(KeyState::default().encode().as_ref(), [1, 0, 0, 0]);
    assert_eq!(KeyState::default().digest(), GOLDEN_EMPTY_DIGEST);
    assert_eq!(KeyState::decode(&state.encode()), Ok(state));
}

const GOLDEN_STATE: &str = concat!(
    "0102010101010101010101010101010101010000000001000000ac020202020202020202020202020202020200",
    "00000002000000020207000000000000000000000000000000020200ac0201010000ea03000000000006736563",
    "6f6e6407000000000000000000000000000000030101020000eb030000000003882701d4f70de7437a194f0000",
    "e90300000000",
);
const GOLDEN_DIGEST: u64 = 7_827_247_471_054_375_468;
const GOLDEN_EMPTY_DIGEST: u64 = 16_226_181_191_752_404_715;

#[test]
fn broken_bytes_are_refused() {
    let state = rich();
    let bytes = state.encode();
    assert_eq!(KeyState::decode(&[]), Err(BadState::Malformed));
    assert_eq!(KeyState::decode(&[2, 0, 0, 0]), Err(BadState::UnknownKind(2)));
    for end in 1..bytes.len() {
        assert_eq!(KeyState::decode(&bytes[..end]), Err(BadState::Malformed), "cut at {end}");
    }
    let longer = [bytes.as_ref(), &[0]].concat();
    assert_eq!(KeyState::decode(&longer), Err(BadState::Malformed));
    // One altered byte is refused, or gives another state whose one encoding it is.
    for at in 1..bytes.len() {
        let mut altered = bytes.to_vec();
        altered[at] ^= 0x41;
        if let Ok(other) = KeyState::decode(&altered) {
            assert_ne!(other, state);
            assert_eq!(other.encode().as_ref(), altered);
        }
    }
    let counts: Vec<u8> = vec![1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(KeyState::decode(&counts), Err(BadState::Malformed));
}

#[test]
fn a_dot_on_two_requests_is_refused() {
    let mut state = KeyState::default();
    state.mint(actor(1), 1, &write(1, "a", Seen::Nothing)).unwrap();
    state.mint(actor(1), 2, &write(2, "b", Seen::Nothing)).unwrap();
    state.live[1].1.dots = state.live[0].1.dots.clone();
    assert_eq!(KeyState::decode(&state.encode()), Err(BadState::Malformed));
}

#[test]
fn what_a_receipt_settles_is_remembered_by_a_copy_that_never_met_it() {
    // Two versions side by side, minted by one copy with a full memory: the receipt's context can't have the write's dot.
    let mut state = KeyState::default();
    for seq in 1..=200 {
        state.mint(actor(1), seq, &write(seq, "old", Seen::Present)).unwrap();
    }
    state.mint(actor(1), 201, &write(201, "mine", Seen::Nothing)).unwrap();
    let seen = crate::Token::of_write(&state, &rid(201)).into_seen();
    // Another copy, with a full memory of its own; the writer's clock went back.
    let mut other = KeyState::default();
    for seq in 1001..=1100 {
        other.mint(actor(2), seq - 1000, &write(seq, "other", Seen::Present)).unwrap();
    }
    let late = Write { issued: Hlc::from_ms(1), ..write(2000, "newer", seen) };
    other.mint(actor(2), 101, &late).unwrap();
    assert!(other.knows(&rid(201)));
    state.merge(&other);
    assert!(state.live().iter().all(|(live, _)| *live != rid(201)), "settled, and live again");
}

/// The price of a bounded memory, and of a context that can't hold a dot without those of the same name before it: what a
/// receipt's token settled at a copy that never met it comes back, as a sibling, from one that was away for more writes than
/// are remembered. Nothing is lost by it.
#[test]
fn what_an_id_alone_settled_may_come_back_after_more_writes_than_are_remembered() {
    let mut away = KeyState::default();
    away.mint(actor(1), 1, &write(1, "unseen", Seen::Nothing)).unwrap();
    away.mint(actor(1), 2, &write(2, "old", Seen::Nothing)).unwrap();
    let receipt = crate::Token::of_write(&away, &rid(2)).into_seen();
    let mut state = KeyState::default();
    state.mint(actor(2), 1, &write(3, "new", receipt)).unwrap();
    let early = {
        let mut merged = state.clone();
        merged.merge(&away);
        values(&merged)
    };
    assert_eq!(early, ["unseen", "new"], "as it should be");
    let last = 3 + SETTLED_MAX as u64 + 1;
    for seq in 4..=last {
        let seen = seen(&state);
        state.mint(actor(2), seq - 2, &write(seq, "newest", seen)).unwrap();
    }
    state.merge(&away);
    assert_eq!(values(&state), ["unseen", "old", "newest"]);
}
