//! Tests of the checker: small histories with known verdicts, random ones that are linearizable by their making, and the
//! same ones with one answer changed.

use super::{Action, Event, Verdict, check};
use crate::dice::Dice;
use Action::{CompareAndSet, Read, Write};

const BUDGET: usize = 1_000_000;

fn event(action: Action, begun: u64, ended: u64) -> Event {
    Event { key: 1, action, begun, ended: (ended > 0).then_some(ended) }
}

#[test]
fn small_histories_have_their_known_verdicts() {
    let fine = Verdict::Linearizable;
    let broken = Verdict::Broken(1);
    let table: &[(&str, &[Event], Verdict)] = &[
        ("nothing", &[], fine),
        ("a read of a write", &[event(Write(Some(1)), 1, 2), event(Read(Some(1)), 3, 4)], fine),
        ("a stale read", &[event(Write(Some(1)), 1, 2), event(Read(None), 3, 4)], broken),
        (
            "a read beside a write sees either",
            &[event(Write(Some(1)), 1, 9), event(Read(None), 2, 3), event(Read(Some(1)), 4, 5)],
            fine,
        ),
        (
            "reads go back",
            &[event(Write(Some(1)), 1, 9), event(Read(Some(1)), 2, 3), event(Read(None), 4, 5)],
            broken,
        ),
        (
            "a write that nobody saw the end of may take effect late",
            &[event(Write(Some(1)), 1, 0), event(Read(None), 2, 3), event(Read(Some(1)), 4, 5)],
            fine,
        ),
        ("or never", &[event(Write(Some(1)), 1, 0), event(Read(None), 2, 3)], fine),
        ("but not before it began", &[event(Read(Some(1)), 1, 2), event(Write(Some(1)), 3, 0)], broken),
        (
            "two swaps of one value",
            &[event(CompareAndSet(None, Some(1)), 1, 9), event(CompareAndSet(None, Some(2)), 2, 8)],
            broken,
        ),
        (
            "two swaps in a row",
            &[event(CompareAndSet(Some(2), Some(1)), 1, 9), event(CompareAndSet(None, Some(2)), 2, 8)],
            fine,
        ),
    ];
    for (what, history, verdict) in table {
        assert_eq!(check(history, BUDGET), *verdict, "{what}");
    }
}

#[test]
fn keys_are_judged_apart_and_an_exhausted_budget_is_no_pass() {
    let other = Event { key: 2, ..event(Read(Some(7)), 5, 6) };
    assert_eq!(check(&[event(Write(Some(7)), 1, 2), other], BUDGET), Verdict::Broken(2));
    let history: Vec<Event> = (0..40).map(|n| event(Write(Some(n)), 1, 100)).collect();
    assert_eq!(check(&history, 3), Verdict::Unknown(1));
}

/// A history that a real register gave: each operation took effect at one moment between its beginning and its end.
fn real(dice: &mut Dice, count: u64) -> Vec<Event> {
    let mut effects: Vec<(u64, u64, u64)> = (0..count)
        .map(|_| {
            let at = dice.between(100, 100 * count);
            (at, at - dice.below(90), at + 1 + dice.below(90))
        })
        .collect();
    effects.sort_unstable();
    let mut held = None;
    let mut history = Vec::new();
    for (number, (_, begun, ended)) in effects.into_iter().enumerate() {
        let action = match dice.below(3) {
            0 => Write(Some(number as u64)),
            1 => Read(held),
            _ => CompareAndSet(held, Some(number as u64)),
        };
        held = super::apply(held, action).expect("it happened");
        history.push(event(action, begun, ended));
    }
    history
}

#[test]
fn real_histories_pass_and_altered_ones_do_not() {
    let mut caught = 0;
    for seed in 0..100 {
        let mut dice = Dice::new(seed, "linear");
        let mut history = real(&mut dice, 200);
        assert_eq!(check(&history, BUDGET), Verdict::Linearizable, "seed {seed}");
        let read = history.iter_mut().filter(|event| matches!(event.action, Read(_))).nth(20);
        read.expect("a third are reads").action = Read(Some(1_000_000));
        caught += u32::from(check(&history, BUDGET) == Verdict::Broken(1));
    }
    assert_eq!(caught, 100);
}
