//! Timeouts come when due, neither early nor twice.

use super::*;

#[test]
fn the_first_timeout_comes_at_once_and_later_ones_when_due() {
    virtually(async {
        let scene = Scene::with(config(), Some(250), |_| false);
        pass_ms(1100).await;
        let fired = scene.diary.ticks_of("timeout");
        assert_eq!(fired.len(), 5, "{fired:?}");
        for (nth, tick) in fired.iter().enumerate() {
            let due = 250_000 * nth as u64;
            assert!((due..due + 10_000).contains(&tick.0), "{fired:?}");
        }
    });
}

#[test]
fn a_timeout_moved_nearer_or_further_comes_when_due() {
    virtually(async {
        let scene = Scene::new(config());
        pass_ms(1).await;
        for key in ["wake:500", "wake:100", "wake:300"] {
            scene.actor.deliver(vec![ask(1, key)]);
            pass_ms(1).await;
        }
        pass_ms(2000).await;
        let fired = scene.diary.ticks_of("timeout");
        let [first, second] = fired.as_slice() else { panic!("{fired:?}") };
        assert!(first.0 < 1000 && (300_000..310_000).contains(&second.0), "{fired:?}");
    });
}

#[test]
fn a_machine_that_always_wants_a_timeout_at_once_does_not_spin() {
    virtually(async {
        let scene = Scene::with(config(), Some(0), |_| false);
        pass_ms(1000).await;
        let fired = scene.diary.ticks_of("timeout").len();
        assert!((100..=2500).contains(&fired), "{fired}");
        scene.actor.deliver(vec![ask(1, "a")]);
        scene.sent(1).await;
    });
}

#[test]
fn a_timer_survives_the_rebuild_of_its_machine() {
    virtually(async {
        let scene = Scene::with(config(), Some(100), |_| false);
        pass_ms(150).await;
        scene.actor.deliver(vec![ask(1, "poison")]);
        pass_ms(1000).await;
        let lines = scene.diary.of_life(1).len();
        assert!((8..=10).contains(&lines), "{lines}");
    });
}
