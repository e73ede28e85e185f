//! One seed, one trace: each datagram's time, ends, size and fate, and what the nodes were told.

use super::wire::{Passage, Weather};
use super::{ms, pass, virtually};

/// A story with everything in it. What was sent, and what was heard, in words.
fn story(seed: u64) -> (Vec<Passage>, Vec<String>) {
    virtually(seed, Weather::FOUL, async |stage| {
        let (a, b) = stage.two();
        let c = stage.start(3, 1);
        c.handle.dial_seed(a.address());
        let mut seq = 0;
        let mut talk = async |from: &super::Process, to: &super::Process| {
            for _ in 0..20 {
                seq += 1;
                let bytes = if seq % 7 == 0 { 50_000 } else { 200 };
                from.handle.send(vec![from.request(to.id, seq, bytes), from.gossip(to.id)]);
                pass(ms(10)).await;
            }
        };
        talk(&a, &b).await;
        talk(&c, &a).await;
        stage.part(&a, &b);
        talk(&b, &a).await;
        pass(ms(4000)).await;
        talk(&a, &b).await;
        stage.wire.mend();
        talk(&a, &b).await;
        b.kill();
        let b = stage.start(2, 2);
        talk(&a, &b).await;
        talk(&c, &a).await;
        pass(ms(1000)).await;
        let heard = [&a, &b, &c].map(|process| {
            process.told.see(|seen| {
                let answers: Vec<_> = seen
                    .answers
                    .iter()
                    .map(|(source, answer)| (source, answer.op.seq, answer.body.name()))
                    .collect();
                format!("{answers:?} {} {:?} {:?} {:?}", seen.gossip, seen.taken, seen.up, seen.down)
            })
        });
        (stage.wire.passages(), heard.to_vec())
    })
}

#[test]
fn one_seed_is_one_trace() {
    let (passages, heard) = story(1);
    assert!(passages.len() > 500, "{}", passages.len());
    for _ in 0..10 {
        let (again, heard_again) = story(1);
        for (nth, (first, second)) in passages.iter().zip(&again).enumerate() {
            assert_eq!(first, second, "datagram {nth}");
        }
        assert_eq!((passages.len(), &heard), (again.len(), &heard_again));
    }
    assert_ne!(story(2).0, passages, "another seed, another trace");
}
