//! What a copy refuses, with which word, and that nothing happened then.

use super::*;
use crate::admit::Fence;
use anser_machine::{Room, RoomLevel};

/// Asks all three things of a copy, as `ask` says; all must be refused so.
fn all_refused(bench: &mut Bench, ask: impl Fn() -> Ask, refusal: Refusal) {
    let mut place = ask().place.unwrap_or(bench.place(&key("k")));
    place.round = ask().round;
    let requests = [
        ReplicaRequest::MintVersion { place, key: key("k"), write: write(1, "a", Seen::Present) },
        ReplicaRequest::StoreState { place, key: key("k"), state: foreign(1, "a").encode() },
        ReplicaRequest::ReadState { place, key: key("k"), want: Want::Full },
    ];
    for request in requests {
        let (seq, answers) = bench.ask(ask(), request);
        assert_eq!(answers, [(seq, refused(refusal))]);
    }
    assert!(bench.disk.is_idle());
}

#[test]
fn nothing_is_served_before_recovery_and_a_ring() {
    let mut bench = Bench::cold(config(1), FakeDisk::default());
    assert_eq!(bench.replica.next_timeout(), Some((Tick(0), "recover")));
    all_refused(&mut bench, Ask::default, Refusal::NotServing);
    bench.timeout();
    assert_eq!(bench.facts, [false]);
    assert!(matches!(bench.disk.asked.make_contiguous(), [DiskRequest::Load { slot: SlotName::Copies }]));
    bench.disk.asked.clear();
    assert_eq!(bench.replica.next_timeout(), None);
    bench.timeout();
    assert!(bench.disk.is_idle(), "a second timeout asks nothing");
    all_refused(&mut bench, Ask::default, Refusal::NotServing);
    bench.recover();
    assert_eq!(bench.facts, [false], "there is no ring yet");
    all_refused(&mut bench, Ask::default, Refusal::NotServing);
    bench.adopt_ring();
    bench.adopt_ring();
    assert_eq!(bench.facts, [false, true]);
    assert_eq!(bench.mint("k", write(1, "a", Seen::Present)).1.len(), 1);
}

#[test]
fn another_step_or_round_or_place_is_refused() {
    let mut bench = Bench::new();
    let mut newer = ring();
    newer.step = Step(5);
    bench.step(Event::Fact(Fact::RingAdopted(Arc::new(newer))));
    bench.adopt_ring(); // An older one changes nothing.
    let at = |step| move || Ask { step: Step(step), ..Ask::default() };
    all_refused(&mut bench, at(4), Refusal::StaleStep(Step(5)));
    all_refused(&mut bench, at(6), Refusal::FutureStep(Step(5)));

    let place = bench.place(&key("k"));
    let elsewhere = Place { partition: anser_model::PartitionId((place.partition.0 + 1) % 8), ..place };
    let unknown = Place { keyspace: KeyspaceId(99), ..place };
    for place in [elsewhere, unknown] {
        let ask = move || Ask { step: Step(5), place: Some(place), ..Ask::default() };
        all_refused(&mut bench, ask, Refusal::NotServing);
    }

    let fence = Fence { round: Round(3), floor: Hlc(0) };
    bench.replica.fences.set(place.partition, fence);
    let in_round = |round| move || Ask { step: Step(5), round: Round(round), ..Ask::default() };
    all_refused(&mut bench, in_round(2), Refusal::StaleRound(Round(3)));
    all_refused(&mut bench, in_round(4), Refusal::NotServing);
}

#[test]
fn strangers_are_refused_and_only_the_own_node_mints() {
    let mut bench = Bench::new();
    all_refused(&mut bench, || Ask { from: 8, ..Ask::default() }, Refusal::NotAllowed);
    let place = bench.place(&key("k"));
    let mint = ReplicaRequest::MintVersion { place, key: key("k"), write: write(1, "a", Seen::Present) };
    let (seq, answers) = bench.ask(Ask { from: 2, ..Ask::default() }, mint);
    assert_eq!(answers, [(seq, refused(Refusal::NotAllowed))]);
}

#[test]
fn a_shard_answers_for_its_own_partitions_only() {
    let config = ReplicaConfig { shard: 0, shards: 2, ..config(1) };
    let mut bench = Bench::warm(config, FakeDisk::default());
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let mine = bench.place(&key(name)).partition.0.is_multiple_of(2);
        let (seq, answers) = bench.read(name, Want::Full);
        let expected = if mine { state_reply(&KeyState::default()) } else { refused(Refusal::NotServing) };
        assert_eq!(answers, [(seq, expected)]);
    }
}

#[test]
fn clocks_are_bounded_on_both_sides() {
    let mut bench = Bench::new();
    let mut ahead = write(1, "a", Seen::Present);
    ahead.issued = Hlc::from_ms(WALL_MS + 1001);
    let (seq, answers) = bench.mint("k", ahead.clone());
    assert_eq!(answers, [(seq, refused(Refusal::BadClock))]);
    ahead.issued = Hlc::from_ms(WALL_MS + 1000);
    assert_eq!(bench.mint("k", ahead).1.len(), 1);

    let place = bench.place(&key("j"));
    let floor = Hlc::from_ms(WALL_MS - 500);
    bench.replica.fences.set(place.partition, Fence { round: Round(0), floor });
    let mut old = write(2, "b", Seen::Present);
    old.issued = floor;
    let (seq, answers) = bench.mint("j", old.clone());
    assert_eq!(answers, [(seq, refused(Refusal::TooOld))]);
    old.issued = Hlc(floor.0 + 1);
    assert_eq!(bench.mint("j", old).1.len(), 1);
}

#[test]
fn a_write_past_the_sibling_limit_is_refused() {
    let mut bench = Bench::new();
    for seq in 1..=64 {
        assert_eq!(bench.mint("k", write(seq, "v", Seen::Nothing)).1.len(), 1);
    }
    let (seq, answers) = bench.mint("k", write(65, "v", Seen::Nothing));
    assert_eq!(answers, [(seq, refused(Refusal::TooManySiblings))]);
    assert_eq!(bench.disk.unsynced.len(), 64);
}

#[test]
fn a_malformed_state_is_refused() {
    let mut bench = Bench::new();
    let place = bench.place(&key("k"));
    let state = Bytes::from_static(&[1, 2, 3]);
    let (seq, answers) =
        bench.ask(Ask::default(), ReplicaRequest::StoreState { place, key: key("k"), state });
    assert_eq!(answers, [(seq, refused(Refusal::NotAllowed))]);
    assert!(bench.disk.is_idle());
}

#[test]
fn a_disk_without_room_takes_deletes_and_a_full_one_nothing() {
    let table =
        [(RoomLevel::Enough, true, true), (RoomLevel::Low, false, true), (RoomLevel::Full, false, false)];
    for (level, puts, deletes) in table {
        let value = Value::Value(Bytes::from_static(b"a"));
        for (body, taken) in [(value, puts), (Value::Tombstone, deletes)] {
            let mut bench = Bench::new();
            bench.step(Event::Fact(Fact::RoomChanged(Room { level, free_bytes: 0 })));
            let write = Write { body, ..write(1, "", Seen::Nothing) };
            let (seq, minted) = bench.mint("k", write.clone());
            let mut state = KeyState::default();
            state.mint(actor(2, 77), 1, &write).unwrap();
            let (next, stored) = bench.store("j", &state);
            let refusals = [(seq, refused(Refusal::DiskFull)), (next, refused(Refusal::DiskFull))];
            assert_eq!([minted, stored].concat() != refusals, taken, "{level:?} {write:?}");
            assert_eq!(bench.disk.unsynced.len(), if taken { 2 } else { 0 });
        }
    }
}

#[test]
fn past_the_bound_requests_are_refused_until_a_sync_makes_room() {
    let mut config = config(1);
    config.limits.pending_max = 2;
    let mut bench = Bench::warm(config, FakeDisk::default());
    bench.mint("k", write(1, "a", Seen::Present));
    bench.store("j", &foreign(2, "b"));
    let (seq, answers) = bench.mint("i", write(3, "c", Seen::Present));
    assert_eq!(answers, [(seq, refused(Refusal::Busy))]);
    let (seq, answers) = bench.store("i", &foreign(3, "c"));
    assert_eq!(answers, [(seq, refused(Refusal::Busy))]);
    let (seq, answers) = bench.read("k", Want::Full);
    assert_eq!(answers, [(seq, refused(Refusal::Busy))]);
    let (seq, answers) = bench.read("i", Want::Full);
    assert_eq!(answers, [(seq, state_reply(&KeyState::default()))], "what need not wait goes on");
    assert_eq!((bench.disk.unsynced.len(), bench.replica.waiting()), (2, 2));
    assert_eq!(bench.sync().len(), 2);
    assert_eq!(bench.replica.waiting(), 0);
    let bytes = bench.replica.memtable_bytes() as u64;
    assert_eq!(bench.counts.last(), Some(&Count::MemtableBytes { shard: 0, bytes }));
    assert_eq!(bench.mint("i", write(3, "c", Seen::Present)).1.len(), 1);
}
