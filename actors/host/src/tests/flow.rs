//! Effects are handed over once a drain; a flood starves neither timers nor neighbours; what is stuck is noticed.

use super::*;
use crate::Watchdog;
use std::sync::mpsc::channel;

#[test]
fn a_drain_hands_over_each_kind_of_effect_at_once() {
    virtually(async {
        let scene = Scene::new(config());
        let batch = ["a", "save", "b", "save", "c"].iter().enumerate();
        scene.actor.deliver(batch.map(|(seq, key)| ask(seq as u64, key)).collect());
        scene.sent(3).await;
        let calls = (scene.desk.send_calls.load(SeqCst), scene.desk.disk_calls.load(SeqCst));
        assert_eq!((calls, scene.desk.others.load(SeqCst)), ((1, 1), 4));
    });
}

#[test]
fn a_long_batch_is_split_by_the_budget() {
    virtually(async {
        let scene = Scene::new(HostConfig { yield_every: 10, ..config() });
        scene.actor.deliver((0..95).map(|seq| ask(seq, "a")).collect());
        scene.sent(95).await;
        let calls = scene.desk.send_calls.load(SeqCst);
        assert!((9..=11).contains(&calls), "{calls}");
        let order: Vec<u64> =
            scene.desk.sent.lock().expect("a desk").iter().map(|sent| sent.op.seq).collect();
        assert!(order.is_sorted());
    });
}

/// Real time: a flood of steps of 50 microseconds for half a second, and timers of 10 ms.
#[test]
fn a_flood_starves_neither_the_actors_timers_nor_its_neighbours() {
    System::new().block_on(async {
        let flooded = Scene::with(config(), Some(10), |_| false);
        let neighbour = Scene::with(config(), Some(10), |_| false);
        let actor = flooded.actor.clone();
        let flood = std::thread::spawn(move || {
            let begun = std::time::Instant::now();
            let mut turn = 0;
            while begun.elapsed() < Duration::from_millis(500) {
                let batch = if turn % 2 == 0 { 1 } else { 1000 };
                if actor.status().mailbox_depth < 3000 {
                    actor.deliver((0..batch).map(|_| ask(turn, "spin:50")).collect());
                    turn += 1;
                }
            }
        });
        until(|| flood.is_finished()).await;
        flood.join().expect("a flood");
        let taken = flooded.diary.ticks_of("spin:50").len();
        assert!(taken > 1000, "a flood of {taken} is none");
        for scene in [&flooded, &neighbour] {
            let mut fired = scene.diary.ticks_of("timeout");
            fired.retain(|tick| tick.0 < 500_000);
            // 50 when nothing else runs; without yields it is 0 to 5.
            assert!(fired.len() >= 25, "{} timeouts", fired.len());
        }
        flooded.actor.stop();
    });
}

/// Real time, since a step that is stuck holds its thread.
#[test]
fn a_stuck_step_is_noticed_once_and_passes() {
    System::new().block_on(async {
        let arbiter = Arbiter::new();
        let desk = Desk::new();
        let factory: Factory = Arc::new(|life| {
            Box::new(Toy { life, diary: Arc::default(), timeout: None, every_ms: None, sick: false })
        });
        let config = HostConfig { watchdog_after_ms: 50, ..config() };
        let actor = spawn(&arbiter.handle(), config, factory, Arc::clone(&desk) as Arc<dyn Shell>);
        let (tell, told) = channel();
        let watchdog = Watchdog::start(vec![actor.clone()], move |stuck| {
            tell.send(stuck.name().to_owned()).expect("a listener");
        })
        .expect("a thread");
        until(|| actor.status().up).await;
        assert!(!actor.status().stuck);
        actor.deliver(vec![ask(1, "spin:800000")]);
        until(|| actor.status().stuck).await;
        until(|| desk.answers().len() == 1).await;
        until(|| !actor.status().stuck).await;
        assert!(watchdog.is_alive());
        drop(watchdog);
        assert_eq!(told.iter().collect::<Vec<_>>(), ["replica"]);
        arbiter.stop();
    });
}

#[test]
fn an_actor_ends_with_its_last_handle_and_is_not_up_without_its_arbiter() {
    virtually(async {
        let scene = Scene::new(config());
        until(|| scene.actor.status().up).await;
        let diary = Arc::downgrade(&scene.diary);
        drop(scene);
        until(|| diary.strong_count() == 0).await;
    });
    System::new().block_on(async {
        let arbiter = Arbiter::new();
        let desk = Desk::new();
        let factory: Factory = Arc::new(|life| {
            Box::new(Toy { life, diary: Arc::default(), timeout: None, every_ms: None, sick: false })
        });
        let actor = spawn(&arbiter.handle(), config(), factory, Arc::clone(&desk) as Arc<dyn Shell>);
        until(|| actor.status().up).await;
        arbiter.stop();
        until(|| !actor.status().up).await;
        actor.deliver(vec![ask(1, "a")]);
        assert_eq!(desk.answers(), answers(&[(1, "NotServing")]));
    });
}
