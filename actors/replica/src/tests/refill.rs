//! Copies that lost what they held: silent, refilled from enough others, and durable as such.

use super::*;
use anser_machine::TableId;
use anser_model::PartitionId;
use std::collections::{BTreeMap, BTreeSet};

/// The ring is of 8 partitions; the folder is not the one that it names.
fn foreign_config(copy_life: u64) -> ReplicaConfig {
    let other = Member { folder: FolderId([99; 16]), ..member(1) };
    ReplicaConfig { member: other, ..config(copy_life) }
}

fn page(entries: Vec<PageEntry>, more: bool) -> Body {
    Body::Replicated(ReplicaReply::Page { entries, more })
}

fn after(asked: &Envelope) -> Option<PagePlace> {
    match &asked.body {
        Body::Replicate(ReplicaRequest::ReadPage { after, .. }) => after.clone(),
        other => panic!("{other:?}"),
    }
}

fn slot(asked: &Envelope) -> u32 {
    asked.to.slot
}

/// Answers all that it asks with empty pages, but for those of `but`.
fn others_are_empty(bench: &mut Bench, but: impl Fn(&Envelope) -> bool) -> Vec<Envelope> {
    let mut kept = Vec::new();
    for _ in 0..100 {
        let asked = bench.asked();
        if asked.is_empty() {
            return kept;
        }
        for envelope in asked {
            if but(&envelope) {
                kept.push(envelope);
            } else {
                bench.answer(&envelope, page(vec![], false));
                bench.settle();
            }
        }
        bench.pass_ms(1);
    }
    panic!("no end")
}

#[test]
fn a_copy_in_another_folder_takes_writes_and_answers_nothing_until_both_others_were_read() {
    let mut bench = Bench::warm(foreign_config(1), FakeDisk::default());
    assert_eq!((bench.copies.serving, bench.copies.joining.len(), bench.copies.alone), (0, 8, 0));
    let not_serving = refused(Refusal::NotServing);
    let (read, answers) = bench.read("k", Want::Full);
    assert_eq!(answers, [(read, not_serving.clone())]);
    let (mint, answers) = bench.mint("k", write(1, "a", Seen::Present));
    assert_eq!(answers, [(mint, not_serving.clone())]);
    let (store, _) = bench.store("k", &foreign(2, "stored"));
    assert_eq!(bench.sync(), [(store, DURABLE)]);
    let (page_asked, answers) = bench.ask_page("k", None);
    assert_eq!(answers, [(page_asked, not_serving.clone())], "nobody is refilled from it");

    bench.pass_ms(0);
    let own = bench.place(&key("k")).partition;
    let kept = others_are_empty(&mut bench, |asked| slot(asked) == u32::from(own.0));
    assert_eq!(kept.len(), 1, "one page is out for a partition");
    assert_eq!(bench.copies.joining, BTreeSet::from([own]), "the others are done");
    // The first other has the key in two pages.
    let mut older = KeyState::default();
    older.mint(actor(3, 5), 1, &write(7, "older", Seen::Nothing)).unwrap();
    bench.answer(&kept[0], page(vec![bench.entry("k", &older)], true));
    bench.settle();
    assert_eq!(bench.asked().len(), 0, "paced");
    bench.pass_ms(10);
    let next = bench.asked().remove(0);
    assert_eq!((next.to, after(&next).unwrap().key), (kept[0].to, key("k")));
    bench.answer(&next, page(vec![], false));
    bench.settle();
    let second = bench.asked().remove(0);
    assert_ne!(second.to.node, kept[0].to.node);
    assert_eq!(after(&second), None);
    let (read, answers) = bench.read("k", Want::Full);
    assert_eq!(answers, [(read, not_serving)], "one other is not enough");
    bench.answer(&second, page(vec![], false));
    bench.settle();
    assert!(bench.copies.joining.is_empty());
    let (_, answers) = bench.read("k", Want::Full);
    let Body::Replicated(ReplicaReply::State { state, .. }) = &answers[0].1 else { panic!("{answers:?}") };
    assert_eq!(BTreeSet::from_iter(values(state)), BTreeSet::from(["older".into(), "stored".into()]));
    assert_eq!(bench.replica.next_timeout(), None);

    // After a start it is known, and the folder still stands in.
    let bench = Bench::warm(foreign_config(2), bench.disk);
    assert!(bench.copies.joining.is_empty());
}

#[test]
fn what_was_not_durable_as_refilled_is_refilled_again() {
    let mut bench = Bench::warm(foreign_config(1), FakeDisk::default());
    bench.pass_ms(0);
    let kept = others_are_empty(&mut bench, |asked| slot(asked) == 3);
    let first = &kept[0];
    bench.answer(first, page(vec![], false));
    let second = bench.asked().remove(0);
    bench.answer(&second, page(vec![], false));
    assert_eq!(bench.copies.joining, BTreeSet::from([PartitionId(3)]), "the cell is on its way");
    let mut disk = bench.disk;
    disk.crash();
    let bench = Bench::warm(foreign_config(2), disk);
    assert_eq!(bench.copies.joining, BTreeSet::from([PartitionId(3)]));
}

#[test]
fn a_source_that_refuses_or_is_silent_is_left_alone_for_a_while() {
    let mut bench = Bench::warm(foreign_config(1), FakeDisk::default());
    bench.pass_ms(0);
    let kept = others_are_empty(&mut bench, |asked| slot(asked) == 3);
    bench.answer(&kept[0], refused(Refusal::NotServing));
    let other = bench.asked().remove(0);
    assert_ne!(other.to.node, kept[0].to.node);
    assert_eq!(bench.asked(), []);
    // Late answers of the first are nobody's.
    bench.answer(&kept[0], page(vec![], false));
    // Nor does what the other says to an earlier request count for this one.
    bench.answer(&Envelope { op: kept[0].op, ..other.clone() }, page(vec![], false));
    bench.settle();
    bench.pass_ms(100);
    assert_eq!(bench.asked(), []);
    bench.pass_ms(3000);
    let again = bench.asked();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].to.node, kept[0].to.node, "the silent one rests now");
    bench.answer(&again[0], page(vec![], false));
    bench.settle();
    bench.pass_ms(200);
    let last = bench.asked();
    assert_eq!((last.len(), last[0].to.node), (1, other.to.node));
    bench.answer(&last[0], page(vec![], false));
    bench.settle();
    assert!(bench.copies.joining.is_empty());
}

#[test]
fn what_a_page_shows_of_another_partition_is_left_out() {
    let mut bench = Bench::warm(foreign_config(1), FakeDisk::default());
    bench.pass_ms(0);
    let own = bench.place(&key("k")).partition;
    let kept = others_are_empty(&mut bench, |asked| slot(asked) == u32::from(own.0));
    let of_another = |name: &String| bench.place(&key(name)).partition != own;
    let name = (0..).map(|number| format!("k{number}")).find(of_another).unwrap();
    let state = foreign(2, "shown");
    bench.answer(&kept[0], page(vec![bench.entry("k", &state), bench.entry(&name, &state)], false));
    bench.settle();
    assert_eq!(others_are_empty(&mut bench, |_| false), []);
    assert!(bench.copies.joining.is_empty());
    let (asked, answers) = bench.ask_page("k", None);
    assert_eq!(answers, [(asked, page(vec![bench.entry("k", &state)], false))]);
}

#[test]
fn a_page_is_shown_once_it_is_durable_and_the_next_one_goes_on() {
    let mut bench = Bench::new();
    let names = ["a", "b", "c", "d"];
    for (seq, name) in (1..).zip(names) {
        bench.mint(name, write(seq, name, Seen::Present));
    }
    let (asked, answers) = bench.ask_page("a", None);
    assert_eq!(answers, [], "nothing of it is synced");
    let answers = bench.sync();
    let Some((_, Body::Replicated(ReplicaReply::Page { entries, more: false }))) =
        answers.iter().find(|(seq, _)| *seq == asked)
    else {
        panic!("{answers:?}")
    };
    let own = bench.place(&key("a")).partition;
    let expected: Vec<&str> =
        names.into_iter().filter(|name| bench.place(&key(name)).partition == own).collect();
    let shown: Vec<Key> = entries.iter().map(|entry| entry.place.key.clone()).collect();
    assert_eq!(shown, expected.iter().map(|name| key(name)).collect::<Vec<_>>());
    let last = entries.last().unwrap().place.clone();
    let (asked, answers) = bench.ask_page("a", Some(last));
    assert_eq!(answers, [(asked, page(vec![], false))]);
}

/// A table with keys in it.
fn with_a_table() -> Bench {
    let mut config = config(1);
    config.limits.engine.memtable_bytes = 1;
    let mut bench = Bench::warm(config, FakeDisk::default());
    bench.mint("k", write(1, "lost", Seen::Present));
    bench.sync();
    bench.serve_disk();
    assert_eq!(bench.disk.tables(), 1);
    bench
}

#[test]
fn a_damaged_table_costs_its_group_and_a_life() {
    let mut bench = with_a_table();
    let life = bench.replica.copy_life();
    bench.disk.bad_blocks = true;
    let (read, _) = bench.read("k", Want::Full);
    let Some(DiskRequest::Fetch { ticket, .. }) = bench.disk.asked.pop_front() else { panic!() };
    assert_eq!(bench.own(Feedback::FetchFailed { ticket }), [(read, refused(Refusal::NotServing))]);
    assert_eq!((bench.copies.joining.len(), bench.copies.losses.get(&0)), (8, Some(&1)));
    assert_eq!(bench.replica.copy_life(), life.next());
    // It is said before it is done, and stores that come now lie behind it in the log.
    assert!(matches!(bench.disk.asked.make_contiguous(), [DiskRequest::Save { slot: SlotName::Copies, .. }]));
    let (store, answers) = bench.store("k", &foreign(2, "stored"));
    assert_eq!(answers, []);
    assert_eq!(bench.sync(), [(store, DURABLE)]);
    let save = bench.disk.serve_one().unwrap();
    bench.own(save);
    assert!(
        matches!(bench.disk.asked.make_contiguous(), [DiskRequest::Wipe { group: 0 }]),
        "no flush before it"
    );
    assert_eq!(bench.disk.tables(), 1);
    bench.serve_disk();
    assert_eq!(bench.disk.tables(), 1, "what was stored since, in a table of its own");
    bench.pass_ms(0);
    others_are_empty(&mut bench, |_| false);
    assert!(bench.copies.joining.is_empty());
    bench.disk.bad_blocks = false;
    let (_, mut answers) = bench.read("k", Want::Full);
    answers.extend(bench.serve_disk());
    let Body::Replicated(ReplicaReply::State { state, .. }) = &answers[0].1 else { panic!("{answers:?}") };
    assert_eq!(values(state), ["stored"]);
    // The new life begins to count anew.
    let minted = bench.minted("new", write(9, "b", Seen::Present)).1;
    let minted = KeyState::decode(&minted).unwrap();
    assert_eq!(minted.context().get(&Actor { node: member(1).node, life: life.next() }), 1);
}

#[test]
fn tables_that_cannot_be_read_at_a_start_are_lost_wherever_the_crash_comes() {
    let mut bench = with_a_table();
    bench.disk.unreadable = true;
    let mut disk = bench.disk;
    for _ in 0..4 {
        let mut bench = Bench::warm(config(2), disk);
        assert_eq!(bench.copies.joining.len(), 8);
        if let Some(feedback) = bench.disk.serve_one() {
            bench.own(feedback);
        }
        disk = bench.disk;
        disk.crash();
    }
    disk.unreadable = false;
    let mut bench = Bench::warm(config(3), disk);
    bench.serve_disk();
    assert_eq!((bench.copies.joining.len(), bench.disk.tables()), (8, 0));
    bench.pass_ms(0);
    others_are_empty(&mut bench, |_| false);
    assert!(bench.copies.joining.is_empty());
}

#[test]
fn the_only_copy_is_not_wiped() {
    let mut bench = Bench::cold(config(1), with_a_table().disk);
    bench.ring = Arc::new(ring_of_one());
    bench.adopt_ring();
    bench.timeout();
    bench.disk.unreadable = true;
    bench.recover();
    assert_eq!(bench.facts.last(), Some(&false));
    assert_eq!((bench.disk.tables(), bench.disk.is_idle()), (1, true));

    let lost = Member { folder: FolderId([99; 16]), ..member(1) };
    let mut bench = Bench::cold(ReplicaConfig { member: lost, ..config(1) }, FakeDisk::default());
    bench.ring = Arc::new(ring_of_one());
    bench.adopt_ring();
    bench.timeout();
    bench.recover();
    assert_eq!((bench.copies.serving, bench.copies.alone), (0, 8));
    bench.pass_ms(200_000);
    assert_eq!((bench.asked(), bench.copies.serving), (vec![], 0), "never served empty");
}

fn ring_of_one() -> Record {
    let mut alone = ring();
    alone.roster.retain(|entry| entry.member == member(1));
    let profiles = [alone.keyspaces[0].replicas.clone()];
    alone.old = anser_model::ring::Placement::compute(1, 8, &profiles, &alone.roster, None).unwrap();
    alone
}

#[test]
fn a_merge_that_finds_damage_loses_the_group_once() {
    let mut bench = with_a_table();
    bench.own(Feedback::GroupDamaged { group: 0 });
    bench.own(Feedback::GroupDamaged { group: 0 });
    assert_eq!(bench.copies.losses.get(&0), Some(&1));
    // What was under way when it was found is not looked at.
    bench.own(Feedback::TablesReplaced { removed: vec![TableId(1)], added: vec![] });
    bench.serve_disk();
    assert_eq!(bench.disk.tables(), 0);
}

#[test]
fn what_is_lost_again_and_again_is_refilled_ever_later() {
    let mut bench = with_a_table();
    let lose = |bench: &mut Bench, pauses_ms: u64| {
        bench.own(Feedback::GroupDamaged { group: 0 });
        bench.serve_disk();
        if pauses_ms > 0 {
            bench.pass_ms(pauses_ms - 1);
            assert!(bench.asked().is_empty(), "before {pauses_ms} ms");
        }
        bench.pass_ms(1);
        assert!(!bench.asked().is_empty(), "after {pauses_ms} ms");
    };
    for pauses_ms in [0, 100, 200, 400] {
        lose(&mut bench, pauses_ms);
    }
    for _ in 4..=70 {
        bench.own(Feedback::GroupDamaged { group: 0 });
        bench.serve_disk();
    }
    lose(&mut bench, 20_000);
}

#[test]
fn a_shard_whose_disk_has_failed_merges_no_page_and_asks_for_none() {
    let mut bench = Bench::warm(foreign_config(1), FakeDisk::default());
    bench.pass_ms(0);
    let asked = bench.asked();
    assert!(!asked.is_empty());
    bench.own(Feedback::DiskFailed);
    let own = u32::from(bench.place(&key("k")).partition.0);
    for envelope in &asked {
        let mine = (slot(envelope) == own).then(|| bench.entry("k", &foreign(2, "late")));
        bench.answer(envelope, page(Vec::from_iter(mine), false));
    }
    bench.pass_ms(10_000);
    assert_eq!((bench.asked(), bench.replica.memtable_bytes()), (vec![], 0));
}

/// Nodes 1 to 4, each in a data centre; three replicas in each, or as many as there are.
fn ring_of(dcs: [&str; 4], partitions: u16) -> Record {
    let first = ring().roster.remove(0);
    let entry = |(node, dc): (u8, &str)| RosterEntry {
        member: member(node),
        name: NodeName::new(format!("n{node}")).unwrap(),
        dc: DcName::new(dc).unwrap(),
        ..first.clone()
    };
    Record::genesis(Founding {
        cluster: ClusterId([9; 16]),
        cluster_name: "test".into(),
        roster: (1..).zip(dcs).map(entry).collect(),
        partitions,
        seed: 7,
        mac_key: [1; 32],
    })
    .unwrap()
}

/// Two of the three others are enough to meet every majority, but an operation that is under way may count on the lost copy, and
/// its state be on the way to those two.
#[test]
fn a_silent_replica_is_left_out_when_no_operation_can_last_that_long() {
    let mut bench = Bench::cold(foreign_config(1), FakeDisk::default());
    bench.ring = Arc::new(ring_of(["dc1", "dc1", "dc2", "dc2"], 8));
    bench.adopt_ring();
    bench.timeout();
    bench.recover();
    let silent = member(4).node;
    let pass = |bench: &mut Bench, ms: u64| {
        for _ in 0..ms / 100 {
            bench.pass_ms(100);
            others_are_empty(bench, |asked| asked.to.node == silent);
        }
    };
    pass(&mut bench, 89_000);
    assert_eq!((bench.copies.serving, bench.copies.joining.len()), (0, 8));
    pass(&mut bench, 12_000);
    assert_eq!((bench.copies.serving, bench.copies.joining.len()), (8, 0));
}

/// Two of three lost what they held: they wait for each other, and it is told who waits for whom.
#[test]
fn who_is_waited_for_is_told_once_it_has_given_nothing_for_long() {
    let mut bench = Bench::warm(foreign_config(1), FakeDisk::default());
    let lost = member(3).node;
    let pass = |bench: &mut Bench, ms: u64| {
        for _ in 0..ms / 100 {
            bench.pass_ms(100);
            for asked in others_are_empty(bench, |asked| asked.to.node == lost) {
                bench.answer(&asked, refused(Refusal::NotServing));
            }
        }
    };
    pass(&mut bench, 9_000);
    assert_eq!((bench.copies.joining.len(), bench.copies.waiting), (8, 0), "anybody may be away for a while");
    pass(&mut bench, 4_000);
    assert_eq!((bench.copies.joining.len(), bench.copies.waiting), (8, 8));
    assert_eq!(bench.copies.awaited, BTreeMap::from([(lost, 8)]), "the other one was read");
    pass(&mut bench, 100_000);
    assert_eq!((bench.copies.serving, bench.copies.waiting), (0, 8), "for ever");
    for _ in 0..30 {
        bench.pass_ms(100);
        others_are_empty(&mut bench, |_| false);
    }
    assert_eq!((bench.copies.serving, bench.copies.waiting), (8, 0));
    assert!(bench.copies.awaited.is_empty());
}

#[test]
fn partitions_that_cannot_be_refilled_keep_no_others_waiting() {
    let mut bench = Bench::cold(foreign_config(1), FakeDisk::default());
    let ring = ring_of(["dc1"; 4], 64);
    bench.ring = Arc::new(ring.clone());
    bench.adopt_ring();
    bench.timeout();
    bench.recover();
    let away = member(4);
    for _ in 0..50 {
        bench.pass_ms(100);
        for asked in others_are_empty(&mut bench, |asked| asked.to.node == away.node) {
            bench.answer(&asked, refused(Refusal::NotServing));
        }
    }
    let needs_it = |partition: u16| {
        let replicas = ring.old.replicas(&ring.keyspaces[0].replicas, PartitionId(partition));
        let all: Vec<Member> = replicas.collect();
        all.contains(&member(1)) && all.contains(&away)
    };
    let expected: BTreeSet<PartitionId> = (0..64).filter(|at| needs_it(*at)).map(PartitionId).collect();
    assert!(expected.len() > 8, "more than are worked on at once");
    assert_eq!((bench.copies.joining.clone(), bench.copies.serving > 8), (expected, true));
}
