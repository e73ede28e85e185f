//! Single steps and their exact effects.

use super::harness::{
    WALL_MS, ack, address, addresses_slot, config, genesis, genesis_of, member, membership, probe, session,
};
use crate::Membership;
use crate::ring_keeper::{Verdict, judge};
use anser_machine::{DiskRequest, Effect, Event, Fact, Feedback, Machine, Now, Outbox, SlotName};
use anser_model::ring::{NodeName, Record};
use anser_model::{ClusterId, FolderId, Hlc, Member, NodeId, Step};
use anser_proto::admin::{AdminReply, AdminRequest};
use anser_proto::client::{ClientReply, ClientRequest, Failure, Outcome};
use anser_proto::gossip::{Gossip, Heard, Mark, PeerState, Rumour, Trust};
use anser_proto::{Body, Envelope, OpId, Refusal, Tick};
use bytes::Bytes;

/// One machine, by hand. Node 0; the others are what the test says.
pub struct Alone {
    pub machine: Membership,
    pub now_ms: u64,
}

impl Alone {
    /// Its slots not yet read.
    pub fn fresh() -> Alone {
        let mut alone = Alone { machine: Membership::new(config(0, 1)), now_ms: 1000 };
        assert_eq!(alone.machine.next_timeout(), Some((Tick(0), "start")));
        alone.timeout();
        alone
    }

    /// Its slots read, its first incarnation said, in the cluster of so many (0: in none).
    pub fn speaking(of: usize) -> Alone {
        let mut alone = Alone::fresh();
        let ring = (of > 0).then(|| crate::slots::encode_ring(&[genesis(of).encode()]));
        let addresses: Vec<_> = (1..of).map(|n| (member(n).node, address(n))).collect();
        alone.own(Feedback::Loaded { slot: SlotName::Ring, bytes: ring });
        alone.own(Feedback::Loaded { slot: SlotName::Incarnation, bytes: None });
        let bytes = Some(addresses_slot(&addresses));
        alone.own(Feedback::Loaded { slot: SlotName::Peers, bytes });
        alone.own(Feedback::Saved { slot: SlotName::Incarnation });
        for n in 1..of {
            alone.hear(n, Gossip::PushPullReply { rumours: vec![rumour(n, 1, PeerState::Alive)] });
        }
        alone
    }

    pub fn timeout(&mut self) -> Vec<Effect> {
        let mut out = Outbox::new();
        self.machine.handle_timeout(self.now(), &mut out);
        out.drain().collect()
    }

    pub fn event(&mut self, event: Event) -> Vec<Effect> {
        let mut out = Outbox::new();
        self.machine.handle(self.now(), event, &mut out);
        out.drain().collect()
    }

    pub fn own(&mut self, feedback: Feedback) -> Vec<Effect> {
        self.event(Event::Own(feedback))
    }

    /// Node n's membership says something.
    pub fn hear(&mut self, n: usize, gossip: Gossip) -> Vec<Effect> {
        self.hear_at(n, Step(0), gossip)
    }

    pub fn hear_at(&mut self, n: usize, step: Step, gossip: Gossip) -> Vec<Effect> {
        let from = membership(member(n).node);
        let to = membership(member(0).node);
        let op = OpId { life: 5, seq: 77 };
        let body = Body::Gossip(gossip);
        self.event(Event::Message(Envelope { from, to, op, step, deadline: Tick(u64::MAX), body }))
    }

    /// A session asks.
    pub fn ask(&mut self, body: Body) -> Vec<Effect> {
        let (from, to) = (session(member(0).node), membership(member(0).node));
        let (op, step) = (OpId { life: 5, seq: 78 }, Step(0));
        self.event(Event::Message(Envelope { from, to, op, step, deadline: Tick(9), body }))
    }

    /// Runs its timers for so long: the effects.
    pub fn run_ms(&mut self, ms: u64) -> Vec<Effect> {
        let end = Tick((self.now_ms + ms) * 1000);
        let mut effects = Vec::new();
        while let Some((at, _)) = self.machine.next_timeout().filter(|(at, _)| *at <= end) {
            self.now_ms = self.now_ms.max(at.0.div_ceil(1000));
            effects.extend(self.timeout());
        }
        self.now_ms = end.0 / 1000;
        effects
    }

    fn now(&self) -> Now {
        Now { tick: Tick(self.now_ms * 1000), wall_ms: WALL_MS }
    }
}

pub fn rumour(n: usize, incarnation: u64, state: PeerState) -> Rumour {
    Rumour { node: member(n).node, address: address(n), incarnation, state }
}

pub fn said(effects: &[Effect]) -> Vec<(NodeId, OpId, Gossip)> {
    let gossip = |effect: &Effect| match effect {
        Effect::Send(Envelope { to, op, body: Body::Gossip(gossip), .. }) => {
            Some((to.node, *op, gossip.clone()))
        }
        _ => None,
    };
    effects.iter().filter_map(gossip).collect()
}

fn replies(effects: &[Effect]) -> Vec<Body> {
    let reply = |effect: &Effect| match effect {
        Effect::Send(envelope) if envelope.to == session(member(0).node) => {
            assert_eq!((envelope.op, envelope.deadline), (OpId { life: 5, seq: 78 }, Tick(9)));
            Some(envelope.body.clone())
        }
        _ => None,
    };
    effects.iter().filter_map(reply).collect()
}

fn saves(effects: &[Effect]) -> Vec<(SlotName, Bytes)> {
    let save = |effect: &Effect| match effect {
        Effect::Disk(DiskRequest::Save { slot, bytes }) => Some((*slot, bytes.clone())),
        _ => None,
    };
    effects.iter().filter_map(save).collect()
}

fn states(effects: &[Effect]) -> Option<Vec<PeerState>> {
    let peers = |effect: &Effect| match effect {
        Effect::Publish(Fact::PeersChanged(peers)) => Some(peers.clone()),
        _ => None,
    };
    effects.iter().filter_map(peers).next_back().map(|peers| peers.values().map(|peer| peer.state).collect())
}

fn adopted(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Publish(Fact::RingAdopted(_))))
}

const INCARNATION: Feedback = Feedback::Saved { slot: SlotName::Incarnation };
const RING: Feedback = Feedback::Saved { slot: SlotName::Ring };
const PEERS: Feedback = Feedback::Saved { slot: SlotName::Peers };

#[test]
fn a_start_reads_the_slots_and_says_nothing_before_its_incarnation_is_durable() {
    let mut alone = Alone { machine: Membership::new(config(0, 1)), now_ms: 1000 };
    assert_eq!(alone.timeout().len(), 3);
    assert!(alone.timeout().is_empty(), "once");
    assert_eq!(alone.machine.next_timeout(), None);
    assert!(alone.own(Feedback::Loaded { slot: SlotName::Ring, bytes: None }).is_empty());
    let bytes = Some(crate::slots::encode_incarnation(41));
    assert!(alone.own(Feedback::Loaded { slot: SlotName::Incarnation, bytes }).is_empty());
    let effects = alone.own(Feedback::Loaded { slot: SlotName::Peers, bytes: None });
    assert_eq!(saves(&effects), [(SlotName::Incarnation, crate::slots::encode_incarnation(42))]);
    assert!(alone.hear(1, probe(vec![])).is_empty());
    alone.own(INCARNATION);
    let effects = alone.hear(1, probe(vec![]));
    let mark = Mark { folder: member(0).folder, records: 0, trust: Trust::Unsure };
    let rumours = vec![rumour(0, 42, PeerState::Alive)];
    let ack = Gossip::ProbeAck { rumours, mark, heard: Heard::Nothing };
    assert_eq!(said(&effects), [(member(1).node, OpId { life: 5, seq: 77 }, ack)]);
}

#[test]
fn a_refutation_is_durable_before_it_is_said_and_goes_to_who_told() {
    let mut alone = Alone::speaking(3);
    let suspicion = rumour(0, 1, PeerState::Suspect);
    let effects = alone.hear(2, probe(vec![suspicion]));
    assert_eq!(saves(&effects), [(SlotName::Incarnation, crate::slots::encode_incarnation(2))]);
    let own = |gossip: &Gossip| match gossip {
        Gossip::Probe { rumours, .. } | Gossip::ProbeAck { rumours, .. } | Gossip::PushPull { rumours } => {
            rumours[0]
        }
        other => panic!("{other:?}"),
    };
    assert!(said(&effects).iter().all(|(_, _, gossip)| own(gossip) == rumour(0, 1, PeerState::Alive)));
    let effects = alone.own(INCARNATION);
    let (to, _, gossip) = &said(&effects)[0];
    assert_eq!((*to, own(gossip)), (member(2).node, rumour(0, 2, PeerState::Alive)));
}

#[test]
fn who_is_suspected_is_told_at_once_by_who_hears_of_it() {
    let mut alone = Alone::speaking(3);
    let suspicion = rumour(2, 1, PeerState::Suspect);
    let effects = alone.hear(1, probe(vec![suspicion]));
    let told = |(to, _, gossip): &(NodeId, OpId, Gossip)| match gossip {
        Gossip::Probe { rumours, .. } => *to == suspicion.node && rumours.contains(&suspicion),
        _ => false,
    };
    assert_eq!(said(&effects).iter().filter(|said| told(said)).count(), 1, "{effects:?}");
}

#[test]
fn learned_addresses_are_written_together_and_a_while_later() {
    let mut alone = Alone::speaking(0);
    let hello = |n| probe(vec![rumour(n, 1, PeerState::Alive)]);
    let mut effects = alone.hear(1, hello(1));
    effects.extend(alone.hear(2, hello(2)));
    effects.extend(alone.run_ms(999));
    assert_eq!(saves(&effects), []);
    let both = [1, 2].map(|n| (member(n).node, address(n)));
    assert_eq!(saves(&alone.run_ms(1)), [(SlotName::Peers, addresses_slot(&both))]);
    assert_eq!(saves(&alone.run_ms(10_000)), [], "nothing new");
    alone.own(Feedback::DiskFailed);
    alone.hear(3, hello(3));
    assert_eq!(saves(&alone.run_ms(10_000)), [], "nothing becomes durable any more");
}

#[test]
fn a_silent_peer_is_probed_then_by_others_then_suspected_then_dead() {
    let mut alone = Alone::speaking(3);
    alone.run_ms(1);
    // Node 2 answers whatever it is asked, node 1 nothing.
    let (mut asked_for, mut told, mut course, mut probed) = (Vec::new(), 0, Vec::new(), Vec::new());
    for _ in 0..4000 {
        for effect in alone.run_ms(1) {
            course.extend(states(std::slice::from_ref(&effect)));
            for (to, op, gossip) in said(std::slice::from_ref(&effect)) {
                let silent = to == member(1).node;
                match gossip {
                    Gossip::Probe { .. } if !silent => {
                        let envelope = Envelope {
                            from: membership(to),
                            to: membership(member(0).node),
                            op,
                            step: Step(1),
                            deadline: Tick(u64::MAX),
                            body: Body::Gossip(ack(vec![])),
                        };
                        alone.event(Event::Message(envelope));
                    }
                    Gossip::ProbeFor { target, .. } => {
                        assert_eq!((to, target), (member(2).node, member(1).node));
                        asked_for.push(op);
                    }
                    Gossip::PushPull { rumours } if silent => {
                        assert!(rumours.contains(&rumour(1, 1, PeerState::Suspect)));
                        told += 1;
                    }
                    Gossip::Probe { .. } => probed.push(op),
                    Gossip::PushPull { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert!(!asked_for.is_empty() && told == 1);
    for op in asked_for {
        assert_eq!(probed.iter().filter(|probe| **probe == op).count(), 2, "it gets a second chance itself");
    }
    course.iter_mut().for_each(|states| states.sort());
    let course: Vec<_> = course.iter().map(|states| states[1]).collect();
    assert_eq!(course, [PeerState::Suspect, PeerState::Dead]);
}

#[test]
fn a_probe_for_another_is_passed_on_and_its_answer_back() {
    let mut alone = Alone::speaking(3);
    let target = member(2).node;
    let effects = alone.hear(1, Gossip::ProbeFor { target, rumours: vec![] });
    let (to, op, probe) = said(&effects).remove(0);
    assert!(to == target && matches!(probe, Gossip::Probe { .. }));
    let from = membership(target);
    let body = Body::Gossip(ack(vec![]));
    let envelope =
        Envelope { from, to: membership(member(0).node), op, step: Step(1), deadline: Tick(0), body };
    let effects = alone.event(Event::Message(envelope.clone()));
    let (to, op, ack) = said(&effects).remove(0);
    assert_eq!((to, op), (member(1).node, OpId { life: 5, seq: 77 }));
    assert!(matches!(ack, Gossip::ProbeForAck { target: t, .. } if t == target));
    assert!(said(&alone.event(Event::Message(envelope))).is_empty(), "once");
}

#[test]
fn timeouts_that_come_early_or_twice_do_nothing() {
    let mut alone = Alone::speaking(5);
    for _ in 0..2000 {
        let (at, _) = alone.machine.next_timeout().unwrap();
        if at.0 > alone.now_ms * 1000 {
            assert!(alone.timeout().is_empty(), "early");
        }
        alone.now_ms = alone.now_ms.max(at.0.div_ceil(1000));
        alone.timeout();
        assert!(alone.timeout().is_empty(), "twice");
    }
}

#[test]
fn a_node_that_was_away_judges_nobody_by_that_time() {
    let mut alone = Alone::speaking(3);
    alone.run_ms(5000);
    alone.hear(1, probe(vec![rumour(1, 9, PeerState::Alive)]));
    let suspicion = rumour(2, 9, PeerState::Suspect);
    alone.hear(1, probe(vec![suspicion]));
    alone.now_ms += 60_000;
    let effects = alone.timeout();
    assert_eq!(states(&effects), None, "nobody condemned");
    let greeted = said(&effects);
    for n in 1..3 {
        assert!(greeted.iter().any(|(to, ..)| *to == member(n).node), "and everybody greeted");
    }
    assert_eq!(states(&alone.run_ms(200)), None, "they get time to speak up");
    assert!(states(&alone.run_ms(400)).unwrap().contains(&PeerState::Dead), "but not for ever");
}

#[test]
fn a_node_that_hears_from_nobody_takes_its_time() {
    let mut alone = Alone::speaking(30);
    let mut stretched = Vec::new();
    for _ in 0..60 {
        stretched.push(alone.machine.detector.stretched_ms(100));
        alone.run_ms(100);
    }
    stretched.dedup();
    assert_eq!(stretched, [100, 150, 200, 250, 300], "longer and longer, to a limit");
}

#[test]
fn beliefs_are_exchanged_once_with_whom_one_meets_and_again_after_its_death() {
    let mut alone = Alone::speaking(0);
    let exchanges = |effects: &[Effect]| {
        said(effects).iter().filter(|(_, _, gossip)| matches!(gossip, Gossip::PushPull { .. })).count()
    };
    let hello = |incarnation| probe(vec![rumour(1, incarnation, PeerState::Alive)]);
    assert_eq!(exchanges(&alone.hear(1, hello(1))), 1);
    alone.now_ms += 200;
    assert_eq!(exchanges(&alone.hear(1, hello(1))), 0);
    alone.run_ms(4000);
    let (_, peer) = alone.machine.peers.iter().next().unwrap();
    assert_eq!(peer.state, PeerState::Dead);
    assert_eq!(exchanges(&alone.hear(1, hello(2))), 1);
    for n in 2..10 {
        let many = exchanges(&alone.hear(n, probe(vec![rumour(n, 1, PeerState::Alive)])));
        assert_eq!(many, 0, "not with all at a time");
    }
}

#[test]
fn records_are_judged_by_this_table() {
    let me = member(0);
    let own = genesis(3);
    let next = Record { step: Step(2), prev: own.hash(), ..own.clone() };
    let leap = Record { step: Step(3), ..next.clone() };
    let fork = Record { prev: [9; 32], ..next.clone() };
    let other = genesis_of(ClusterId([2; 16]), "tests", 3);
    let named_otherwise = genesis_of(ClusterId([1; 16]), "others", 3);
    let other_folder = Member { folder: FolderId([8; 16]), ..me };
    let table = [
        (None, &own, me, Verdict::Adopt),
        (None, &named_otherwise, me, Verdict::Refuse),
        (None, &own, other_folder, Verdict::Adopt),
        (None, &own, member(3), Verdict::Refuse),
        (Some(&own), &own, me, Verdict::Nothing),
        (Some(&own), &other, me, Verdict::Refuse),
        (Some(&own), &named_otherwise, me, Verdict::Refuse),
        (Some(&own), &next, me, Verdict::Adopt),
        (Some(&own), &leap, me, Verdict::Gap),
        (Some(&own), &fork, me, Verdict::Gap),
        (Some(&next), &own, me, Verdict::Nothing),
    ];
    for (i, (own, record, me, verdict)) in table.into_iter().enumerate() {
        assert_eq!(judge(own, record, &me.node, "tests"), verdict, "line {i}");
    }
}

fn founding(record: &Record) -> Body {
    let addresses = (0..3).map(|n| (member(n).node, address(n))).collect();
    Body::Admin(AdminRequest::FoundCluster { record: record.encode(), addresses })
}

#[test]
fn a_founding_is_answered_when_it_is_durable_and_again_when_repeated() {
    let mut alone = Alone::speaking(0);
    let effects = alone.ask(founding(&genesis(3)));
    let slots: Vec<_> = saves(&effects).into_iter().map(|(slot, _)| slot).collect();
    assert_eq!(slots, [SlotName::Peers, SlotName::Ring]);
    assert!(replies(&effects).is_empty() && !adopted(&effects));
    let effects = alone.own(RING);
    assert!(adopted(&effects) && replies(&effects).is_empty(), "the addresses are not durable yet");
    assert_eq!(states(&effects), Some(vec![PeerState::Suspect; 2]), "known, not heard");
    assert_eq!(replies(&alone.own(PEERS)), [Body::AdminReply(AdminReply::Founded)]);

    alone.ask(founding(&genesis(3)));
    assert_eq!(replies(&alone.own(PEERS)), [Body::AdminReply(AdminReply::Founded)]);
    let other = genesis_of(ClusterId([2; 16]), "tests", 3);
    assert_eq!(replies(&alone.ask(founding(&other))), [Body::AdminReply(AdminReply::AlreadyFounded)]);
    let Body::AdminReply(AdminReply::Node(node)) =
        replies(&alone.ask(Body::Admin(AdminRequest::DescribeNode))).remove(0)
    else {
        panic!("no description")
    };
    assert_eq!((node.member, node.genesis), (member(0), Some(genesis(3).encode())));
}

#[test]
fn a_bad_founding_changes_nothing() {
    let mut alone = Alone::speaking(0);
    let mut without_me = genesis(3);
    without_me.roster.retain(|entry| entry.member != member(0));
    let bad = [
        founding(&genesis_of(ClusterId([1; 16]), "others", 3)),
        founding(&without_me),
        Body::Admin(AdminRequest::FoundCluster { record: Bytes::from_static(b"?"), addresses: vec![] }),
    ];
    for body in bad {
        let effects = alone.ask(body);
        assert_eq!(replies(&effects), [Body::AdminReply(AdminReply::BadGenesis)]);
        assert_eq!(effects.len(), 1);
    }
    alone.ask(founding(&genesis(3)));
    assert_eq!(replies(&alone.own(Feedback::DiskFailed)), [Body::Refused(Refusal::DiskFailed)]);
    assert_eq!(replies(&alone.ask(founding(&genesis(3)))), [Body::Refused(Refusal::DiskFailed)]);
    let early = Alone::fresh().ask(Body::Admin(AdminRequest::DescribeNode));
    assert_eq!(replies(&early), [Body::Refused(Refusal::NotServing)]);
}

#[test]
fn a_later_step_is_pulled_now_and_then_and_only_the_right_record_is_taken() {
    let mut alone = Alone::speaking(0);
    let pulls = |effects: &[Effect]| {
        said(effects).iter().filter(|(_, _, gossip)| *gossip == Gossip::PullRing { have: Step(0) }).count()
    };
    assert_eq!(pulls(&alone.hear_at(1, Step(1), probe(vec![]))), 1);
    assert_eq!(pulls(&alone.hear_at(1, Step(1), probe(vec![]))), 0);
    alone.run_ms(600);
    assert_eq!(pulls(&alone.hear_at(1, Step(1), probe(vec![]))), 1);

    let push = |record: &Record| Gossip::PushRing { records: vec![record.encode()] };
    let wrong = genesis_of(ClusterId([1; 16]), "others", 3);
    assert!(saves(&alone.hear(1, push(&wrong))).is_empty());
    let effects = alone.hear(1, push(&genesis(3)));
    assert_eq!(saves(&effects).len(), 1);
    assert!(!adopted(&effects), "durable before it is used");
    assert!(adopted(&alone.own(RING)));
    let other = genesis_of(ClusterId([2; 16]), "tests", 3);
    assert!(saves(&alone.hear(1, push(&other))).is_empty(), "another cluster's");
    assert!(saves(&alone.hear(1, push(&genesis(3)))).is_empty(), "known");

    let pushed = |effects: &[Effect]| said(effects).iter().any(|(_, _, gossip)| *gossip == push(&genesis(3)));
    assert!(pushed(&alone.hear(1, Gossip::PullRing { have: Step(0) })));
    assert!(!pushed(&alone.hear(1, Gossip::PullRing { have: Step(1) })));
    assert!(alone.hear(7, Gossip::PullRing { have: Step(0) }).is_empty(), "a stranger gets no keys");
}

#[test]
fn an_answering_seed_is_greeted() {
    let mut alone = Alone::speaking(0);
    let seen = Fact::PeerSeen { node: member(4).node, address: address(4) };
    let effects = alone.event(Event::Fact(seen.clone()));
    assert_eq!(states(&effects), Some(vec![PeerState::Suspect]));
    assert_eq!(said(&effects).len(), 1);
    assert!(alone.event(Event::Fact(seen)).is_empty(), "known already");
    let mut member_of_three = Alone::speaking(3);
    let stranger = Fact::PeerSeen { node: member(4).node, address: address(4) };
    assert!(member_of_three.event(Event::Fact(stranger)).is_empty());
}

#[test]
fn clients_are_told_the_ring_without_its_keys_and_the_cluster() {
    let mut alone = Alone::speaking(3);
    let answer = |effects: Vec<Effect>| match replies(&effects).remove(0) {
        Body::ClientReply(ClientReply { clock, outcome }) => {
            assert_eq!(clock, Hlc::from_ms(WALL_MS));
            outcome
        }
        other => panic!("{other:?}"),
    };
    let Outcome::Ring(ring) = answer(alone.ask(Body::Client(ClientRequest::DescribeRing))) else { panic!() };
    let record = Record::decode(&ring.record).unwrap();
    assert_eq!(record, Record { mac_keys: vec![[0; 32]], ..genesis(3) });
    assert_eq!(ring.addresses.len(), 3);

    alone.hear(1, probe(vec![rumour(2, 4, PeerState::Suspect)]));
    let Outcome::Cluster(cluster) = answer(alone.ask(Body::Client(ClientRequest::DescribeCluster))) else {
        panic!()
    };
    let members: Vec<_> = cluster.members.iter().map(|m| (m.name.clone(), m.state, m.incarnation)).collect();
    let name = |n: &str| NodeName::new(n).unwrap();
    assert_eq!(
        members,
        [
            (name("n0"), PeerState::Alive, 1),
            (name("n1"), PeerState::Alive, 1),
            (name("n2"), PeerState::Suspect, 4)
        ]
    );
    assert_eq!(cluster.members.iter().map(|member| member.replicas).sum::<u32>(), 16 * 3);

    let mut homeless = Alone::speaking(0);
    let outcome = answer(homeless.ask(Body::Client(ClientRequest::DescribeRing)));
    assert_eq!(outcome, Outcome::Failed(Failure::NotReady));
}
