//! Silence is noticed in time, and after a cut both ends find each other again.

use super::wire::Weather;
use super::{host, ms, pass, until_answered, virtually};
use crate::tests::harness::{PATIENCE, put};
use anser_proto::Role;
use std::time::Duration;

/// Between nodes, 3 s of silence end a connection. They count from the last packet that came, or from the first that was
/// sent after it, which is a keep-alive of every 500 ms.
const SILENCE: (Duration, Duration) = (ms(2400), ms(3600));
/// A client gives a silent node 4 s.
const CLIENT_SILENCE: (Duration, Duration) = (ms(2900), ms(4100));
/// The longest wait between dials is 2 s, and the dial under way may take 1.5 s.
const MENDED: Duration = ms(3600);

#[test]
fn a_silent_peer_is_down_after_the_idle_time_out_and_up_soon_after_the_cut() {
    let mut longest = Duration::ZERO;
    for seed in 0..8 {
        virtually(seed, Weather::FINE, async |stage| {
            let (a, b) = stage.two();
            a.ask(b.id, 20).await;
            pass(ms(1000 + seed * 37)).await;
            // Every second time only one way is cut: b hears nothing, and is heard until it has given up.
            if seed % 2 == 0 {
                stage.part(&a, &b)
            } else {
                stage.wire.cut(host(1), host(2))
            }
            let cut = stage.now();
            b.told.until(|seen| !seen.down.is_empty()).await;
            let silence = stage.now() - cut;
            assert!((SILENCE.0..=SILENCE.1).contains(&silence), "{seed}: {silence:?}");
            a.told.until(|seen| !seen.down.is_empty()).await;
            let silence = stage.now() - cut;
            let most = if seed % 2 == 0 { SILENCE.1 } else { 2 * SILENCE.1 };
            assert!((SILENCE.0..=most).contains(&silence), "{seed}: {silence:?}");
            for seq in 100..300 {
                a.handle.send(vec![a.request(b.id, seq, 10)]);
                pass(ms(50)).await;
            }
            a.told.see(|seen| seen.answers.clear());
            stage.wire.mend();
            longest = longest.max(until_answered(&a, &b, 1000).await);
            for node in [&a, &b] {
                node.told.until(|seen| (seen.up.len(), seen.down.len()) == (2, 1)).await;
            }
        });
    }
    assert!(longest <= MENDED, "{longest:?}");
}

#[test]
fn a_client_takes_a_silent_node_for_lost_after_its_idle_time_out() {
    virtually(5, Weather::FINE, async |stage| {
        let b = stage.start(2, 1);
        let (_client, connection) = stage.connect(&b).await;
        connection.call(Role::Coordinator, put(vec![1; 8]), PATIENCE).await.unwrap();
        pass(ms(10_000)).await;
        assert!(!connection.is_closed(), "keep-alives break the silence");
        stage.wire.cut(host(2), host(super::CLIENT));
        let cut = stage.now();
        let lost = connection.call(Role::Coordinator, put(vec![2; 8]), PATIENCE).await;
        assert_eq!(lost, Err(crate::CallError::Lost), "it arrived, and its answer did not");
        let silence = stage.now() - cut;
        assert!((CLIENT_SILENCE.0..=CLIENT_SILENCE.1).contains(&silence), "{silence:?}");
        assert_eq!(b.taken().len(), 2);
    });
}
