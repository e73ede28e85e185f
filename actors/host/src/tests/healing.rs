//! Panics are healed: address and mailbox kept, everything admitted answered, nothing half-done carried out.

use super::*;
use crate::RestartPolicy;

#[test]
fn a_panicking_machine_heals_and_messages_behind_the_poison_are_answered() {
    virtually(async {
        let scene = Scene::new(config());
        scene.actor.deliver(vec![ask(1, "a"), ask(2, "hold"), ask(3, "poison"), ask(4, "b"), ask(5, "c")]);
        scene.actor.deliver(vec![ask(6, "d")]);
        scene.sent(6).await;
        let expected = [(1, "ok"), (2, "Crashed"), (3, "Crashed"), (4, "ok"), (5, "ok"), (6, "ok")];
        assert_eq!(scene.desk.answers(), answers(&expected));
        assert_eq!(scene.diary.of_life(0), ["timeout", "a", "hold", "poison"]);
        assert_eq!(scene.diary.of_life(1), ["timeout", "b", "c", "d"]);
        let status = scene.actor.status();
        assert!(status.up && status.restarts == 1 && status.mailbox_depth == 0, "{status:?}");
        let said = status.last_panic.expect("words");
        assert!(said.starts_with("poison at ") && said.contains("tests.rs"), "{said}");
        assert_eq!(scene.actor.requests_inside(), (0, 0));
    });
}

#[test]
fn what_a_panic_leaves_unanswered_is_answered_in_a_fixed_order() {
    virtually(async {
        let scene = Scene::new(config());
        let mut asked: Vec<Envelope> = (1..=20).rev().map(|seq| ask(seq, "hold")).collect();
        asked.push(ask(21, "poison"));
        scene.actor.deliver(asked);
        scene.sent(21).await;
        let sent: Vec<u64> = scene.desk.sent.lock().expect("a desk").iter().map(|sent| sent.op.seq).collect();
        assert_eq!(sent, (1..=21).collect::<Vec<u64>>());
    });
}

#[test]
fn a_mint_is_answered_crashed_after_minted_since_minted_was_not_its_last_answer() {
    virtually(async {
        let scene = Scene::new(config());
        scene.actor.deliver(vec![ask(1, "mint"), ask(2, "a")]);
        scene.sent(2).await;
        assert_eq!(scene.actor.requests_inside().0, 1);
        scene.actor.deliver(vec![ask(3, "poison")]);
        scene.sent(4).await;
        assert_eq!(scene.desk.answers(), answers(&[(1, "minted Crashed"), (2, "ok"), (3, "Crashed")]));
    });
}

#[test]
fn late_feedback_to_a_former_life_is_dropped() {
    virtually(async {
        let scene = Scene::new(config());
        scene.actor.deliver(vec![ask(1, "poison")]);
        // Life 0 is not over when this is queued, but is when it would be taken.
        scene.actor.feed(0, vec![Feedback::DiskFailed]);
        scene.sent(1).await;
        assert_eq!(scene.actor.life(), 1);
        scene.actor.feed(0, vec![Feedback::DiskFailed]);
        scene.actor.feed(1, vec![Feedback::DiskFailed; 2]);
        scene.actor.deliver(vec![ask(2, "a")]);
        scene.sent(2).await;
        assert_eq!(scene.diary.of_life(0), ["timeout", "poison"]);
        assert_eq!(scene.diary.of_life(1), ["timeout", "feedback", "feedback", "a"]);
        assert_eq!(scene.actor.status().mailbox_depth, 0);
    });
}

#[test]
fn the_newest_facts_are_told_again_to_a_rebuilt_machine_but_events_only_once() {
    virtually(async {
        let scene = Scene::new(config());
        let address = "127.0.0.1:1".parse().expect("an address");
        scene.actor.tell(Fact::ShardChanged { shard: 0, serving: true });
        until(|| scene.diary.of_life(0).len() == 2).await;
        scene.actor.tell(Fact::ShardChanged { shard: 1, serving: true });
        scene.actor.tell(Fact::ShardChanged { shard: 0, serving: false });
        scene.actor.tell(Fact::PeerSeen { node: NodeId([1; 16]), address });
        until(|| scene.diary.of_life(0).len() == 5).await;
        scene.actor.deliver(vec![ask(1, "poison"), ask(2, "a")]);
        scene.sent(2).await;
        let expected = [
            "ShardChanged { shard: 0, serving: false }",
            "ShardChanged { shard: 1, serving: true }",
            "timeout",
            "a",
        ];
        assert_eq!(scene.diary.of_life(1), expected);
        assert_eq!(scene.actor.status().mailbox_depth, 0);
    });
}

#[test]
fn rebuilds_pause_longer_each_time_and_too_many_count_as_down_for_a_while() {
    virtually(async {
        let restart =
            RestartPolicy { backoff_min_ms: 100, backoff_max_ms: 400, restarts_max: 3, window_ms: 5000 };
        let scene = Scene::with(HostConfig { restart, ..config() }, None, |life| life < 5);
        scene.actor.deliver(vec![ask(1, "a")]);
        scene.sent(1).await;
        let built = scene.diary.ticks_of("timeout");
        let pauses: Vec<u64> = built.windows(2).map(|pair| pair[1].since_us(pair[0]) / 1000).collect();
        for (pause, expected) in pauses.iter().zip([100, 200, 400, 400, 400]) {
            assert!((expected..expected + 5).contains(pause), "{pauses:?}");
        }
        assert_eq!((pauses.len(), scene.desk.answers()), (5, answers(&[(1, "ok")])));
        assert!(!scene.actor.status().up, "it panicked five times in the window");
        pass_ms(5000).await;
        assert!(scene.actor.status().up, "it has been well for a whole window");
    });
}

#[test]
fn it_is_not_up_while_it_pauses_and_a_stop_ends_the_pause() {
    virtually(async {
        let restart =
            RestartPolicy { backoff_min_ms: 60_000, backoff_max_ms: 60_000, ..RestartPolicy::default() };
        let scene = Scene::new(HostConfig { restart, ..config() });
        scene.actor.deliver(vec![ask(1, "poison"), ask(2, "a")]);
        scene.actor.deliver(vec![ask(3, "a")]);
        scene.sent(1).await;
        let status = scene.actor.status();
        assert!(!status.up && status.mailbox_depth == 2, "{status:?}");
        scene.actor.stop();
        scene.sent(3).await;
        assert_eq!(scene.desk.answers(), answers(&[(1, "Crashed"), (2, "NotServing"), (3, "NotServing")]));
        assert!(scene.desk.begun.elapsed() < Duration::from_secs(1));
        assert_eq!(scene.actor.requests_inside(), (0, 0));
    });
}

#[test]
fn a_factory_that_panics_is_tried_again() {
    virtually(async {
        let (desk, diary) = (Desk::new(), Arc::new(Diary::default()));
        let toys = Arc::clone(&diary);
        let factory: Factory = Arc::new(move |life| {
            assert!(life > 2, "not yet");
            Box::new(Toy { life, diary: Arc::clone(&toys), timeout: None, every_ms: None, sick: false })
        });
        let shell = Arc::clone(&desk) as Arc<dyn Shell>;
        let actor = spawn(&Arbiter::current(), config(), factory, shell);
        actor.deliver(vec![ask(1, "a")]);
        until(|| desk.answers().len() == 1).await;
        assert_eq!((diary.of_life(3), actor.status().restarts), (vec!["a".to_owned()], 3));
    });
}

#[test]
fn a_shell_that_panics_kills_no_actor() {
    virtually(async {
        let scene = Scene::new(config());
        until(|| scene.actor.status().up).await;
        scene.desk.breaks.store(true, SeqCst);
        scene.actor.deliver(vec![ask(1, "a"), ask(2, "hold")]);
        scene.actor.deliver(vec![ask(3, "a")]);
        scene.sent(2).await;
        // The answer to 1 was lost with the desk's panic, as in a network; its asker has a deadline.
        assert_eq!(scene.desk.answers(), answers(&[(2, "Crashed"), (3, "ok")]));
        assert_eq!(scene.actor.requests_inside(), (0, 0));
    });
}

#[test]
fn a_stopped_actor_answers_for_all_it_held_and_takes_nothing_more() {
    virtually(async {
        let scene = Scene::new(config());
        scene.actor.deliver(vec![ask(1, "hold"), ask(2, "a")]);
        scene.sent(1).await;
        scene.actor.stop();
        scene.actor.deliver(vec![ask(3, "a")]);
        scene.sent(3).await;
        assert_eq!(scene.desk.answers(), answers(&[(1, "Crashed"), (2, "ok"), (3, "NotServing")]));
        assert!(!scene.actor.status().up);
    });
}

#[cfg(feature = "faults")]
#[test]
fn an_injected_panic_is_a_real_one_even_in_an_idle_machine() {
    virtually(async {
        let scene = Scene::new(config());
        until(|| scene.actor.status().up).await;
        scene.actor.inject_panic();
        until(|| scene.actor.status().restarts == 1).await;
        scene.actor.deliver(vec![ask(1, "a")]);
        scene.sent(1).await;
        assert_eq!(scene.desk.answers(), answers(&[(1, "ok")]));
        assert_eq!(scene.actor.status().restarts, 1);
    });
}
