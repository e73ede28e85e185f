//! Gets, step by step.

use crate::rig::*;
use anser_machine::{Count, Machine, Op};
use anser_model::{KeyState, KeyspaceId, Level, Round, Step, Token};
use anser_proto::client::{Failure, GetReceipt, GetReply, GetRequest, Outcome};
use anser_proto::gossip::PeerState;
use anser_proto::replicate::{ReplicaReply, ReplicaRequest};
use anser_proto::{Body, Envelope, Refusal};

fn got(outcome: Outcome) -> GetReply {
    match outcome {
        Outcome::Get(reply) => reply,
        other => panic!("not got: {other:?}"),
    }
}

fn values(reply: &GetReply) -> Vec<&[u8]> {
    reply.versions.iter().map(|version| version.value.as_ref()).collect()
}

/// A get under way: node 1 was asked for all, another one for a digest.
fn asked(rig: &mut Rig, request: GetRequest) -> (Envelope, Envelope) {
    let mut sent = rig.get(request);
    assert_eq!(brief(&sent)[0], (1, "full"));
    assert_eq!((sent.len(), brief(&sent)[1].1), (2, "digest"));
    let digest = sent.remove(1);
    (sent.remove(0), digest)
}

#[test]
fn equal_answers_are_shown_at_once() {
    let mut rig = Rig::new();
    let (full, digest) = asked(&mut rig, get());
    let state = state(&[(1, "v")]);
    assert!(rig.digest(&digest, &state).is_empty());
    assert!(rig.digest(&digest, &state).is_empty(), "a double");
    let reply = got(outcome(&rig.full(&full, &state)));
    assert_eq!(values(&reply), [b"v"]);
    assert_eq!((reply.versions[0].written_at_ms, reply.versions[0].expires_at_ms), (WALL_MS, None));
    let receipt = GetReceipt { replicas: 3, answered: 2, fallbacks: 0, step: Step(1), level: Level::Quorum };
    assert_eq!(reply.receipt, receipt);
    let token = Token::open(&reply.context, &[MAC_KEY], KeyspaceId(1), &key("k")).unwrap();
    assert_eq!(token, Token::of(&state));
    assert_eq!(rig.counts[0], Count::Siblings(1));
    assert_eq!((rig.machine.inflight(), rig.machine.next_timeout()), (0, None));
}

#[test]
fn a_key_never_seen_is_not_found_with_a_token() {
    for keyspace in ["default", "strict"] {
        let mut rig = Rig::new();
        let (full, digest) = asked(&mut rig, GetRequest { keyspace: name_of(keyspace), ..get() });
        rig.full(&full, &KeyState::default());
        let reply = got(outcome(&rig.digest(&digest, &KeyState::default())));
        assert!(reply.versions.is_empty() && !reply.context.is_empty());
    }
}

#[test]
fn different_answers_are_merged_and_repaired() {
    let mut rig = Rig::new();
    let (full, digest) = asked(&mut rig, get());
    let (old, new) = (state(&[(1, "a")]), state(&[(1, "a"), (2, "b")]));
    rig.full(&full, &old);
    let fetch = rig.digest(&digest, &new);
    assert_eq!(brief(&fetch), [(digest.to.node.0[0], "full")]);
    let sent = rig.full(&fetch[0], &new);
    assert_eq!(brief(&sent), [(1, "store"), (1, "client_reply")], "only who lacks it");
    let Body::Replicate(ReplicaRequest::StoreState { state: repair, .. }) = &sent[0].body else { panic!() };
    assert_eq!(*repair, new.encode());
    assert_eq!(values(&got(outcome(&sent))), [b"a", b"b"]);
    assert!(rig.counts.contains(&Count::ReadRepair) && rig.counts.contains(&Count::Siblings(2)));
    assert!(rig.durable(&sent[0]).is_empty() && rig.refuse(&sent[0], Refusal::Busy).is_empty());
}

#[test]
fn a_strict_read_waits_until_what_it_shows_is_durable() {
    let mut rig = Rig::new();
    let (full, digest) = asked(&mut rig, GetRequest { keyspace: name_of("strict"), ..get() });
    let (a, b) = (state(&[(1, "a")]), state(&[(2, "b")]));
    rig.full(&full, &a);
    let fetch = rig.digest(&digest, &b);
    let stores = rig.full(&fetch[0], &b);
    assert_eq!(stores.len(), 3, "{:?}", brief(&stores));
    assert!(rig.durable(&stores[0]).is_empty());
    assert!(rig.refuse(&stores[1], Refusal::Busy).is_empty());
    let again = rig.pass(4_000);
    assert_eq!(brief(&again), [(stores[1].to.node.0[0], "store")]);
    assert_eq!(values(&got(outcome(&rig.durable(&again[0])))), [b"a", b"b"]);
}

#[test]
fn a_strict_read_of_one_asks_all_copies() {
    let mut rig = Rig::new();
    let request = GetRequest { keyspace: name_of("strict"), level: Some(Level::Count(1)), ..get() };
    let sent = rig.get(request);
    assert_eq!(sent.len(), 3);
    let state = state(&[(1, "v")]);
    let stores = rig.full(&sent[0], &state);
    assert_eq!(stores.len(), 2, "not known to hold it");
    rig.durable(&stores[0]);
    assert_eq!(values(&got(outcome(&rig.durable(&stores[1])))), [b"v"]);
}

#[test]
fn silence_is_hedged_with_a_whole_state() {
    let mut rig = Rig::new();
    let (_, digest) = asked(&mut rig, get());
    let state = state(&[(1, "v")]);
    rig.digest(&digest, &state);
    let hedge = rig.pass(3_000);
    assert_eq!(hedge.len(), 1);
    assert_eq!(brief(&hedge)[0].1, "full");
    assert_ne!(hedge[0].to.node, digest.to.node);
    assert!(rig.pass(400_000).is_empty(), "nobody is left");
    assert_eq!(values(&got(outcome(&rig.full(&hedge[0], &state)))), [b"v"]);
}

#[test]
fn without_budget_a_hedge_waits_for_a_quarter_of_the_time() {
    let mut rig = Rig::new();
    let state = state(&[(1, "v")]);
    let mut waits_us = Vec::new();
    for _ in 0..30 {
        // Quick answers in between keep the estimates low.
        for _ in 0..9 {
            let (full, digest) = asked(&mut rig, get());
            rig.digest(&digest, &state);
            rig.full(&full, &state);
        }
        let (full, digest) = asked(&mut rig, get());
        let start = rig.tick;
        rig.digest(&digest, &state);
        while rig.pass(1_000).is_empty() {}
        waits_us.push(rig.tick.since_us(start));
        rig.full(&full, &state);
    }
    let early = waits_us.iter().filter(|us| **us < 100_000).count();
    // 16 saved up, and one for each 50 gets.
    assert!((16..=24).contains(&early), "{waits_us:?}");
    assert_eq!(waits_us.iter().max(), Some(&(ANSWER_US / 4).next_multiple_of(1_000)), "{waits_us:?}");
}

#[test]
fn a_refusal_or_a_death_is_replaced_at_once() {
    for dies in [false, true] {
        let mut rig = Rig::new();
        let (full, digest) = asked(&mut rig, get());
        let second = digest.to.node.0[0];
        let sent = if dies {
            rig.peers(&[(second, PeerState::Dead)])
        } else {
            rig.refuse(&digest, Refusal::NotSent)
        };
        assert_eq!(brief(&sent), [(5 - second, "digest")]);
        let state = state(&[(1, "v")]);
        rig.full(&full, &state);
        assert_eq!(got(outcome(&rig.digest(&sent[0], &state))).receipt.answered, 2);
    }
}

#[test]
fn who_was_silent_is_not_asked_first_the_next_time() {
    let mut rig = Rig::new();
    let state = state(&[(1, "v")]);
    let (full, silent) = asked(&mut rig, get());
    rig.full(&full, &state);
    let hedge = rig.pass(3_000);
    assert_eq!(brief(&hedge), [(5 - silent.to.node.0[0], "digest")], "a whole state is there");
    // Slower than what is assumed of who was never measured, and quicker than the silence.
    assert!(rig.pass(1_000).is_empty());
    got(outcome(&rig.digest(&hedge[0], &state)));
    assert_eq!(asked(&mut rig, get()).1.to.node, hedge[0].to.node);
}

#[test]
fn an_answer_that_cannot_be_read_is_replaced_by_another_copys() {
    let mut rig = Rig::new();
    let (full, digest) = asked(&mut rig, get());
    let garbage = ReplicaReply::State { state: b"?".as_slice().into(), round: Round(0) };
    let other = rig.answer(&full, Body::Replicated(garbage));
    assert_eq!(brief(&other), [(5 - digest.to.node.0[0], "full")]);
    let state = state(&[(1, "v")]);
    assert!(rig.digest(&digest, &state).is_empty());
    assert_eq!(got(outcome(&rig.full(&other[0], &state))).receipt.answered, 2);
}

#[test]
fn the_dead_are_not_asked_and_too_few_are_unavailable() {
    let mut rig = Rig::new();
    rig.peers(&[(2, PeerState::Dead)]);
    let (_, digest) = asked(&mut rig, get());
    assert_eq!(digest.to.node, node(3));
    assert_eq!(outcome(&rig.get(GetRequest { level: LEVEL_ALL, ..get() })), unavailable(3, 2));
    assert_eq!(rig.counts, [Count::QuorumShortfall(Op::Get), rig.counts[1]]);
    assert!(rig.peers(&[(3, PeerState::Suspect)]).is_empty());
    let failed = rig.peers(&[(3, PeerState::Dead)]);
    assert_eq!(outcome(&failed), Outcome::Failed(Failure::Unknown { acked: 0, needed: 2 }));
}

fn unavailable(needed: u32, alive: u32) -> Outcome {
    Outcome::Failed(Failure::Unavailable { needed, alive })
}

#[test]
fn refusals_of_all_are_asked_again_before_they_are_a_failure() {
    let mut rig = Rig::new();
    let mut sent = rig.get(get());
    let mut asked = 0;
    let failure = loop {
        if sent.is_empty() {
            sent = rig.pass(2_000);
            continue;
        }
        let request = sent.remove(0);
        if request.to == session() {
            break outcome(&[request]);
        }
        asked += 1;
        sent.extend(rig.refuse(&request, Refusal::NotSent));
    };
    assert!((4..=15).contains(&asked), "{asked}");
    assert_eq!(failure, unavailable(2, 3));
    assert_eq!(rig.machine.inflight(), 0);
}

#[test]
fn a_newer_round_is_asked_for_again_in_that_round() {
    let mut rig = Rig::new();
    let (full, _) = asked(&mut rig, get());
    let again = rig.refuse(&full, Refusal::StaleRound(Round(2)));
    let Body::Replicate(ReplicaRequest::ReadState { place, .. }) = &again[0].body else { panic!() };
    assert_eq!((brief(&again), place.round), (vec![(1, "full")], Round(2)));
}

#[test]
fn what_is_written_back_claims_no_later_round_than_was_read() {
    let mut rig = Rig::new();
    let (full, digest) = asked(&mut rig, get());
    let (old, new) = (state(&[(1, "a")]), state(&[(1, "a"), (2, "b")]));
    let reply = |state: &KeyState, round| ReplicaReply::State { state: state.encode(), round };
    rig.answer(&full, Body::Replicated(reply(&old, Round(4))));
    let fetch = rig.digest(&digest, &new);
    let sent = rig.answer(&fetch[0], Body::Replicated(reply(&new, Round(3))));
    let Body::Replicate(ReplicaRequest::StoreState { place, .. }) = &sent[0].body else { panic!() };
    assert_eq!(place.round, Round(3));
}

#[test]
fn a_newer_step_starts_it_over() {
    let mut rig = Rig::new();
    let (full, digest) = asked(&mut rig, get());
    let old = state(&[(1, "old")]);
    rig.full(&full, &old);
    assert!(rig.refuse(&digest, Refusal::StaleStep(Step(2))).is_empty());
    let mut next = (*rig.record).clone();
    next.step = Step(2);
    let sent = rig.handle(anser_machine::Event::Fact(anser_machine::Fact::RingAdopted(next.into())));
    assert_eq!(sent.len(), 2);
    assert!(rig.digest(&digest, &old).is_empty(), "of the step before");
    rig.full(&sent[0], &old);
    assert_eq!(got(outcome(&rig.digest(&sent[1], &old))).receipt.step, Step(2));
}

#[test]
fn a_step_that_never_comes_ends_as_unknown() {
    let mut rig = Rig::new();
    let mut sent = rig.get(get());
    let mut rounds = 0;
    let matters = |envelope: &Envelope| {
        envelope.to == session() || brief(std::slice::from_ref(envelope)) == [(1, "full")]
    };
    while sent[0].to != session() {
        rounds += 1;
        sent = rig.refuse(&sent[0], Refusal::StaleStep(Step(2)));
        while !sent.iter().any(matters) {
            sent = rig.pass(1_000);
        }
        sent.retain(matters);
    }
    assert!((2..=9).contains(&rounds), "{rounds}");
    assert_eq!(outcome(&sent), Outcome::Failed(Failure::Unknown { acked: 0, needed: 2 }));
}
