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

/// What a page asked for: blocks that it needed, round by round, and all with those ahead of it.
#[derive(Debug, Default)]
struct Asked {
    needed: Vec<usize>,
    all: usize,
}

fn page(model: &mut Model, scan: &mut Scan) -> (Page, Asked) {
    let mut asked = Asked::default();
    loop {
        match model.engine.scan(scan) {
            Scanned::Page(page) => return (page, asked),
            Scanned::Fetch(runs) => {
                if !scan.is_ready() {
                    asked.needed.push(scan.needs.len());
                }
                for run in runs {
                    let contents = model.store.fetch_run(&run);
                    asked.all += contents.len();
                    scan.hold(&run, contents);
                }
            }
            Scanned::Damaged { .. } => panic!("damaged"),
        }
    }
}

fn blocks_of_group_0(model: &Model) -> usize {
    let table = model.store.manifest.tables.iter().find(|table| table.group == 0).unwrap();
    table.meta_at as usize
}

#[test]
fn pages_are_read_ahead_of_and_no_block_is_fetched_twice() {
    let mut model = settled(300, 0);
    let mut scan = Scan::new(PartitionId(0), None, 1000, 20_000);
    let (mut pages, mut keys, mut blocks) = (0, 0, 0);
    loop {
        let (page, asked) = page(&mut model, &mut scan);
        // The first one has nobody to read ahead of it.
        assert_eq!(asked.needed.len(), usize::from(pages == 0), "{asked:?}");
        pages += 1;
        keys += page.entries.len();
        blocks += asked.all;
        if !page.more {
            break;
        }
    }
    assert_eq!((keys, pages), (300, 8));
    assert_eq!(blocks, blocks_of_group_0(&model));
}

#[test]
fn a_page_waits_for_what_is_read_ahead_and_asks_for_it_once() {
    let mut model = settled(300, 0);
    let mut scan = Scan::new(PartitionId(0), None, 1000, 20_000);
    let ask = |model: &mut Model, scan: &mut Scan| match model.engine.scan(scan) {
        Scanned::Fetch(runs) => runs,
        other => panic!("{other:?}"),
    };
    let own = ask(&mut model, &mut scan);
    assert_eq!((own.len(), scan.is_ready()), (1, false));
    scan.hold(&own[0], model.store.fetch_run(&own[0]));
    let ahead = ask(&mut model, &mut scan);
    assert_eq!((ahead.len(), scan.is_ready()), (1, true), "the page needs no more");
    let Scanned::Page(first) = model.engine.scan(&mut scan) else { panic!("its blocks are here") };
    assert_eq!((ask(&mut model, &mut scan), scan.is_ready()), (vec![], false), "it was asked for ahead");
    scan.hold(&ahead[0], model.store.fetch_run(&ahead[0]));
    let further = ask(&mut model, &mut scan);
    let before: Vec<_> = own.iter().chain(&ahead).flat_map(Run::places).collect();
    assert!(further.iter().flat_map(Run::places).all(|block| !before.contains(&block)), "{further:?}");
    let Scanned::Page(second) = model.engine.scan(&mut scan) else { panic!("its blocks are here") };
    let mut anew = Scan::new(PartitionId(0), first.entries.last().map(|(key, _)| key), 1000, 20_000);
    assert_eq!(second, page(&mut model, &mut anew).0);
}

#[test]
fn pages_of_large_states_are_held_one_by_one() {
    let limits = Limits { memtable_bytes: 12_000_000, frozen_max: 2, cache_bytes: 0 };
    let mut model = Model::new(limits);
    (0..40).for_each(|number| model.insert(number * 3, 300_000));
    model.flush();
    let mut scan = Scan::new(PartitionId(0), None, 1000, 128 << 10);
    let (mut fetches, mut keys, mut more) = (0, 0, true);
    while more {
        match model.engine.scan(&mut scan) {
            Scanned::Fetch(runs) => {
                for run in runs {
                    fetches += 1;
                    scan.hold(&run, model.store.fetch_run(&run));
                }
            }
            Scanned::Page(page) => (keys, more) = (keys + page.entries.len(), page.more),
            Scanned::Damaged { .. } => panic!("damaged"),
        }
        assert!(scan.held.bytes() <= 4 * 301_000, "{} bytes are held", scan.held.bytes());
    }
    assert_eq!(keys, 40);
    assert!(fetches <= 50, "{fetches}");
}

#[test]
fn a_page_that_is_here_in_part_asks_for_the_rest() {
    let fetched = |model: &mut Model| page(model, &mut Scan::new(PartitionId(0), None, 1000, 20_000)).1;
    let all = fetched(&mut settled(300, 200_000));
    let mut model = settled(300, 200_000);
    let mut ordered: Vec<u16> = (0..300).map(|number| number * 3).collect();
    ordered.sort_by_key(|number| key(*number));
    batch(&mut model, &ordered[..40], &mut |_, _| ());
    let rest = fetched(&mut model);
    assert!(rest.needed.len() == 1 && 2 * rest.needed[0] <= all.needed[0], "{rest:?} of {all:?}");
}

#[test]
fn a_page_of_a_table_that_has_little_of_it_asks_for_little() {
    let mut model = settled(300, 0);
    // Newer states of a few keys, in a table of their own.
    (0..3).for_each(|number| model.insert(number * 3, 10));
    model.insert(1, 300_000);
    model.flush();
    let (page, asked) = page(&mut model, &mut Scan::new(PartitionId(0), None, 1000, 20_000));
    assert_eq!(page.entries[0].1, state(0, 10));
    let most = 20_000_usize.div_ceil(crate::table::BLOCK_BYTES / 4 * 3) + 5;
    assert!(asked.needed.len() == 1 && asked.needed[0] <= most && asked.all <= 2 * most, "{asked:?}");
}

#[test]
fn voids_make_a_page_ask_for_more_and_more() {
    let mut model = settled(300, 0);
    // All is written again, small: a page of it goes through all of the older table.
    (0..300).for_each(|number| model.insert(number * 3, 1));
    model.insert(1, 300_000);
    model.flush();
    let (page, asked) = page(&mut model, &mut Scan::new(PartitionId(0), None, 1000, 27_000));
    assert_eq!(page.entries.len(), 300);
    assert!(asked.needed.len() <= 6, "{asked:?}");
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
    let (page, asked) = page(&mut model, &mut Scan::new(PartitionId(0), None, 1000, 60_000));
    let of_page = (page.entries.len(), asked.needed.as_slice());
    assert_eq!(of_page, (125, &[halves[0] + halves[1]][..]), "both halves are of the page");
}

#[test]
fn a_run_ends_with_its_bytes() {
    let limits = Limits { memtable_bytes: 900_000, frozen_max: 2, cache_bytes: 0 };
    let mut model = Model::new(limits);
    (0..30).for_each(|number| model.insert(number * 3, 40_000));
    model.flush();
    let mut scan = Scan::new(PartitionId(0), None, 1000, 600_000);
    let Scanned::Fetch(runs) = model.engine.scan(&mut scan) else { panic!("it is in a table") };
    let most = anser_machine::FETCH_BYTES_MAX / 40_000 + 1;
    for run in runs {
        let contents = model.store.fetch_run(&run);
        assert!(contents.len() <= most && run.places().count() > most, "{} of {run:?}", contents.len());
        scan.hold(&run, contents);
    }
    assert!(scan.is_ready(), "what did not come is asked for anew");
    assert_eq!(page(&mut model, &mut scan).0.entries.len(), 15);
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
