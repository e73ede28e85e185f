//! Pages of what is in tables: read ahead of, and no block twice.

use super::*;
use anser_machine::TableId;
use anser_proto::replicate::PageEntry;

const KEYS: usize = 60;

/// A table with keys of one partition, of several pages; and their names.
fn with_pages() -> (Bench, Vec<String>) {
    let mut config = config(1);
    config.limits.engine = anser_storage::Limits { memtable_bytes: 100_000, frozen_max: 2, cache_bytes: 0 };
    config.limits.page_bytes = 20_000;
    let mut bench = Bench::warm(config, FakeDisk::default());
    let partition = bench.place(&key("k")).partition;
    let names = (0..).map(|number| format!("k{number}"));
    let of_it = names.filter(|name| bench.place(&key(name)).partition == partition);
    let names: Vec<String> = of_it.take(KEYS).collect();
    for (seq, name) in (1..).zip(&names) {
        // Little of it can be compressed away: pages have several blocks.
        let value: String =
            (0..2000_u32).map(|place| char::from(33 + (place * seq as u32 % 89) as u8)).collect();
        bench.mint(name, write(seq, &value, Seen::Present));
    }
    bench.sync();
    bench.serve_disk();
    assert_eq!(bench.disk.tables(), 1);
    (bench, names)
}

/// Carries all fetches out, and notes which blocks were asked for.
fn serve(bench: &mut Bench, fetched: &mut Vec<(TableId, u32)>) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(asked) = bench.disk.asked.front() {
        let DiskRequest::Fetch { table, block, count, .. } = asked else { panic!("{asked:?}") };
        fetched.extend((*block..block + count).map(|block| (*table, block)));
        let feedback = bench.disk.serve_one().unwrap();
        answers.extend(bench.own(feedback));
    }
    answers
}

fn entries(answers: &[Answer], asked: u64) -> (Vec<PageEntry>, bool) {
    match answers {
        [(seq, Body::Replicated(ReplicaReply::Page { entries, more }))] if *seq == asked => {
            (entries.clone(), *more)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_partition_is_shown_page_by_page_and_no_block_is_read_twice() {
    let (mut bench, names) = with_pages();
    let (mut after, mut shown, mut fetched) = (None, Vec::new(), Vec::new());
    for page in 0.. {
        let (asked, mut answers) = bench.ask_page("k", after);
        answers.extend(serve(&mut bench, &mut fetched));
        let (entries, more) = entries(&answers, asked);
        after = entries.last().map(|entry| entry.place.clone());
        shown.extend(entries.into_iter().map(|entry| entry.place.key));
        if !more {
            assert!(page > 3, "{page}");
            break;
        }
    }
    shown.sort();
    let mut expected: Vec<Key> = names.iter().map(|name| key(name)).collect();
    expected.sort();
    assert_eq!(shown, expected);
    let asked = fetched.len();
    fetched.sort();
    fetched.dedup();
    assert_eq!(fetched.len(), asked, "a block was asked for twice");
}

#[test]
fn a_page_waits_for_blocks_that_were_asked_for_ahead() {
    let (mut bench, _) = with_pages();
    let (first, answers) = bench.ask_page("k", None);
    assert_eq!((answers, bench.disk.asked.len()), (vec![], 1));
    let feedback = bench.disk.serve_one().unwrap();
    // With the answer it reads ahead.
    let (shown, more) = entries(&bench.own(feedback), first);
    let ahead = bench.disk.asked.pop_front().unwrap();
    assert!(more && bench.disk.asked.is_empty());
    let after = shown.last().map(|entry| entry.place.clone());
    let (second, answers) = bench.ask_page("k", after);
    assert_eq!((answers, bench.disk.asked.len()), (vec![], 0), "it has asked for them");
    bench.disk.asked.push_back(ahead);
    let feedback = bench.disk.serve_one().unwrap();
    let (next, _) = entries(&bench.own(feedback), second);
    assert!(!next.is_empty() && next[0] != shown[0]);
}

#[test]
fn scans_that_nobody_goes_on_with_give_way_and_a_late_answer_for_one_is_no_harm() {
    let (mut bench, _) = with_pages();
    let mut late = Vec::new();
    for _ in 0..40 {
        let (asked, _) = bench.ask_page("k", None);
        let feedback = bench.disk.serve_one().unwrap();
        entries(&bench.own(feedback), asked);
        late.extend(bench.disk.asked.drain(..));
    }
    assert_eq!(late.len(), 40, "each read ahead");
    for request in late {
        bench.disk.asked.push_back(request);
        let feedback = bench.disk.serve_one().unwrap();
        assert_eq!(bench.own(feedback), []);
    }
    assert!(bench.replica.scans_kept() <= 12);
    bench.pass_ms(11_000);
    let (asked, _) = bench.ask_page("k", None);
    let feedback = bench.disk.serve_one().unwrap();
    entries(&bench.own(feedback), asked);
    assert_eq!(bench.replica.scans_kept(), 1, "the others have waited for long");
}
