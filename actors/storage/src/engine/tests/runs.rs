//! Pages and batches: what they ask for, and that they show one moment.

use super::*;

/// A batch as the disk answers it; `meanwhile` is called before each run is handed over, with the number of it.
pub(super) fn batch(
    model: &mut Model,
    numbers: &[u16],
    meanwhile: &mut dyn FnMut(&mut Model, usize),
) -> (Vec<Option<Bytes>>, usize) {
    let keys = numbers.iter().map(|number| key(*number)).collect();
    let mut batch = Batch::new(keys).unwrap();
    let mut fetches = 0;
    for _ in 0..1000 {
        let mut out = Outbox::new();
        match model.engine.batch(&mut batch, &mut out) {
            Batched::Done(found) => return (found.into_iter().map(|found| found.state).collect(), fetches),
            Batched::Fetch(runs) => {
                assert!(!runs.is_empty());
                for run in runs {
                    fetches += 1;
                    if model.store.has(run.table()) {
                        let contents = model.store.fetch_run(&run);
                        meanwhile(model, fetches);
                        batch.hold(&run, contents);
                    }
                }
            }
            Batched::Damaged { table, block } => panic!("{table:?} {block}"),
        }
    }
    panic!("a batch that does not end");
}

/// Keys 0, 3, 6 and so on, all of one partition, in one table of many blocks.
fn settled(keys: u16, cache_bytes: usize) -> Model {
    let limits = Limits { memtable_bytes: 300_000, frozen_max: 2, cache_bytes };
    let mut model = Model::new(limits);
    (0..keys).for_each(|number| model.insert(number * 3, 400));
    // What makes the memtable due is of another group.
    model.insert(1, 300_000);
    model.flush();
    assert_eq!(model.store.manifest.tables.len(), 2);
    model
}

fn page(model: &mut Model, scan: &mut Scan) -> (Page, Vec<usize>) {
    let mut rounds = Vec::new();
    loop {
        match model.engine.scan(scan) {
            Scanned::Page(page) => return (page, rounds),
            Scanned::Fetch(runs) => {
                let mut blocks = 0;
                for run in runs {
                    let contents = model.store.fetch_run(&run);
                    blocks += contents.len();
                    scan.hold(&run, contents);
                }
                rounds.push(blocks);
            }
            Scanned::Damaged { .. } => panic!("damaged"),
        }
    }
}

#[test]
fn a_page_is_fetched_at_once_and_goes_on_where_the_last_one_ended() {
    let mut model = settled(300, 100_000);
    let mut after = None;
    let (mut pages, mut keys, mut blocks) = (0, 0, 0);
    loop {
        let (page, rounds) = page(&mut model, &mut Scan::new(PartitionId(0), after.as_ref(), 1000, 20_000));
        assert!(rounds.len() <= 1, "{rounds:?}");
        pages += 1;
        keys += page.entries.len();
        blocks += rounds.iter().sum::<usize>();
        after = page.entries.into_iter().next_back().map(|(key, _)| key);
        if !page.more {
            break;
        }
    }
    let table = model.store.manifest.tables.iter().find(|table| table.group == 0).unwrap();
    let all = table.meta_at as usize;
    assert_eq!((keys, pages), (300, 8));
    assert_eq!(blocks, all, "no block is fetched twice");
}

#[test]
fn a_page_that_is_here_in_part_asks_for_the_rest() {
    let fetched = |model: &mut Model| page(model, &mut Scan::new(PartitionId(0), None, 1000, 20_000)).1;
    let all = fetched(&mut settled(300, 200_000));
    let mut model = settled(300, 200_000);
    let mut ordered: Vec<u16> = (0..300).map(|number| number * 3).collect();
    ordered.sort_by_key(|number| key(*number));
    batch(&mut model, &ordered[..30], &mut |_, _| ());
    let rest = fetched(&mut model);
    assert!(rest.len() == 1 && 2 * rest[0] <= all[0], "{rest:?} of {all:?}");
}

#[test]
fn a_page_of_a_table_that_has_little_of_it_asks_for_little() {
    let mut model = settled(300, 0);
    // Newer states of a few keys, in a table of their own.
    (0..3).for_each(|number| model.insert(number * 3, 10));
    model.insert(1, 300_000);
    model.flush();
    let (page, rounds) = page(&mut model, &mut Scan::new(PartitionId(0), None, 1000, 20_000));
    assert_eq!(page.entries[0].1, state(0, 10));
    assert_eq!(rounds.len(), 1);
    let most = 20_000_usize.div_ceil(crate::table::BLOCK_BYTES / 4 * 3) + 5;
    assert!(rounds[0] <= most, "{rounds:?} of {most}");
}

#[test]
fn voids_make_a_page_ask_for_more_and_more() {
    let mut model = settled(300, 0);
    // All is written again, small: a page of it goes through all of the older table.
    (0..300).for_each(|number| model.insert(number * 3, 1));
    model.insert(1, 300_000);
    model.flush();
    let (page, rounds) = page(&mut model, &mut Scan::new(PartitionId(0), None, 1000, 27_000));
    assert_eq!(page.entries.len(), 300);
    assert!(rounds.len() <= 6, "{rounds:?}");
}

#[test]
fn a_long_run_is_asked_for_in_two_halves_and_a_short_one_at_once() {
    let mut model = settled(300, 0);
    let mut runs_of =
        |bytes_max: usize| match model.engine.scan(&mut Scan::new(PartitionId(0), None, 1000, bytes_max)) {
            Scanned::Fetch(runs) => {
                runs.iter().map(|run| model.store.fetch_run(run).len()).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
    assert_eq!(runs_of(20_000).len(), 1);
    let halves = runs_of(60_000);
    assert_eq!(halves.len(), 2);
    assert!(halves[0].abs_diff(halves[1]) <= 1, "{halves:?}");
    let (page, rounds) = page(&mut model, &mut Scan::new(PartitionId(0), None, 1000, 60_000));
    assert_eq!((page.entries.len(), rounds.len()), (125, 1), "both halves are of the page");
}

#[test]
fn a_run_ends_with_its_bytes() {
    let limits = Limits { memtable_bytes: 900_000, frozen_max: 2, cache_bytes: 0 };
    let mut model = Model::new(limits);
    (0..30).for_each(|number| model.insert(number * 3, 40_000));
    model.flush();
    let (page, rounds) = page(&mut model, &mut Scan::new(PartitionId(0), None, 1000, 600_000));
    assert_eq!(page.entries.len(), 15);
    // Of each half.
    let most = 2 * (anser_machine::FETCH_BYTES_MAX / 40_000 + 1);
    assert!(rounds.iter().all(|blocks| *blocks <= most), "{rounds:?} of {most}");
}

#[test]
fn a_batch_of_neighbours_is_one_fetch_and_repeats_come_from_the_cache() {
    let mut model = settled(300, 200_000);
    let mut ordered: Vec<u16> = (0..300).map(|number| number * 3).collect();
    ordered.sort_by_key(|number| key(*number));
    let numbers: Vec<u16> = ordered[100..140].iter().rev().chain([&ordered[120]]).copied().collect();
    let expected: Vec<Option<Bytes>> = numbers.iter().map(|number| Some(state(*number, 400))).collect();
    assert_eq!(batch(&mut model, &numbers, &mut |_, _| ()), (expected.clone(), 1));
    assert_eq!(batch(&mut model, &numbers, &mut |_, _| ()), (expected, 0));
    // Far apart, and one that is not there.
    let (found, fetches) = batch(&mut model, &[ordered[0], ordered[150], ordered[299], 900], &mut |_, _| ());
    let whole = |place: usize| Some(state(ordered[place], 400));
    assert_eq!(found, [whole(0), whole(150), whole(299), None]);
    assert!((2..=4).contains(&fetches), "{fetches}");
}

#[test]
fn a_batch_shows_one_moment_and_says_what_is_not_durable_yet() {
    let mut model = settled(300, 0);
    let (found, _) = batch(&mut model, &[0, 600], &mut |model, _| {
        model.insert(0, 7);
        model.insert(600, 8);
    });
    assert_eq!(found, [Some(state(0, 7)), Some(state(600, 8))], "both as of the moment it was given");
    let mut out = Outbox::new();
    let newest = Lsn(model.store.log.len() as u64);
    let Batched::Done(found) = model.engine.batch(&mut Batch::new(vec![key(600)]).unwrap(), &mut out) else {
        panic!("it is in memory");
    };
    assert_eq!(found, [Found { state: Some(state(600, 8)), lsn: Some(newest) }]);
    assert!(Batch::new((0..=1024).map(key).collect()).is_none(), "one too many");
}

#[test]
fn a_block_that_is_none_makes_a_batch_and_a_page_damaged() {
    let mut model = settled(20, 0);
    let mut asked = Batch::new(vec![key(3)]).unwrap();
    let mut out = Outbox::new();
    let Batched::Fetch(runs) = model.engine.batch(&mut asked, &mut out) else { panic!("it is in a table") };
    let [run] = runs.as_slice() else { panic!("{runs:?}") };
    asked.hold(run, vec![Bytes::from_static(b"no block")]);
    let damaged = model.engine.batch(&mut asked, &mut out);
    assert!(matches!(damaged, Batched::Damaged { table, .. } if table == run.table()), "{damaged:?}");
    let mut scan = Scan::new(PartitionId(0), None, 10, 1000);
    let Scanned::Fetch(runs) = model.engine.scan(&mut scan) else { panic!("it is in a table") };
    scan.hold(&runs[0], vec![Bytes::from_static(b"no block")]);
    let damaged = model.engine.scan(&mut scan);
    assert!(matches!(damaged, Scanned::Damaged { table, .. } if table == run.table()), "{damaged:?}");
}
