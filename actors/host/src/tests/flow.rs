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

/// Real time, but judged by the steps of the flood that come between two timeouts, whatever else the machine does: a
/// timeout each 10 ms and a step of 50 microseconds make 200, and a budget or two come on top.
#[test]
fn a_flood_starves_neither_the_actors_timers_nor_its_neighbours() {
    const STEPS: usize = 4000;
    System::new().block_on(async {
        let flooded = Scene::with(config(), Some(10), |_| false);
        let neighbour_config = HostConfig { life_first: 100, ..config() };
        let neighbour = flooded.beside(neighbour_config, Some(10), |_| false);
        until(|| neighbour.status().up).await;
        for turn in 0..20 {
            flooded.actor.deliver((0..181).map(|_| ask(turn, "spin:50")).collect());
            (0..19).for_each(|_| flooded.actor.deliver(vec![ask(turn, "spin:50")]));
        }
        flooded.sent(STEPS).await;
        for life in [0, 100] {
            let gaps = flooded.diary.gaps("spin:50", life);
            let longest = gaps.iter().max().copied().unwrap_or(0);
            assert!(longest <= 500 && gaps.iter().sum::<usize>() == STEPS, "life {life}: {gaps:?}");
        }
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
        let config = HostConfig { watchdog_after_ms: 200, ..config() };
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
