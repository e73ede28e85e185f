//! Whole clusters in virtual time: what is found, how fast, and what is not found though it would be wrong.

use super::harness::{Cluster, address, genesis, member, membership, probe};
use anser_machine::{CopiesSummary, Event, Fact, FolderTrust, SlotName};
use anser_model::PartitionId;
use anser_model::Step;
use anser_proto::gossip::PeerState;
use anser_proto::{Body, Envelope, OpId, Tick};
use bytes::Bytes;
use std::collections::BTreeSet;

fn found(state: PeerState) -> bool {
    state != PeerState::Alive
}

#[test]
fn a_stopped_node_is_found_in_3_s_and_its_return_in_2_s() {
    for n in [2, 3, 5, 9] {
        for seed in 0..8 {
            let mut cluster = Cluster::founded(n, seed);
            cluster.run_ms(seed * 137);
            let victim = cluster.ids[0];
            cluster.stop(victim);
            let found_all = |c: &Cluster| c.all_say(&[victim], found);
            assert!(cluster.run_until(3000, found_all), "{n} nodes, seed {seed}: not found");
            assert!(cluster.run_until(3000, |c| c.all_agree(PeerState::Dead, &[victim])), "{n} {seed}: dead");
            cluster.run_ms(20_000 + seed * 1000);
            let everybody = cluster.ids.clone();
            cluster.resume(victim);
            let back = cluster.run_until(2000, |c| c.all_agree(PeerState::Alive, &everybody));
            assert!(back, "{n} nodes, seed {seed}: not back");
            let since = cluster.now_us;
            cluster.run_ms(20_000);
            assert_eq!(cluster.turns_to(PeerState::Dead, since), 0);
        }
    }
}

#[test]
fn in_three_nodes_death_itself_is_found_in_3_s() {
    for seed in 0..20 {
        let mut cluster = Cluster::founded(3, seed);
        cluster.run_ms(seed * 61);
        let victim = cluster.ids[1];
        cluster.stop(victim);
        assert!(cluster.run_until(3000, |c| c.all_agree(PeerState::Dead, &[victim])), "seed {seed}");
    }
}

#[test]
fn a_restarted_node_is_alive_again_though_rumours_say_dead_at_a_higher_incarnation() {
    let mut cluster = Cluster::founded(3, 1);
    let (victim, other) = (cluster.ids[0], cluster.ids[1]);
    cluster.stop(victim);
    assert!(cluster.run_until(5000, |c| c.all_agree(PeerState::Dead, &[victim])));
    let rumour = anser_proto::gossip::Rumour {
        node: victim,
        address: address(0),
        incarnation: 100,
        state: PeerState::Dead,
    };
    let envelope = Envelope {
        from: membership(cluster.ids[2]),
        to: membership(other),
        op: OpId::default(),
        step: Step(1),
        deadline: Tick(u64::MAX),
        body: Body::Gossip(probe(vec![rumour])),
    };
    cluster.step(other, Some(Event::Message(envelope)));
    assert!(cluster.run_until(5000, |c| c.all_agree(PeerState::Dead, &[victim])
        && c.hosts[&other].peers[&victim].incarnation == 100));
    cluster.restart(0);
    let everybody = cluster.ids.clone();
    assert!(cluster.run_until(2000, |c| c.all_agree(PeerState::Alive, &everybody)));
    assert!(cluster.hosts[&other].peers[&victim].incarnation > 100);
    let saved = &cluster.hosts[&victim].slots[&SlotName::Incarnation];
    assert_eq!(*saved, crate::slots::encode_incarnation(101), "durable before said");
}

#[test]
fn a_link_broken_one_way_makes_nobody_flap() {
    for n in [3, 5] {
        for seed in 0..5 {
            let mut cluster = Cluster::founded(n, seed);
            let since = cluster.now_us;
            cluster.cut.insert((cluster.ids[0], cluster.ids[1]));
            cluster.run_ms(120_000);
            let everybody = cluster.ids.clone();
            assert!(cluster.all_agree(PeerState::Alive, &everybody));
            assert_eq!(cluster.turns_to(PeerState::Dead, since), 0, "{n} nodes, seed {seed}");
            assert_eq!(cluster.turns_to(PeerState::Suspect, since), 0, "{n} nodes, seed {seed}");
        }
    }
}

#[test]
fn who_can_speak_but_not_hear_is_dead_and_stays_so() {
    let mut cluster = Cluster::founded(4, 3);
    let deaf = cluster.ids[0];
    cluster.cut = cluster.ids.iter().filter(|id| **id != deaf).map(|id| (*id, deaf)).collect();
    cluster.run_ms(6000);
    let since = cluster.now_us;
    let others: Vec<_> = cluster.ids[1..].to_vec();
    let seen_by_others =
        |cluster: &Cluster, state| others.iter().all(|id| cluster.hosts[id].peers[&deaf].state == state);
    assert!(seen_by_others(&cluster, PeerState::Dead));
    cluster.run_ms(60_000);
    assert!(seen_by_others(&cluster, PeerState::Dead));
    assert_eq!(cluster.turns_to(PeerState::Alive, since), 0, "no flapping");
    cluster.cut.clear();
    let everybody = cluster.ids.clone();
    assert!(cluster.run_until(4000, |c| c.all_agree(PeerState::Alive, &everybody)));
}

#[test]
fn a_fifth_of_all_datagrams_lost_kills_nobody() {
    for (n, minutes) in [(3, 6), (5, 6), (10, 2)] {
        for seed in 0..2 {
            let mut cluster = Cluster::founded(n, seed);
            let since = cluster.now_us;
            cluster.loss_percent = 20;
            cluster.run_ms(minutes * 60_000);
            assert_eq!(cluster.turns_to(PeerState::Dead, since), 0, "{n} nodes, seed {seed}");
            assert!(cluster.turns_to(PeerState::Suspect, since) > 0, "and refutation was needed for it");
        }
    }
}

#[test]
fn two_halves_that_hold_each_other_for_dead_find_together() {
    let mut cluster = Cluster::founded(6, 4);
    let (left, right): (Vec<_>, Vec<_>) =
        cluster.ids.iter().copied().enumerate().partition(|(i, _)| i % 2 == 0);
    for (_, l) in &left {
        for (_, r) in &right {
            cluster.cut.extend([(*l, *r), (*r, *l)]);
        }
    }
    cluster.run_ms(600_000);
    assert_eq!(cluster.turns_to(PeerState::Dead, 0), 18, "each of three by each of three, both ways");
    cluster.cut.clear();
    let since = cluster.now_us;
    let everybody = cluster.ids.clone();
    assert!(cluster.run_until(6000, |c| c.all_agree(PeerState::Alive, &everybody)));
    cluster.run_ms(10_000);
    assert_eq!(cluster.turns_to(PeerState::Dead, since), 0, "their old verdicts harm nobody");
}

#[test]
fn everybody_at_once_restarts_from_its_address_book() {
    let mut cluster = Cluster::founded(5, 5);
    cluster.run_ms(10_000);
    for n in 0..5 {
        cluster.restart(n);
    }
    for host in cluster.hosts.values_mut() {
        (host.ring, host.peers) = (None, Default::default());
    }
    let everybody = cluster.ids.clone();
    assert!(cluster.run_until(2000, |c| c.all_agree(PeerState::Alive, &everybody)));
    assert!(cluster.hosts.values().all(|host| host.ring.as_deref() == Some(&genesis(5))));
    assert!(
        cluster
            .hosts
            .values()
            .all(|h| h.slots[&SlotName::Incarnation] == crate::slots::encode_incarnation(2))
    );
}

#[test]
fn a_record_spreads_from_one_founded_node_to_all_that_it_names() {
    let mut cluster = Cluster::new(6, 6);
    cluster.run_ms(50);
    // Node 5 is not in the genesis, but the others' seeds name it.
    for n in 0..6 {
        let seen = Fact::PeerSeen { node: member((n + 1) % 6).node, address: address((n + 1) % 6) };
        cluster.step(cluster.ids[n], Some(Event::Fact(seen)));
    }
    cluster.run_ms(2000);
    assert!(cluster.all_agree(PeerState::Alive, &cluster.ids.clone()), "without a record all count");
    cluster.found(2, 5);
    let members: BTreeSet<_> = cluster.ids[..5].iter().copied().collect();
    let adopted = |c: &Cluster| members.iter().all(|id| c.hosts[id].ring.is_some());
    assert!(cluster.run_until(5000, adopted));
    cluster.run_ms(10_000);
    assert!(cluster.hosts[&cluster.ids[5]].ring.is_none(), "it is not named");
    for id in &members {
        let seen: BTreeSet<_> = cluster.hosts[id].peers.keys().copied().chain([*id]).collect();
        assert_eq!(seen, members, "strangers don't count any more");
    }
    assert_eq!(cluster.replies.len(), 1);
}

#[test]
fn a_hundred_nodes_agree() {
    let mut cluster = Cluster::founded(100, 7);
    let victim = cluster.ids[42];
    cluster.stop(victim);
    assert!(cluster.run_until(2000, |c| c.turns_to(PeerState::Suspect, 4_000_000) > 0));
    assert!(cluster.run_until(1000, |c| c.all_say(&[victim], found)), "news travels within a second");
    assert!(cluster.run_until(3000, |c| c.all_agree(PeerState::Dead, &[victim])));
    cluster.run_ms(5000);
    let (messages, idle_ms) = (cluster.messages, 5000);
    cluster.run_ms(idle_ms);
    let each_s = (cluster.messages - messages) / 100 / (idle_ms / 1000);
    assert!(each_s <= 12, "{each_s} messages a second and node when nothing happens");
    cluster.resume(victim);
    let everybody = cluster.ids.clone();
    assert!(cluster.run_until(2500, |c| c.all_agree(PeerState::Alive, &everybody)));
}

#[test]
fn a_ring_slot_that_cannot_be_read_keeps_the_node_silent() {
    let mut cluster = Cluster::founded(3, 8);
    let broken = cluster.ids[0];
    cluster.stop(broken);
    cluster.hosts.get_mut(&broken).unwrap().slots.insert(SlotName::Ring, Bytes::from_static(b"?"));
    cluster.restart(0);
    cluster.run_ms(8000);
    let others = &cluster.ids[1..];
    assert!(others.iter().all(|id| cluster.hosts[id].peers[&broken].state == PeerState::Dead));
}

/// The trust of each node, after so long.
fn trusts(cluster: &mut Cluster, ms: u64) -> Vec<Option<FolderTrust>> {
    cluster.run_ms(ms);
    cluster.ids.iter().map(|node| cluster.hosts[node].trust).collect()
}

const SOUND: Option<FolderTrust> = Some(FolderTrust::Sound);

/// A cluster in which every folder has grown, which the others remember durably.
fn grown() -> Cluster {
    let mut cluster = Cluster::founded(3, 7);
    for n in 0..3 {
        cluster.grow(n, 100);
    }
    assert_eq!(trusts(&mut cluster, 10_000), [SOUND; 3]);
    cluster
}

#[test]
fn an_old_copy_of_a_folder_is_recognised_by_what_others_remember() {
    let mut cluster = grown();
    let node = cluster.ids[1];
    cluster.hosts.get_mut(&node).unwrap().records = 99;
    cluster.restart(1);
    let old = Some(FolderTrust::Old { replaceable: true });
    assert_eq!(trusts(&mut cluster, 1000), [SOUND, old, SOUND]);
    // As it was, it is sound.
    cluster.hosts.get_mut(&node).unwrap().records = 100;
    cluster.restart(1);
    assert_eq!(trusts(&mut cluster, 1000), [SOUND; 3]);
}

#[test]
fn all_may_be_put_back_together_and_none_is_replaced_if_they_differ() {
    let mut cluster = grown();
    for n in 0..3 {
        cluster.restart(n);
    }
    assert_eq!(trusts(&mut cluster, 1000), [SOUND; 3], "as they were");
    // Copies of different moments, of which each remembers more of the others than they hold.
    for n in 0..3 {
        let node = cluster.ids[n];
        cluster.hosts.get_mut(&node).unwrap().records = 90;
        cluster.restart(n);
    }
    assert_eq!(trusts(&mut cluster, 5000), [Some(FolderTrust::Old { replaceable: false }); 3]);
}

#[test]
fn a_folder_whose_others_are_away_is_trusted_after_a_while() {
    let mut cluster = grown();
    let others = [cluster.ids[0], cluster.ids[2]];
    others.iter().for_each(|node| cluster.stop(*node));
    let node = cluster.ids[1];
    cluster.hosts.get_mut(&node).unwrap().records = 50;
    cluster.restart(1);
    assert_eq!(trusts(&mut cluster, 2500)[1], None);
    assert_eq!(trusts(&mut cluster, 1000)[1], SOUND, "nobody to ask");
    // Better late than never.
    others.iter().for_each(|node| cluster.resume(*node));
    assert_eq!(trusts(&mut cluster, 10_000)[1], Some(FolderTrust::Old { replaceable: true }));
}

#[test]
fn two_old_folders_of_three_wait_for_an_operator() {
    let mut cluster = grown();
    for n in 0..2 {
        let node = cluster.ids[n];
        cluster.hosts.get_mut(&node).unwrap().records = 80 + n as u64;
        cluster.restart(n);
    }
    let waits = Some(FolderTrust::Old { replaceable: false });
    assert_eq!(trusts(&mut cluster, 10_000), [waits, waits, SOUND]);
}

#[test]
fn an_old_folder_is_not_set_aside_while_another_member_is_away_or_refilled() {
    let mut cluster = grown();
    let (old, other) = (cluster.ids[0], cluster.ids[1]);
    cluster.hosts.get_mut(&old).unwrap().records = 80;
    cluster.stop(other);
    cluster.restart(0);
    let waits = Some(FolderTrust::Old { replaceable: false });
    assert_eq!(trusts(&mut cluster, 10_000)[0], waits, "one is away");
    cluster.restart(1);
    let joining = [PartitionId(3)].into();
    let copies = CopiesSummary { joining, ..CopiesSummary::default() };
    cluster.step(other, Some(Event::Fact(Fact::CopiesChanged { shard: 0, copies: copies.into() })));
    assert_eq!(trusts(&mut cluster, 10_000)[0], waits, "one is refilled");
    let fact = Fact::CopiesChanged { shard: 0, copies: CopiesSummary::default().into() };
    cluster.step(other, Some(Event::Fact(fact)));
    assert_eq!(trusts(&mut cluster, 10_000)[0], Some(FolderTrust::Old { replaceable: true }));
}
