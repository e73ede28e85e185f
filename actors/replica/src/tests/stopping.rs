//! What ends a shard's service: a failed disk, damage, and its own Life met elsewhere.

use super::*;

#[test]
fn a_failed_disk_refuses_all_that_waits_and_all_that_comes() {
    let mut bench = Bench::new();
    let (mint, _) = bench.mint("k", write(1, "a", Seen::Present));
    let (read, _) = bench.read("k", Want::Full);
    let gone = refused(Refusal::DiskFailed);
    assert_eq!(bench.own(Feedback::DiskFailed), [(mint, gone.clone()), (read, gone.clone())]);
    assert_eq!(bench.facts.last(), Some(&false));
    assert_eq!(bench.own(Feedback::DiskFailed), []);
    let (seq, answers) = bench.read("k", Want::Full);
    assert_eq!(answers, [(seq, gone)]);
    assert_eq!(bench.sync(), [], "a sync that is reported late acknowledges nothing");
    assert!(bench.replica.budget.is_unused());
}

#[test]
fn a_disk_that_fails_in_recovery_leaves_the_shard_stopped() {
    let mut bench = Bench::cold(config(1), FakeDisk::default());
    bench.adopt_ring();
    bench.timeout();
    bench.own(Feedback::DiskFailed);
    bench.recover();
    assert_eq!(bench.facts, [false]);
    let (seq, answers) = bench.read("k", Want::Full);
    assert_eq!(answers, [(seq, refused(Refusal::DiskFailed))]);
}

#[test]
fn a_log_record_that_cannot_be_read_stops_the_shard() {
    let mut bench = Bench::new();
    bench.mint("k", write(1, "a", Seen::Present));
    bench.sync();
    let mut disk = bench.disk;
    disk.synced[0].bytes = Bytes::from_static(b"garbage");
    let mut bench = Bench::cold(config(2), disk);
    bench.adopt_ring();
    bench.timeout();
    bench.recover();
    let (seq, answers) = bench.read("k", Want::Full);
    assert_eq!(answers, [(seq, refused(Refusal::DiskFailed))]);
}

#[test]
fn a_copy_that_meets_its_own_life_ahead_of_itself_stops() {
    let mut ahead = KeyState::default();
    ahead.mint(actor(1, 1), 2, &write(9, "clone's", Seen::Nothing)).unwrap();
    let not_serving = refused(Refusal::NotServing);

    let mut bench = Bench::new();
    let (mint, _) = bench.mint("j", write(1, "a", Seen::Present));
    let (store, answers) = bench.store("k", &ahead);
    // The mint was done: it must not hear that nothing happened.
    assert_eq!(answers, [(mint, refused(Refusal::Crashed)), (store, not_serving.clone())]);
    assert_eq!(bench.facts.last(), Some(&false));

    let mut bench = Bench::new();
    let (mint, answers) = bench.mint("k", write(1, "a", seen(&ahead.encode())));
    assert_eq!(answers, [(mint, not_serving)]);

    // Its own words coming back are no clone's.
    let mut bench = Bench::new();
    let state = bench.minted("k", write(1, "a", Seen::Present)).1;
    let (_, answers) = bench.store("k", &KeyState::decode(&state).unwrap());
    assert_eq!(answers, []);
    assert_eq!(bench.sync().len(), 2);
}

#[test]
fn answers_to_a_predecessor_change_nothing() {
    let mut bench = Bench::cold(config(2), FakeDisk::default());
    bench.adopt_ring();
    bench.timeout();
    let meta = Bytes::from_static(b"?");
    let table = anser_machine::StoredTable {
        id: anser_machine::TableId(1),
        group: 0,
        age: 1,
        bytes: 1,
        voids: 0,
        meta,
    };
    let stray = [
        Feedback::Durable { through: anser_machine::Lsn(40) },
        Feedback::Fetched { ticket: anser_machine::Ticket(1 << 32), blocks: vec![Bytes::from_static(b"?")] },
        Feedback::Flushed { tables: vec![table.clone()], through: anser_machine::Lsn(4) },
        Feedback::TablesReplaced { removed: vec![], added: vec![table] },
        Feedback::RecoveredLog { records: vec![], next: Some(anser_machine::Lsn(1)) },
    ];
    for feedback in stray {
        assert_eq!(bench.own(feedback), []);
    }
    assert_eq!(bench.facts, [false]);
    bench.recover();
    assert_eq!(bench.facts, [false, true]);
    let (mint, _) = bench.mint("k", write(1, "a", Seen::Present));
    assert_eq!(bench.sync(), [(mint, DURABLE)]);
}

#[test]
fn nothing_is_answered_before_the_folder_is_known_to_be_no_old_copy() {
    let mut bench = Bench::warm(config(1), FakeDisk::default());
    bench.mint("k", write(1, "a", Seen::Present));
    bench.sync();
    let mut bench = Bench::cold(config(2), core::mem::take(&mut bench.disk));
    bench.adopt_ring();
    bench.timeout();
    bench.read_back();
    assert_eq!(bench.grown, [2], "the position after the last record");
    let (read, answers) = bench.read("k", Want::Full);
    assert_eq!(answers, [(read, refused(Refusal::NotServing))]);
    let (asked, answers) = bench.ask_page("k", None);
    assert_eq!(answers, [(asked, refused(Refusal::NotServing))]);
    assert_eq!(bench.judge_folder(FolderTrust::Sound), []);
    assert_eq!(bench.facts, [false, true]);
    let (_, answers) = bench.read("k", Want::Full);
    assert!(matches!(answers[0].1, Body::Replicated(ReplicaReply::State { .. })), "{answers:?}");
    // From an old one nothing is told any more.
    bench.judge_folder(FolderTrust::Old { replaceable: false });
    let (read, answers) = bench.read("k", Want::Full);
    assert_eq!((answers, bench.facts.last()), (vec![(read, refused(Refusal::NotServing))], Some(&false)));
}

#[test]
fn how_far_the_log_is_is_told_now_and_then() {
    let mut bench = Bench::warm(config(1), FakeDisk::default());
    bench.grown.clear();
    for number in 0..10 {
        bench.mint("k", write(number, "a", Seen::Present));
        bench.sync();
        bench.pass_ms(100);
    }
    assert!((3..=4).contains(&bench.grown.len()), "{:?}", bench.grown);
    assert!(bench.grown.is_sorted());
}
