//! A full mailbox refuses, clearly and at once, and never grows.

use super::*;
use crate::admission::GOSSIP_QUEUED_MAX;
use anser_proto::gossip::Gossip;

#[test]
fn a_full_mailbox_refuses_as_busy_and_never_grows() {
    virtually(async {
        let scene = Scene::new(HostConfig { requests_max: 10, ..config() });
        for turn in 0..100 {
            scene.actor.deliver((0..100).map(|nth| ask(turn * 100 + nth, "a")).collect());
            assert_eq!(scene.actor.status().mailbox_depth, 10);
        }
        assert_eq!(scene.desk.count_of("Busy"), 9990);
        scene.sent(10_000).await;
        assert_eq!(scene.desk.count_of("ok"), 10);
        assert!((0..10).all(|seq| scene.desk.answers()[&seq] == ["ok"]), "the first ones were in");
        assert_eq!(scene.actor.requests_inside(), (0, 0));
        scene.actor.deliver(vec![ask(20_000, "a")]);
        scene.sent(10_001).await;
        assert_eq!(scene.desk.answers()[&20_000], ["ok"]);
    });
}

#[test]
fn room_is_held_until_the_answer_not_only_in_the_mailbox() {
    virtually(async {
        let scene = Scene::new(HostConfig { requests_max: 2, ..config() });
        scene.actor.deliver(vec![ask(1, "hold"), ask(2, "hold")]);
        pass_ms(10).await;
        assert_eq!(scene.actor.status().mailbox_depth, 0);
        scene.actor.deliver(vec![ask(3, "a")]);
        assert_eq!(scene.desk.answers(), answers(&[(3, "Busy")]));
    });
}

#[test]
fn room_is_bounded_in_bytes_too() {
    virtually(async {
        let scene = Scene::new(HostConfig { request_bytes_max: 3 * size_of::<Envelope>(), ..config() });
        scene.actor.deliver((0..5).map(|seq| ask(seq, "a")).collect());
        scene.sent(5).await;
        assert_eq!((scene.desk.count_of("ok"), scene.desk.count_of("Busy")), (2, 3));
        assert_eq!(scene.actor.requests_inside(), (0, 0));
    });
}

#[test]
fn a_request_that_is_never_answered_gives_its_room_back_after_its_deadline() {
    virtually(async {
        let scene = Scene::new(HostConfig { requests_max: 1, ..config() });
        scene.actor.deliver(vec![Envelope { deadline: Tick(500_000), ..ask(1, "hold") }]);
        pass_ms(400).await;
        assert_eq!(scene.actor.requests_inside().0, 1);
        pass_ms(2000).await;
        assert_eq!(scene.actor.requests_inside(), (0, 0));
        scene.actor.deliver(vec![ask(2, "a")]);
        scene.sent(1).await;
        assert_eq!(scene.desk.answers(), answers(&[(2, "ok")]));
    });
}

#[test]
fn the_same_request_twice_takes_room_twice_and_gives_it_back() {
    virtually(async {
        let scene = Scene::new(config());
        scene.actor.deliver(vec![ask(1, "a"), ask(1, "a"), ask(1, "hold"), ask(1, "a")]);
        scene.sent(3).await;
        assert_eq!(scene.actor.requests_inside().0, 1);
        scene.actor.deliver(vec![ask(2, "poison")]);
        scene.sent(5).await;
        assert_eq!(scene.desk.answers(), answers(&[(1, "ok ok ok Crashed"), (2, "Crashed")]));
        assert_eq!(scene.actor.requests_inside(), (0, 0));
    });
}

#[test]
fn a_request_past_its_deadline_is_refused_unseen() {
    virtually(async {
        let scene = Scene::new(config());
        pass_ms(10).await;
        scene.actor.deliver(vec![Envelope { deadline: Tick(5000), ..ask(1, "late") }, ask(2, "a")]);
        scene.sent(2).await;
        assert_eq!(scene.desk.answers(), answers(&[(1, "Busy"), (2, "ok")]));
        assert_eq!(scene.diary.of_life(0), ["timeout", "a"]);
        assert_eq!(scene.actor.requests_inside(), (0, 0));
    });
}

#[test]
fn replies_enter_a_full_mailbox_and_gossip_is_bounded() {
    virtually(async {
        let scene = Scene::new(HostConfig { requests_max: 0, ..config() });
        let reply = message(1, Body::Refused(Refusal::Busy));
        let gossip = message(1, Body::Gossip(Gossip::PullRing { have: Step(0) }));
        for _ in 0..2 * GOSSIP_QUEUED_MAX {
            scene.actor.deliver(vec![reply.clone(), gossip.clone(), ask(1, "a")]);
        }
        let expected = 3 * GOSSIP_QUEUED_MAX;
        assert_eq!(scene.actor.status().mailbox_depth, expected as u64);
        until(|| scene.diary.of_life(0).len() == expected + 1).await;
        scene.actor.deliver(vec![gossip]);
        until(|| scene.diary.of_life(0).len() == expected + 2).await;
        assert_eq!(scene.desk.count_of("Busy"), 2 * GOSSIP_QUEUED_MAX);
    });
}
