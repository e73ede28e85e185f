//! How soon a restarted process is talked to.

use super::wire::Weather;
use super::{ms, pass, until_answered, virtually};
use crate::CallError;
use crate::tests::harness::{PATIENCE, put};
use anser_proto::Role;
use std::time::Duration;

/// In fine weather: the first packet to the process that is gone is answered with a reset, and the dial is at once.
const NOTICED_AT_ONCE: Duration = ms(250);
/// In foul weather packets of that talk are lost and said again; a dial that lost too many is given up after 1.5 s.
const NOTICED_IN_FOUL_WEATHER: Duration = ms(2500);
/// While nobody was there, the waits between dials have grown to 2 s, and a dial may take 1.5 s.
const DIALLED_AGAIN: Duration = ms(3600);

/// How long the answer to the first request after a restart took.
fn restart(seed: u64, weather: Weather, down_ms: u64) -> Duration {
    virtually(seed, weather, async |stage| {
        let (a, b) = stage.two();
        a.ask(b.id, 20).await;
        b.kill();
        let mut seq = 100;
        for _ in 0..down_ms / 100 {
            a.handle.send(vec![a.request(super::credentials(crate::Kind::Node, 2).identity().node, seq, 10)]);
            seq += 1;
            pass(ms(100)).await;
        }
        let b = stage.start(2, 2);
        until_answered(&a, &b, seq).await
    })
}

#[test]
fn a_restarted_peer_is_talked_to_within_a_bound() {
    let longest =
        |weather, down_ms, seeds| (0..seeds).map(|seed| restart(seed, weather, down_ms)).max().unwrap();
    let found = [
        (longest(Weather::FINE, 0, 10), NOTICED_AT_ONCE),
        (longest(Weather::FOUL, 0, 20), NOTICED_IN_FOUL_WEATHER),
        (longest(Weather::FINE, 30_000, 5), DIALLED_AGAIN),
    ];
    for (took, bound) in found {
        assert!(took <= bound, "{found:?}");
    }
}

#[test]
fn a_clients_call_to_a_restarted_node_ends_as_lost_at_once() {
    virtually(3, Weather::FINE, async |stage| {
        let b = stage.start(2, 1);
        let (client, connection) = stage.connect(&b).await;
        connection.call(Role::Coordinator, put(vec![1; 8]), PATIENCE).await.unwrap();
        b.kill();
        let b = stage.start(2, 2);
        let begun = stage.now();
        let lost = connection.call(Role::Coordinator, put(vec![2; 8]), PATIENCE).await;
        assert_eq!(lost, Err(CallError::Lost));
        assert!(stage.now() - begun <= NOTICED_AT_ONCE, "{:?}", stage.now() - begun);
        let connection = client.connect(b.address(), PATIENCE).await.unwrap();
        connection.call(Role::Coordinator, put(vec![3; 8]), PATIENCE).await.unwrap();
        assert_eq!(b.taken(), [u64::from_le_bytes([3; 8])]);
    });
}
