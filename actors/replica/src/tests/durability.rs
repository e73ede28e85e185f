//! Nothing is acknowledged or shown before the sync that covers it.

use super::*;

#[test]
fn a_mint_is_said_at_once_and_durable_after_its_sync() {
    let mut bench = Bench::new();
    let (first, answers) = bench.mint("k", write(1, "a", Seen::Present));
    assert_eq!(values(&minted_state(&answers)), ["a"]);
    assert_eq!(answers.len(), 1);
    let (second, state) = bench.minted("k", write(2, "b", Seen::Present));
    assert_eq!(values(&state), ["b"]);
    assert_eq!(bench.sync(), [(first, DURABLE), (second, DURABLE)]);
    assert_eq!(bench.sync(), []);
    assert!(bench.replica.budget.is_unused());
}

#[test]
fn a_group_that_covers_only_the_first_releases_only_the_first() {
    let mut bench = Bench::new();
    let (first, _) = bench.mint("k", write(1, "a", Seen::Present));
    let through = bench.disk.sync().unwrap();
    let (second, _) = bench.mint("j", write(2, "b", Seen::Present));
    assert_eq!(bench.own(through), [(first, DURABLE)]);
    assert_eq!(bench.sync(), [(second, DURABLE)]);
}

#[test]
fn a_read_waits_for_what_it_shows_and_only_for_that() {
    let mut bench = Bench::new();
    let (_, state) = bench.minted("k", write(1, "a", Seen::Present));
    let state = KeyState::decode(&state).unwrap();
    let (full, answers) = bench.read("k", Want::Full);
    assert_eq!(answers, []);
    let (digest, answers) = bench.read("k", Want::Digest);
    assert_eq!(answers, []);
    let through = bench.disk.sync().unwrap();
    bench.mint("k", write(2, "b", Seen::Present));
    let answers = bench.own(through);
    let digest_reply = Body::Replicated(ReplicaReply::Digest { digest: state.digest(), round: Round(0) });
    assert_eq!(answers[1..], [(full, state_reply(&state)), (digest, digest_reply)]);

    // The other key's unsynced write is none of this read's business.
    let (unseen, answers) = bench.read("never", Want::Full);
    assert_eq!(answers, [(unseen, state_reply(&KeyState::default()))]);
}

#[test]
fn a_retry_mints_nothing_and_waits_for_the_same_sync() {
    let mut bench = Bench::new();
    let (first, state) = bench.minted("k", write(1, "a", Seen::Present));
    let (retry, again) = bench.minted("k", write(1, "a", Seen::Present));
    assert_eq!(state, again);
    assert_eq!(bench.counts.iter().filter(|count| **count == Count::RetryKnown).count(), 1);
    assert_eq!(bench.sync(), [(first, DURABLE), (retry, DURABLE)]);

    // Durable already: both answers at once, though the request has been settled since.
    bench.mint("k", write(2, "b", Seen::Present));
    bench.sync();
    let (late, answers) = bench.mint("k", write(1, "a", Seen::Present));
    assert_eq!(values(&minted_state(&answers)), ["b"]);
    assert_eq!(answers[1..], [(late, DURABLE)]);
    assert_eq!(bench.disk.unsynced.len(), 0);
}

#[test]
fn a_retry_is_known_however_wrong_its_clock_has_become() {
    let mut bench = Bench::new();
    bench.mint("k", write(1, "a", Seen::Present));
    bench.now.wall_ms = 0;
    assert_eq!(values(&bench.minted("k", write(1, "a", Seen::Present)).1), ["a"]);
}

#[test]
fn a_sent_state_is_durable_after_its_sync_and_known_ones_at_once() {
    let mut bench = Bench::new();
    let sent = foreign(1, "a");
    let (first, answers) = bench.store("k", &sent);
    assert_eq!(answers, []);
    let (again, answers) = bench.store("k", &sent);
    assert_eq!(answers, []);
    assert_eq!(bench.disk.unsynced.len(), 1, "what is known is not appended again");
    assert_eq!(bench.sync(), [(first, DURABLE), (again, DURABLE)]);
    let (known, answers) = bench.store("k", &sent);
    assert_eq!(answers, [(known, DURABLE)]);
    let (read, answers) = bench.read("k", Want::Full);
    assert_eq!(answers, [(read, state_reply(&sent))]);
}

#[test]
fn two_writers_with_one_context_make_siblings_and_a_stale_one_hides_nothing_newer() {
    let mut bench = Bench::new();
    let base = bench.minted("k", write(1, "base", Seen::Present)).1;
    bench.mint("k", write(2, "x", seen(&base)));
    let both = bench.minted("k", write(3, "y", seen(&base))).1;
    assert_eq!(values(&both), ["x", "y"]);
    let one = bench.minted("k", write(4, "joined", seen(&both))).1;
    assert_eq!(values(&one), ["joined"]);
    let stale = bench.minted("k", write(5, "late", seen(&base))).1;
    assert_eq!(values(&stale), ["joined", "late"]);
}

#[test]
fn what_two_copies_wrote_at_once_is_merged() {
    let mut bench = Bench::new();
    bench.mint("k", write(1, "here", Seen::Present));
    bench.store("k", &foreign(2, "there"));
    let (read, _) = bench.read("k", Want::Full);
    let answers = bench.sync();
    let Some((seq, Body::Replicated(ReplicaReply::State { state, .. }))) = answers.last() else {
        panic!("{answers:?}")
    };
    assert_eq!((*seq, values(state)), (read, vec!["here".to_string(), "there".to_string()]));
}

#[test]
fn two_bodies_under_one_request_are_counted() {
    let mut bench = Bench::new();
    bench.mint("k", write(1, "one", Seen::Present));
    bench.store("k", &foreign(1, "two"));
    assert!(bench.counts.contains(&Count::BodyClash));
}

#[test]
fn answers_to_those_who_wait_no_more_are_dropped_but_the_write_stays() {
    let mut bench = Bench::new();
    let place = bench.place(&key("k"));
    let request =
        |seq| ReplicaRequest::MintVersion { place, key: key("k"), write: write(seq, "late", Seen::Present) };
    let soon = || Ask { deadline: Tick(20), ..Ask::default() };
    assert_eq!(bench.ask(soon(), request(1)).1.len(), 1);
    bench.now.tick = Tick(21);
    assert_eq!(bench.ask(soon(), request(2)), (2, vec![]));
    assert_eq!(bench.sync(), []);
    assert!(bench.replica.budget.is_unused());
    let (_, answers) = bench.read("k", Want::Full);
    let [(_, Body::Replicated(ReplicaReply::State { state, .. }))] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!(values(state), ["late"]);
}
