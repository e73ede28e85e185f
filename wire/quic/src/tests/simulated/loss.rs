//! What is lost on the way: on lanes nothing (while the connection holds), of gossip what the network loses.

use super::wire::{Fate, Weather};
use super::{credentials, ms, pass, virtually};
use crate::tests::harness::Settings;
use crate::{Direction, Kind, Limits, Source, Traffic};
use anser_proto::{Body, Envelope};

const GOSSIP: usize = 300;
const REQUESTS: u64 = 300;
/// Every tenth request is too large for a lane.
const LARGE_BYTES: usize = 100_000;

/// How many of the gossip arrived; all requests must have been taken once and answered once.
fn arrived(seed: u64, weather: Weather) -> usize {
    virtually(seed, weather, async |stage| {
        let b = stage.start(2, 1);
        // Under such losses it may take long until there is a connection for bulk.
        let limits = Limits { unconnected_wait_ms: 20_000, ..Limits::default() };
        let a = stage.start_with(1, Settings { limits, ..Settings::new(credentials(Kind::Node, 1)) });
        a.knows(&b);
        a.ask(b.id, 1).await;
        // What is said before that waits for a lane.
        a.told.until(|seen| !seen.up.is_empty()).await;
        b.told.see(|seen| seen.taken.clear());
        for seq in 0..REQUESTS {
            let bytes = if seq % 10 == 0 { LARGE_BYTES } else { 100 };
            a.handle.send(vec![a.request(b.id, seq, bytes), a.gossip(b.id)]);
            pass(ms(5)).await;
        }
        a.told.until(|seen| seen.answers.len() >= REQUESTS as usize).await;
        pass(ms(1000)).await;
        assert_eq!(b.taken(), (0..REQUESTS).collect::<Vec<_>>(), "each once");
        a.told.see(|seen| {
            let fine = |(source, answer): &(Source, Envelope)| {
                *source == Source::Node(b.id) && matches!(answer.body, Body::Replicated(_))
            };
            assert!(seen.answers.iter().all(fine) && seen.answers.len() == REQUESTS as usize);
            assert!(seen.down.is_empty(), "nobody was taken for dead");
        });
        let sent = a.handle.stats().messages(Traffic::Datagram, Direction::Sent);
        assert_eq!(sent, GOSSIP as u64, "each as one datagram");
        let lost = stage.wire.passages().iter().filter(|passage| passage.fate == Fate::Lost).count();
        assert_eq!(lost > 0, weather.lost > 0);
        b.told.see(|seen| seen.gossip)
    })
}

#[test]
fn lost_gossip_is_not_said_again_and_lanes_lose_nothing() {
    for seed in 0..3 {
        assert_eq!(arrived(seed, Weather::FINE), GOSSIP);
        let doubled = Weather { doubled: 300, late: 100, ..Weather::FINE };
        assert_eq!(arrived(seed, doubled), GOSSIP, "none is heard twice");
        let arrived = arrived(seed, Weather { lost: 100, ..Weather::FOUL });
        assert!((GOSSIP * 80 / 100..GOSSIP * 97 / 100).contains(&arrived), "{seed}: {arrived}");
    }
}
