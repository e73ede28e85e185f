//! "Not sent" is only said when nothing left: whatever was said so of, nobody ever took.

use super::wire::Weather;
use super::{ms, pass, virtually};
use crate::tests::harness::{Node, now, put};
use crate::{CallError, Source};
use anser_proto::{Body, Envelope, Refusal, Role};
use std::collections::BTreeSet;

/// Rounds of a story; in each the peer is cut off, or killed and started anew, or left alone.
const ROUNDS: u64 = 12;
/// Bursts of requests in a round, and requests in a burst at most.
const BURSTS: u64 = 40;
const BURST_MAX: u64 = 6;

/// What the sender was told of its requests.
#[derive(Default)]
struct Books {
    not_sent: BTreeSet<u64>,
    answered: BTreeSet<u64>,
    /// What any process of the peer took.
    taken: BTreeSet<u64>,
    sent: u64,
}

impl Books {
    fn hear(&mut self, answers: Vec<(Source, Envelope)>) {
        for (source, answer) in answers {
            let fresh = match (source, &answer.body) {
                (Source::Own, Body::Refused(Refusal::NotSent)) => self.not_sent.insert(answer.op.seq),
                (Source::Node(_), Body::Replicated(_)) => self.answered.insert(answer.op.seq),
                other => panic!("{other:?}"),
            };
            assert!(fresh, "{} ended twice", answer.op.seq);
        }
    }

    /// Nothing that was taken, or answered, was called not sent.
    fn check(&self, seed: u64) {
        assert!(
            self.not_sent.is_disjoint(&self.taken),
            "{seed}: {:?}",
            self.not_sent.intersection(&self.taken)
        );
        assert!(self.answered.is_subset(&self.taken), "{seed}");
    }
}

/// A request, small or large, whose asker is patient or not.
fn request(a: &Node, b: &Node, seq: u64, dice: &mut fastrand::Rng) -> Envelope {
    let bytes = if dice.u64(..10) == 0 { 60_000 } else { 100 };
    let patience_ms = if dice.bool() { dice.u64(1..300) } else { dice.u64(300..4000) };
    Envelope { deadline: now().plus_ms(patience_ms), ..a.request(b.id, seq, bytes) }
}

fn story(seed: u64) -> Books {
    virtually(seed, Weather::FOUL, async |stage| {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut books = Books::default();
        let (a, mut b) = stage.two();
        for round in 0..ROUNDS {
            let trouble = dice.u64(..4);
            let at = dice.u64(..BURSTS);
            for nth in 0..BURSTS {
                if nth == at && trouble == 0 {
                    stage.part(&a, &b);
                } else if nth == at && trouble == 1 {
                    books.taken.extend(b.taken());
                    b.kill();
                    pass(ms(dice.u64(..800))).await;
                    b = stage.start(2, 2 + round);
                }
                let burst = (0..dice.u64(1..=BURST_MAX)).map(|_| {
                    books.sent += 1;
                    request(&a, &b, books.sent, &mut dice)
                });
                a.handle.send(burst.collect());
                pass(ms(dice.u64(1..200))).await;
            }
            if dice.bool() {
                stage.wire.mend();
            }
        }
        stage.wire.mend();
        pass(ms(10_000)).await;
        books.taken.extend(b.taken());
        books.hear(a.told.see(|seen| std::mem::take(&mut seen.answers)));
        books
    })
}

#[test]
fn whatever_is_called_not_sent_was_never_taken() {
    let (mut not_sent, mut lost) = (0, 0);
    for seed in 0..6 {
        let books = story(seed);
        books.check(seed);
        not_sent += books.not_sent.len();
        lost += books.sent - (books.not_sent.len() + books.answered.len()) as u64;
    }
    assert!(not_sent > 20 && lost > 20, "{not_sent} not sent, {lost} lost: too little trouble to tell");
}

#[test]
fn a_clients_call_that_is_called_not_sent_was_never_taken() {
    let (mut not_sent, mut lost) = (0, 0);
    for seed in 0..6 {
        virtually(seed, Weather::FOUL, async |stage| {
            let mut dice = fastrand::Rng::with_seed(seed);
            let b = stage.start(2, 1);
            let (_client, connection) = stage.connect(&b).await;
            let end = dice.u64(1..200);
            let calls: Vec<_> = (0..200_u64)
                .map(|mark| {
                    let (connection, wait) = (connection.clone(), ms(mark + dice.u64(..50)));
                    let bytes = if dice.u64(..10) == 0 { 60_000 } else { 8 };
                    let mut value = vec![0; bytes];
                    value[..8].copy_from_slice(&mark.to_le_bytes());
                    let patience = ms(dice.u64(1..300));
                    tokio::spawn(async move {
                        pass(wait).await;
                        (mark, connection.call(Role::Coordinator, put(value), patience).await)
                    })
                })
                .collect();
            pass(ms(end)).await;
            if seed % 2 == 0 {
                connection.close()
            } else {
                stage.wire.cut(super::host(super::CLIENT), super::host(2))
            }
            let mut answered = 0;
            for call in calls {
                let (mark, result) = call.await.unwrap();
                match result {
                    Ok(_) => answered += 1,
                    Err(CallError::NotSent) => {
                        not_sent += 1;
                        assert!(!b.taken().contains(&mark), "{seed}: {mark} was taken");
                    }
                    Err(CallError::Lost | CallError::TimedOut) => lost += 1,
                    Err(CallError::Busy) => panic!("there is room"),
                }
            }
            assert!(answered > 0 || end < 50, "{seed}");
        });
    }
    assert!(not_sent > 20 && lost > 20, "{not_sent} not sent, {lost} lost: too little trouble to tell");
}
