//! The pursuit, decision by decision.

use super::*;
use anser_model::Hlc;

const SECOND: Duration = Duration::from_secs(1);

fn candidate(step: Move) -> (usize, bool) {
    match step {
        Move::Try { candidate, retry, .. } => (candidate, retry),
        Move::Wait(_) | Move::GiveUp(_) => panic!("{step:?}"),
    }
}

fn gives_up(step: Move) -> Ending {
    match step {
        Move::GiveUp(ending) => ending,
        Move::Try { .. } | Move::Wait(_) => panic!("{step:?}"),
    }
}

#[test]
fn a_silent_node_leaves_time_for_the_others() {
    let mut pursuit = Pursuit::new(3, 0);
    let mut left = Duration::from_secs(2);
    let mut tried = 0;
    while let Move::Try { slice, .. } = pursuit.next(left, 0.5) {
        tried += 1;
        left -= slice;
        if pursuit.answered(Answer::Unsure { acked: 0, needed: 0, why: "silent" }).is_some() || tried == 3 {
            break;
        }
    }
    assert_eq!(tried, 3);
    assert!(left > Duration::from_millis(300), "{left:?}");
}

#[test]
fn a_large_value_has_the_time_it_takes() {
    let slice = |bytes| match Pursuit::new(3, bytes).next(SECOND * 2, 0.0) {
        Move::Try { slice, .. } => slice,
        step => panic!("{step:?}"),
    };
    assert_eq!(slice(100), Duration::from_millis(800));
    assert_eq!(slice(16 << 20), Duration::from_millis(1600));
    assert_eq!(slice(64 << 20), Duration::from_secs(2));
}

#[test]
fn a_long_time_out_does_not_make_a_silent_node_cost_much() {
    let mut pursuit = Pursuit::new(3, 0);
    let mut slices = Vec::new();
    for _ in 0..5 {
        match pursuit.next(SECOND * 300, 0.0) {
            Move::Try { slice, .. } => slices.push(slice.as_millis()),
            Move::Wait(_) => {}
            step => panic!("{step:?}"),
        }
        pursuit.answered(Answer::Unsure { acked: 0, needed: 0, why: "silent" });
    }
    assert_eq!(slices, [800, 1600, 3200, 5000]);
}

#[test]
fn a_node_known_to_be_quick_is_noticed_soon_when_it_goes_silent() {
    for (usual_ms, slice_ms) in [(0, 800), (1, 150), (10, 200), (500, 800)] {
        let mut pursuit = Pursuit::new(3, 0).usually(Duration::from_millis(usual_ms));
        let slice = match pursuit.next(SECOND * 10, 0.0) {
            Move::Try { slice, .. } => slice,
            step => panic!("{step:?}"),
        };
        assert_eq!(slice, Duration::from_millis(slice_ms), "{usual_ms}");
    }
}

#[test]
fn unreachable_nodes_leave_the_write_undone() {
    let mut pursuit = Pursuit::new(2, 0);
    assert_eq!(candidate(pursuit.next(SECOND, 0.0)), (0, false));
    pursuit.answered(Answer::NotSent);
    assert_eq!(candidate(pursuit.next(SECOND, 0.0)), (1, false));
    pursuit.answered(Answer::NotSent);
    assert_eq!(pursuit.next(SECOND, 0.0), Move::Wait(BACKOFF_FIRST / 2));
    assert_eq!(candidate(pursuit.next(SECOND, 0.0)), (0, false));
    pursuit.answered(Answer::NotSent);
    let ending = gives_up(pursuit.next(Duration::ZERO, 0.0));
    assert_eq!((ending.maybe, ending.cause), (false, Cause::Unreachable { tried: 2 }));
}

#[test]
fn after_an_unseen_end_every_attempt_is_a_retry_and_every_end_unknown() {
    let mut pursuit = Pursuit::new(2, 0);
    pursuit.answered(Answer::Unsure { acked: 1, needed: 2, why: "silent" });
    assert_eq!(candidate(pursuit.next(SECOND, 0.0)), (1, true));
    pursuit.answered(Answer::Denied(Failure::TooManySiblings));
    let ending = gives_up(pursuit.next(SECOND, 0.0));
    assert!(ending.maybe);
    assert_eq!((ending.acked, ending.needed), (1, 2));
}

#[test]
fn overload_is_waited_out_longer_and_longer_but_boundedly() {
    let mut pursuit = Pursuit::new(3, 0);
    let mut last = Duration::ZERO;
    for _ in 0..20 {
        pursuit.answered(Answer::Overloaded);
        match pursuit.next(SECOND * 60, 1.0) {
            Move::Wait(wait) => {
                assert!(wait >= last && wait <= BACKOFF_MAX);
                last = wait;
            }
            step => panic!("{step:?}"),
        }
    }
    assert_eq!(last, BACKOFF_MAX);
    assert_eq!(pursuit.refused(), 20);
    assert_eq!(gives_up(pursuit.next(Duration::ZERO, 0.0)).cause, Cause::Overloaded);
}

#[test]
fn two_nodes_must_say_that_too_few_replicas_are_up() {
    let mut pursuit = Pursuit::new(3, 0);
    pursuit.answered(Answer::Unavailable { needed: 2, alive: 1 });
    assert_eq!(candidate(pursuit.next(SECOND, 0.0)), (1, false));
    pursuit.answered(Answer::Unavailable { needed: 2, alive: 1 });
    let ending = gives_up(pursuit.next(SECOND, 0.0));
    assert_eq!((ending.maybe, ending.cause), (false, Cause::Unavailable { needed: 2, alive: 1 }));
}

#[test]
fn a_denial_ends_it_at_once() {
    let mut pursuit = Pursuit::new(3, 0);
    pursuit.answered(Answer::Denied(Failure::UnknownKeyspace));
    let ending = gives_up(pursuit.next(SECOND, 0.0));
    assert_eq!((ending.maybe, ending.cause), (false, Cause::Denied(Failure::UnknownKeyspace)));
}

#[test]
fn an_outcome_is_handed_over() {
    let outcome = Outcome::Failed(Failure::BadClock { node_ms: Hlc::from_ms(1).ms() });
    assert_eq!(Pursuit::new(1, 0).answered(Answer::Done(outcome.clone())), Some(outcome));
}

#[test]
fn without_candidates_there_is_nothing_to_pursue() {
    assert_eq!(gives_up(Pursuit::new(0, 0).next(SECOND, 0.0)).cause, Cause::Unreachable { tried: 0 });
}
