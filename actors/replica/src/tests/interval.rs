//! Durability `interval`: acknowledged and shown from memory, and never called durable before it is.

use super::*;
use crate::Limits;

fn bench() -> Bench {
    Bench::interval(config(1), FakeDisk::default())
}

fn dots(state: &[u8]) -> Vec<Actor> {
    let state = KeyState::decode(state).unwrap();
    state.live().iter().flat_map(|(_, version)| version.dots.iter().map(|dot| dot.actor)).collect()
}

#[test]
fn what_is_in_memory_is_held_and_what_is_synced_is_durable() {
    let mut bench = bench();
    let (mint, answers) = bench.mint("k", write(1, "a", Seen::Present));
    assert_eq!(values(&minted_state(&answers)), ["a"]);
    assert_eq!(answers[1..], [(mint, HELD)]);
    let sent = foreign(2, "b");
    let (store, answers) = bench.store("j", &sent);
    assert_eq!(answers, [(store, HELD)]);
    let (again, answers) = bench.store("j", &sent);
    assert_eq!(answers, [(again, HELD)]);
    assert_eq!(bench.disk.unsynced.len(), 2, "to be synced, though nobody waits");
    assert_eq!(bench.sync(), [], "and nobody is answered twice");
    let (retry, answers) = bench.mint("k", write(1, "a", Seen::Present));
    assert_eq!(answers[1..], [(retry, DURABLE)]);
    let (known, answers) = bench.store("j", &sent);
    assert_eq!(answers, [(known, DURABLE)]);
    assert!(bench.replica.budget.is_unused());
}

#[test]
fn a_read_shows_what_is_in_memory() {
    let mut bench = bench();
    let (_, state) = bench.minted("k", write(1, "a", Seen::Present));
    let state = KeyState::decode(&state).unwrap();
    let (full, answers) = bench.read("k", Want::Full);
    assert_eq!(answers, [(full, state_reply(&state))]);
    let (digest, answers) = bench.read("k", Want::Digest);
    let reply = ReplicaReply::Digest { digest: state.digest(), round: Round(0) };
    assert_eq!(answers, [(digest, Body::Replicated(reply))]);
}

#[test]
fn a_copy_that_is_refilled_is_shown_and_told_only_what_is_durable() {
    let mut bench = bench();
    bench.mint("k", write(1, "a", Seen::Present));
    let (page, answers) = bench.ask_page("k", None);
    assert_eq!(answers, []);
    let synced = bench.sync();
    assert!(
        matches!(&synced[..], [(seq, Body::Replicated(ReplicaReply::Page { .. }))] if *seq == page),
        "{synced:?}"
    );

    // A page is merged by the copy itself, through requests to itself.
    let place = bench.place(&key("j"));
    let state = foreign(2, "b").encode();
    let request = ReplicaRequest::StoreState { place, key: key("j"), state };
    let (merge, answers) = bench.ask(Ask { role: Role::Replica, ..Ask::default() }, request);
    assert_eq!(answers, []);
    assert_eq!(bench.sync(), [(merge, DURABLE)]);
}

#[test]
fn writes_that_nobody_waits_for_are_bounded_too() {
    let limits = Limits { pending_max: 2, ..Limits::default() };
    let mut bench = Bench::interval(ReplicaConfig { limits, ..config(1) }, FakeDisk::default());
    for seq in 1..=2 {
        assert_eq!(bench.mint("k", write(seq, "a", Seen::Present)).1.last(), Some(&(seq, HELD)));
    }
    let busy = refused(Refusal::Busy);
    assert_eq!(bench.mint("k", write(3, "a", Seen::Present)), (3, vec![(3, busy.clone())]));
    assert_eq!(bench.store("j", &foreign(4, "b")), (4, vec![(4, busy)]));
    assert_eq!(bench.sync(), []);
    assert_eq!(bench.mint("k", write(3, "a", Seen::Present)).1.last(), Some(&(5, HELD)));
}

#[test]
fn a_crash_takes_back_what_was_told_and_never_its_dots() {
    let mut first = bench();
    let (_, kept) = first.minted("k", write(1, "kept", Seen::Present));
    first.sync();
    let (_, lost) = first.minted("k", write(2, "lost", Seen::Present));
    assert_eq!(values(&lost), ["lost"]);
    first.disk.crash();

    let mut second = Bench::interval(config(2), first.disk);
    let (_, answers) = second.read("k", Want::Full);
    assert_eq!(answers[0].1, state_reply(&KeyState::decode(&kept).unwrap()), "whole, as it was synced");
    // The lost write was told to others, and comes back from one of them beside what was written since.
    let (_, anew) = second.minted("k", write(3, "anew", Seen::Present));
    assert_eq!((dots(&lost), dots(&anew)), (vec![actor(1, 1)], vec![actor(1, 2)]));
    assert_eq!(second.store("k", &KeyState::decode(&lost).unwrap()).1.len(), 1);
    let (_, answers) = second.read("k", Want::Full);
    let Body::Replicated(ReplicaReply::State { state, .. }) = &answers[0].1 else { panic!("{answers:?}") };
    assert_eq!(values(state), ["lost", "anew"]);
    // A retry of it is known, and a write that saw both leaves one.
    second.minted("k", write(2, "lost", Seen::Nothing));
    let (_, settled) = second.minted("k", write(4, "settled", seen(state)));
    assert_eq!(values(&settled), ["settled"]);
}
