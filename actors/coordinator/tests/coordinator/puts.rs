//! Puts, step by step.

use crate::rig::*;
use anser_machine::{CopiesSummary, Count, Event, Fact, Machine, Op, OutcomeKind};
use anser_model::state::Seen;
use anser_model::{Body as Value, KeyspaceId, Level, NodeId, Round, Step, Token, minter_order};
use anser_proto::client::{
    ClientReply, ClientRequest, ContextArg, Failure, Outcome, PutReceipt, PutReply, PutRequest,
};
use anser_proto::gossip::PeerState;
use anser_proto::replicate::{ReplicaReply, ReplicaRequest};
use anser_proto::{Address, Body, Envelope, Refusal, Role};
use std::sync::Arc;

const UNKNOWN: fn(u32) -> Outcome = |acked| Outcome::Failed(Failure::Unknown { acked, needed: 2 });

fn forward_reply(outcome: Outcome) -> Body {
    Body::ForwardPutReply(ClientReply { clock: anser_model::Hlc(0), outcome })
}

fn done(outcome: Outcome) -> PutReply {
    match outcome {
        Outcome::Put(reply) => reply,
        other => panic!("not put: {other:?}"),
    }
}

/// A put minted at node 1, and the requests that followed.
fn minted_put(rig: &mut Rig) -> (Envelope, Vec<Envelope>) {
    let request = put_minted_by(true);
    let mint = rig.put(request.clone()).remove(0);
    let stores = rig.minted(&mint, &minted(&request));
    (mint, stores)
}

#[test]
fn it_is_acknowledged_once_enough_copies_are_durable() {
    let mut rig = Rig::new();
    let request = put_minted_by(true);
    let sent = rig.put(request.clone());
    assert_eq!(brief(&sent), [(1, "mint")]);
    let Body::Replicate(ReplicaRequest::MintVersion { place, write, .. }) = &sent[0].body else { panic!() };
    assert_eq!((sent[0].to.role, sent[0].to.slot), (Role::Replica, u32::from(place.partition.0)));
    assert_eq!((place.keyspace, write.rid, sent[0].op.life), (KeyspaceId(1), request.rid, 4));

    let state = minted(&request);
    let stores = rig.minted(&sent[0], &state);
    let mut nodes = brief(&stores);
    nodes.sort_unstable();
    assert_eq!(nodes, [(2, "store"), (3, "store")]);
    assert!(rig.durable(&stores[0]).is_empty(), "one is not enough");
    assert!(rig.durable(&stores[0]).is_empty(), "nor is the same one twice");
    rig.tick = rig.tick.plus_us(200);
    let reply = done(outcome(&rig.durable(&sent[0])));
    let receipt = PutReceipt { replicas: 3, durable: 2, fallbacks: 0, step: Step(1), level: Level::Quorum };
    assert_eq!(reply.receipt, receipt);
    let token = Token::open(&reply.context, &[MAC_KEY], KeyspaceId(1), &request.key).unwrap();
    assert_eq!(token, Token::of(&state));
    assert!(rig.durable(&stores[1]).is_empty(), "late");
    assert_eq!((rig.machine.inflight(), rig.pass(PATIENCE_US).len()), (0, 0));
    let keyspace = Some(KeyspaceId(1));
    assert_eq!(rig.counts, [Count::Request { op: Op::Put, keyspace, outcome: OutcomeKind::Ok, us: 200 }]);
}

#[test]
fn a_receipts_context_settles_no_version_that_the_writer_was_not_shown() {
    let mut rig = Rig::new();
    let request = PutRequest { context: ContextArg::Sibling, ..put_minted_by(true) };
    let mint = rig.put(request.clone()).remove(0);
    let mut state = minted(&request);
    state.merge(&super::rig::state(&[(2, "other")]));
    let stores = rig.minted(&mint, &state);
    rig.durable(&mint);
    let reply = done(outcome(&rig.durable(&stores[0])));
    let token = Token::open(&reply.context, &[MAC_KEY], KeyspaceId(1), &request.key).unwrap();
    assert_eq!(token, Token::of(&minted(&request)), "as if the other were not there");
}

#[test]
fn a_durable_that_overtakes_minted_counts() {
    let mut rig = Rig::new();
    let request = put_minted_by(true);
    let mint = rig.put(request.clone()).remove(0);
    assert!(rig.durable(&mint).is_empty());
    let stores = rig.minted(&mint, &minted(&request));
    assert_eq!(done(outcome(&rig.durable(&stores[0]))).receipt.durable, 2);
}

#[test]
fn what_is_wrong_is_refused_before_anybody_is_asked() {
    let asks = |request| {
        let mut rig = Rig::new();
        let sent = rig.put(request);
        assert_eq!((sent.len(), rig.machine.inflight()), (1, 0));
        outcome(&sent)
    };
    let long = Value::Value(bytes::Bytes::from_static(&[0; 11]));
    let level = |level| Some(level);
    let table = [
        (PutRequest { keyspace: name_of("other"), ..put(1, "v") }, Failure::UnknownKeyspace),
        (PutRequest { body: long, ..put(1, "v") }, Failure::ValueTooLarge { limit: 10 }),
        (
            PutRequest { level: level(Level::Count(4)), ..put(1, "v") },
            Failure::UnmeetableLevel { asked: 4, there: 3 },
        ),
        (PutRequest { keyspace: name_of("careful"), ..put(1, "v") }, Failure::ContextNeeded),
    ];
    for (request, failure) in table {
        assert_eq!(asks(request), Outcome::Failed(failure));
    }
    let forged = Token::of(&state(&[(1, "a")])).seal(&[8; 32], KeyspaceId(1), &key("k"));
    for text in [forged, "rubbish".to_owned()] {
        let request = PutRequest { context: ContextArg::Token(text), ..put(1, "v") };
        let Outcome::Failed(Failure::BadContext(text)) = asks(request) else { panic!() };
        assert!(text.contains("context"), "{text}");
    }
    assert_eq!(outcome(&Rig::without_ring().put(put(1, "v"))), Outcome::Failed(Failure::NotReady));
}

#[test]
fn the_table_is_bounded_and_late_requests_are_turned_away() {
    let mut rig = Rig::new();
    for _ in 0..4 {
        assert_eq!(rig.put(put_minted_by(true)).len(), 1);
    }
    assert_eq!(outcome(&rig.put(put_minted_by(true))), Outcome::Failed(Failure::Overloaded));
    assert_eq!(outcome(&rig.get(get())), Outcome::Failed(Failure::Overloaded));
    assert_eq!(brief(&rig.pass(PATIENCE_US)).iter().filter(|(_, what)| *what == "client_reply").count(), 4);
    assert_eq!((rig.machine.inflight(), rig.machine.next_timeout()), (0, None));
}

#[test]
fn an_impossible_level_asks_nobody_and_a_suspect_still_counts() {
    let mut rig = Rig::new();
    rig.peers(&[(2, PeerState::Dead), (3, PeerState::Dead)]);
    let sent = rig.put(put_minted_by(true));
    assert_eq!(outcome(&sent), Outcome::Failed(Failure::Unavailable { needed: 2, alive: 1 }));
    assert_eq!(rig.counts[0], Count::QuorumShortfall(Op::Put));
    rig.peers(&[(3, PeerState::Suspect)]);
    let (mint, stores) = minted_put(&mut rig);
    assert_eq!(brief(&stores), [(3, "store")], "the dead are not asked");
    rig.durable(&mint);
    assert_eq!(done(outcome(&rig.durable(&stores[0]))).receipt.durable, 2);
}

#[test]
fn deaths_under_way_make_it_unknown_at_once_but_only_after_minting() {
    let mut rig = Rig::new();
    let (mint, stores) = minted_put(&mut rig);
    let dead = stores[0].to.node.0[0];
    assert!(rig.peers(&[(dead, PeerState::Dead)]).is_empty(), "two are left");
    let other = stores[1].to.node.0[0];
    assert_eq!(outcome(&rig.peers(&[(other, PeerState::Dead)])), UNKNOWN(0));
    assert!(rig.durable(&mint).is_empty());
}

#[test]
fn silence_becomes_unknown_shortly_before_the_deadline() {
    let mut rig = Rig::new();
    let (mint, _) = minted_put(&mut rig);
    rig.durable(&mint);
    assert!(rig.pass(ANSWER_US - 1).is_empty());
    assert_eq!(outcome(&rig.pass(1)), UNKNOWN(1));
    assert_eq!(rig.counts[0], Count::QuorumShortfall(Op::Put));
}

#[test]
fn a_busy_replica_is_asked_again_and_a_failed_one_is_not() {
    let mut rig = Rig::new();
    let (_, stores) = minted_put(&mut rig);
    assert!(rig.refuse(&stores[0], Refusal::Busy).is_empty());
    let again = rig.pass(4_000);
    assert_eq!(brief(&again), [(stores[0].to.node.0[0], "store")]);
    assert!(rig.refuse(&again[0], Refusal::DiskFailed).is_empty());
    assert_eq!(outcome(&rig.refuse(&stores[1], Refusal::DiskFailed)), UNKNOWN(0));
}

#[test]
fn a_newer_round_reloads_the_state_and_sends_it_in_that_round() {
    let mut rig = Rig::new();
    let request = put_minted_by(true);
    let mint = rig.put(request.clone()).remove(0);
    let stores = rig.minted(&mint, &minted(&request));
    rig.durable(&mint);
    let reload = rig.refuse(&stores[0], Refusal::StaleRound(Round(3)));
    assert_eq!(brief(&reload), [(1, "full")]);
    assert!(rig.refuse(&stores[1], Refusal::StaleRound(Round(3))).is_empty(), "once");
    let state = minted(&request).encode();
    let again = rig.answer(&reload[0], Body::Replicated(ReplicaReply::State { state, round: Round(3) }));
    assert_eq!(again.len(), 2);
    for store in &again {
        let Body::Replicate(ReplicaRequest::StoreState { place, .. }) = &store.body else { panic!() };
        assert_eq!(place.round, Round(3));
    }
    assert_eq!(done(outcome(&rig.durable(&again[1]))).receipt.durable, 2);
}

#[test]
fn what_is_sent_on_claims_no_later_round_than_it_was_minted_in() {
    let mut rig = Rig::new();
    let request = put_minted_by(true);
    let mint = rig.put(request.clone()).remove(0);
    let read = rig.get(get()).remove(0);
    let ahead = ReplicaReply::State { state: state(&[]).encode(), round: Round(4) };
    rig.answer(&read, Body::Replicated(ahead));
    let reply = ReplicaReply::Minted { state: minted(&request).encode(), round: Round(3) };
    let stores = rig.answer(&mint, Body::Replicated(reply));
    assert_eq!(stores.len(), 2);
    for store in stores {
        let Body::Replicate(ReplicaRequest::StoreState { place, .. }) = store.body else { panic!() };
        assert_eq!(place.round, Round(3));
    }
}

#[test]
fn a_copy_that_lost_what_it_minted_does_not_stand_for_it() {
    let mut rig = Rig::new();
    let (_, stores) = minted_put(&mut rig);
    let reload = rig.refuse(&stores[0], Refusal::StaleRound(Round(1)));
    assert_eq!(outcome(&rig.full(&reload[0], &state(&[(2, "other")]))), UNKNOWN(0));
}

/// What it said before is void: a majority would rest on a copy that has it no more.
#[test]
fn an_own_copy_that_lost_what_it_held_counts_once_it_holds_it_again() {
    let mut rig = Rig::new();
    let (mint, stores) = minted_put(&mut rig);
    assert!(rig.durable(&mint).is_empty());
    let Body::Replicate(ReplicaRequest::MintVersion { place, .. }) = &mint.body else { panic!() };
    let (joining, losses) = ([place.partition].into(), [(0, 1)].into());
    let copies = Arc::new(CopiesSummary { joining, losses, ..CopiesSummary::default() });
    let again = rig.handle(Event::Fact(Fact::CopiesChanged { shard: 0, copies }));
    assert_eq!(brief(&again), [(1, "store")]);
    assert!(rig.durable(&mint).is_empty(), "its word of before");
    assert!(rig.durable(&stores[0]).is_empty(), "one other alone");
    assert_eq!(done(outcome(&rig.durable(&again[0]))).receipt.durable, 2);
}

#[test]
fn another_minter_takes_over_with_the_same_request_id() {
    let mut rig = Rig::new();
    let request = put_minted_by(false);
    let nodes: Vec<NodeId> = (1..=3).map(node).collect();
    let order = minter_order(request.rid, &nodes);
    let forward = rig.put(request.clone());
    let expected = [(order[0].0[0], "forward_put")];
    assert_eq!(brief(&forward), expected);
    let Body::ForwardPut(first) = &forward[0].body else { panic!() };
    assert!(!first.retry && first.level == Some(Level::Quorum));

    // Its silence leaves it open, so the next is told that it is a retry.
    let next = rig.pass(ANSWER_US / 3);
    assert_eq!(next[0].to.node, order[1]);
    match &next[0].body {
        Body::ForwardPut(second) => assert!(second.retry && second.rid == request.rid),
        Body::Replicate(ReplicaRequest::MintVersion { write, .. }) => assert_eq!(write.rid, request.rid),
        other => panic!("{other:?}"),
    }
    // A late success of the first is a success all the same.
    let receipt = PutReceipt { replicas: 3, durable: 2, fallbacks: 0, step: Step(1), level: Level::Quorum };
    let reply = PutReply { context: "c".into(), receipt };
    let sent = rig.answer(&forward[0], forward_reply(Outcome::Put(reply.clone())));
    assert_eq!(outcome(&sent), Outcome::Put(reply));
}

#[test]
fn who_was_not_asked_to_mint_is_not_heard() {
    let mut rig = Rig::new();
    let request = put_minted_by(false);
    let forward = rig.put(request.clone()).remove(0);
    let receipt = PutReceipt { replicas: 3, durable: 2, fallbacks: 0, step: Step(1), level: Level::Quorum };
    let reply = forward_reply(Outcome::Put(PutReply { context: "c".into(), receipt }));
    let other = Envelope { to: coordinator_of(5 - forward.to.node.0[0]), ..forward.clone() };
    assert!(rig.answer(&other, reply.clone()).is_empty());
    let own = Address { node: node(1), role: Role::Replica, slot: 0 };
    assert!(rig.minted(&Envelope { to: own, ..forward.clone() }, &minted(&request)).is_empty());
    assert_eq!(rig.answer(&forward, reply).len(), 1);
}

#[test]
fn a_retry_without_a_context_supersedes_nothing() {
    for (retry, expected) in [(false, Seen::Present), (true, Seen::Nothing)] {
        let mut rig = Rig::new();
        let sent = rig.put(PutRequest { retry, ..put_minted_by(true) });
        let Body::Replicate(ReplicaRequest::MintVersion { write, .. }) = &sent[0].body else { panic!() };
        assert_eq!(write.seen, expected, "retry: {retry}");
    }
}

#[test]
fn definite_refusals_end_as_failed_and_an_open_attempt_as_unknown() {
    for open in [false, true] {
        let mut rig = Rig::new();
        let mut sent = rig.put(put_minted_by(false));
        let mut asked = 0;
        while !brief(&sent).iter().any(|(_, what)| *what == "client_reply") {
            asked += 1;
            let own = sent[0].to.role == Role::Replica;
            let refusal = if open && asked == 1 { Refusal::Crashed } else { Refusal::Busy };
            let body = forward_reply(Outcome::Failed(Failure::Overloaded));
            sent = if own || refusal != Refusal::Busy {
                rig.refuse(&sent[0], refusal)
            } else {
                rig.answer(&sent[0], body)
            };
            if sent.is_empty() {
                sent = rig.pass(1_000_000);
            }
        }
        if open {
            assert_eq!(outcome(&sent), UNKNOWN(0));
        } else {
            assert_eq!((asked, outcome(&sent)), (3, Outcome::Failed(Failure::Overloaded)));
        }
        assert_eq!(rig.machine.inflight(), 0);
    }
}

#[test]
fn what_the_copy_finds_wrong_fails_a_first_attempt_and_leaves_a_retry_unknown() {
    let table = [
        (Refusal::TooOld, Failure::TooOld),
        (Refusal::BadClock, Failure::BadClock { node_ms: WALL_MS }),
        (Refusal::TooManySiblings, Failure::TooManySiblings),
    ];
    for (refusal, failure) in table {
        for retry in [false, true] {
            let mut rig = Rig::new();
            let request = PutRequest { retry, ..put_minted_by(true) };
            let mint = rig.put(request).remove(0);
            let expected = if retry { UNKNOWN(0) } else { Outcome::Failed(failure.clone()) };
            assert_eq!(outcome(&rig.refuse(&mint, refusal)), expected, "{refusal:?} {retry}");
        }
    }
}

#[test]
fn a_forwarded_put_is_minted_here_or_nowhere() {
    let mut rig = Rig::new();
    let request = put_minted_by(false);
    let sent = rig.forwarded(request.clone());
    assert_eq!(brief(&sent), [(1, "mint")]);
    let stores = rig.minted(&sent[0], &minted(&request));
    rig.durable(&stores[0]);
    let reply = rig.durable(&stores[1]);
    assert_eq!((reply[0].to, done(outcome(&reply)).receipt.durable), (coordinator_of(2), 2));
    assert!(rig.counts.is_empty(), "the entry counts");

    let sent = rig.forwarded(put(99, "v"));
    assert_eq!(outcome(&rig.refuse(&sent[0], Refusal::NotServing)), Outcome::Failed(Failure::NotReady));
}

#[test]
fn what_is_not_for_a_coordinator_is_not_allowed() {
    let mut rig = Rig::new();
    for request in [ClientRequest::DescribeRing, ClientRequest::DescribeCluster] {
        let sent = rig.client(request);
        assert_eq!(sent[0].body, Body::Refused(Refusal::NotAllowed));
    }
}

#[test]
fn the_next_step_keeps_acks_and_asks_the_others_again() {
    let mut rig = Rig::new();
    let (mint, stores) = minted_put(&mut rig);
    rig.durable(&mint);
    let mut next = (*rig.record).clone();
    next.step = Step(2);
    let sent = rig.handle(anser_machine::Event::Fact(anser_machine::Fact::RingAdopted(next.into())));
    let mut nodes = brief(&sent);
    nodes.sort_unstable();
    assert_eq!(nodes, [(2, "store"), (3, "store")]);
    assert!(sent.iter().all(|envelope| envelope.step == Step(2)));
    let reply = done(outcome(&rig.durable(&stores[0])));
    assert_eq!((reply.receipt.durable, reply.receipt.step), (2, Step(2)));
}

#[test]
fn a_skipped_step_drops_acks() {
    let mut rig = Rig::new();
    let (mint, stores) = minted_put(&mut rig);
    rig.durable(&mint);
    let mut later = (*rig.record).clone();
    later.step = Step(3);
    let sent = rig.handle(anser_machine::Event::Fact(anser_machine::Fact::RingAdopted(later.into())));
    assert_eq!(sent.len(), 3, "the own copy too");
    assert!(rig.durable(&stores[0]).is_empty(), "said at a step that was left long ago");
    assert!(rig.durable(&sent[0]).is_empty());
    assert_eq!(done(outcome(&rig.durable(&sent[1]))).receipt.durable, 2);
}
