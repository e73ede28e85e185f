//! One step at a time: which merge is begun, and when.

use super::*;
use anser_machine::Effect;

const SMALL: u64 = 1000;

fn at(ms: u64) -> Now {
    Now { tick: Tick(ms * 1000), wall_ms: 0 }
}

fn tables(ids: core::ops::Range<u64>, voids: u64) -> Arc<[TableSummary]> {
    ids.map(|id| TableSummary {
        id: TableId(id),
        group: 0,
        age: id,
        bytes: SMALL,
        entries: 10,
        voids,
        coarse: false,
    })
    .collect()
}

/// What is asked of the disk: shard, how many tables, duty.
fn asked(out: &mut Outbox) -> Vec<(u32, usize, u8)> {
    out.drain()
        .map(|effect| match effect {
            Effect::Disk(DiskRequest::Merge { shard, inputs, duty }) => (shard, inputs.len(), duty),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn learn(compactor: &mut Compactor, ms: u64, shard: u32, tables: Arc<[TableSummary]>) {
    let mut out = Outbox::new();
    compactor.handle(at(ms), Event::Fact(Fact::TablesChanged { shard, tables }), &mut out);
    assert!(out.is_empty(), "facts come many at once; it looks when they are all in");
}

/// Lets time pass until the compactor wants to be called, and calls it early and twice.
fn wait(compactor: &mut Compactor) -> (u64, Vec<(u32, usize, u8)>) {
    let (tick, _) = compactor.next_timeout().unwrap();
    let mut out = Outbox::new();
    if let Some(early) = tick.0.checked_sub(1) {
        compactor.handle_timeout(Now { tick: Tick(early), wall_ms: 0 }, &mut out);
        assert!(out.is_empty());
    }
    let now = Now { tick, wall_ms: 0 };
    compactor.handle_timeout(now, &mut out);
    compactor.handle_timeout(now, &mut out);
    (tick.0 / 1000, asked(&mut out))
}

#[test]
fn one_merge_at_a_time_the_most_useful_first() {
    let mut compactor = Compactor::new();
    assert_eq!(compactor.next_timeout(), None);
    learn(&mut compactor, 1, 0, tables(0..8, 0));
    learn(&mut compactor, 1, 1, tables(0..9, 0));
    assert_eq!(wait(&mut compactor), (1, vec![(1, 9, DUTY)]));
    assert_eq!(compactor.next_timeout(), None, "the disk is busy");
    learn(&mut compactor, 2, 0, tables(0..30, 0));
    assert_eq!(wait(&mut compactor), (2, vec![]));
    let mut out = Outbox::new();
    compactor.handle(at(3), Event::Own(Feedback::Merged { shard: 1, bytes: 5 }), &mut out);
    let effects: Vec<Effect> = out.drain().collect();
    assert!(matches!(effects[..], [Effect::Count(Count::Compacted { bytes: 5 })]), "{effects:?}");
    learn(&mut compactor, 3, 1, tables(8..9, 0));
    assert_eq!(wait(&mut compactor), (3 + PAUSE_MS, vec![(0, 30, DUTY_URGENT)]));
}

#[test]
fn what_can_not_be_done_is_tried_again_after_a_while() {
    let mut compactor = Compactor::new();
    learn(&mut compactor, 1, 0, tables(0..8, 0));
    assert_eq!(wait(&mut compactor).1.len(), 1);
    let mut out = Outbox::new();
    compactor.handle(at(2), Event::Own(Feedback::Merged { shard: 0, bytes: 0 }), &mut out);
    assert!(out.is_empty(), "nothing was merged, so nothing is counted");
    assert_eq!(wait(&mut compactor), (2 + PAUSE_AFTER_NOTHING_MS, vec![(0, 8, DUTY)]));
}

/// When a shard of three tables, written at 1 ms, is tidied up if these are its tables from `learned_ms` on.
fn tidied_ms(learned_ms: u64, learned: Arc<[TableSummary]>) -> u64 {
    let mut compactor = Compactor::new();
    learn(&mut compactor, 1, 0, tables(0..3, 0));
    assert_eq!(wait(&mut compactor), (1, vec![]));
    learn(&mut compactor, learned_ms, 0, learned);
    loop {
        let (ms, asked) = wait(&mut compactor);
        assert!(ms <= learned_ms + IDLE_AFTER_MS + LOOK_EVERY_MS);
        if !asked.is_empty() {
            assert_eq!(asked, [(0, 3, DUTY)]);
            return ms;
        }
    }
}

#[test]
fn a_shard_is_tidied_up_when_nothing_was_written_for_a_while() {
    let late = IDLE_AFTER_MS - 1000;
    // What a merge made is not younger than what it was made of.
    assert_eq!(tidied_ms(late, tables(0..3, 0)), late + LOOK_EVERY_MS);
    assert_eq!(tidied_ms(late, tables(1..4, 0)), late + IDLE_AFTER_MS);
}
