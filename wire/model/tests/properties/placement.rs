//! Placement over random rosters: distinctness, balance, movement, order and stand-ins.

use anser_model::ring::{
    DcName, MemberState, NodeName, Placement, PlacementError, Replicas, RosterEntry, Weight, ZoneName,
};
use anser_model::{FolderId, Member, NodeId, PartitionId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A member `id` in data centre and zone of these numbers.
fn entry(id: u16, dc: u8, zone: u8, weight: u16) -> RosterEntry {
    let mut node = [0; 16];
    node[..8].copy_from_slice(&u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    node[8..10].copy_from_slice(&id.to_be_bytes());
    RosterEntry {
        member: Member { node: NodeId(node), folder: FolderId([1; 16]) },
        name: NodeName::new(format!("n{id}")).unwrap(),
        dc: DcName::new(format!("dc{dc}")).unwrap(),
        zone: ZoneName::new(format!("z{zone}")).unwrap(),
        weight: Weight::new(weight).unwrap(),
        state: MemberState::Member,
    }
}

/// `count` equal members over `zones` zones of one data centre.
fn even(count: u16, zones: u16) -> Vec<RosterEntry> {
    (0..count).map(|id| entry(id, 0, u8::try_from(id % zones).unwrap(), 100)).collect()
}

fn rosters() -> impl Strategy<Value = Vec<RosterEntry>> {
    let member = (0..3_u8, 0..4_u8, prop_oneof![Just(100_u16), 20..300_u16]);
    prop::collection::vec(member, 1..30).prop_map(|members| {
        let entry = |(id, (dc, zone, weight)): (u16, (u8, u8, u16))| entry(id, dc, zone, weight);
        (0..).zip(members).map(entry).collect()
    })
}

fn rows(placement: &Placement, profile: &Replicas, partitions: u16) -> Vec<Vec<Member>> {
    (0..partitions).map(|p| placement.replicas(profile, PartitionId(p)).collect()).collect()
}

fn counts(rows: &[Vec<Member>]) -> BTreeMap<Member, usize> {
    let mut counts = BTreeMap::new();
    rows.iter().flatten().for_each(|member| *counts.entry(*member).or_insert(0) += 1);
    counts
}

/// How many replicas are where they were not before.
fn moved(before: &[Vec<Member>], after: &[Vec<Member>]) -> usize {
    before.iter().zip(after).map(|(b, a)| a.iter().filter(|member| !b.contains(member)).count()).sum()
}

/// The rules that no balance may break.
fn check_rows(rows: &[Vec<Member>], roster: &[RosterEntry], replicas: u8) {
    let mut dcs: BTreeMap<&DcName, Vec<&RosterEntry>> = BTreeMap::new();
    roster.iter().for_each(|entry| dcs.entry(&entry.dc).or_default().push(entry));
    for row in rows {
        let nodes: BTreeSet<Member> = row.iter().copied().collect();
        assert_eq!(nodes.len(), row.len(), "a row names a node twice");
        let mut total = 0;
        for there in dcs.values() {
            let here: Vec<_> = there.iter().filter(|entry| nodes.contains(&entry.member)).collect();
            let wanted = usize::from(replicas).min(there.len());
            assert_eq!(here.len(), wanted);
            total += wanted;
            let zones: BTreeSet<_> = there.iter().map(|entry| &entry.zone).collect();
            let used: BTreeSet<_> = here.iter().map(|entry| &entry.zone).collect();
            if zones.len() >= wanted {
                assert_eq!(used.len(), wanted, "zones are shared where there are enough");
            }
        }
        assert_eq!(row.len(), total);
    }
}

fn compute(partitions: u16, replicas: u8, roster: &[RosterEntry], before: Option<&Placement>) -> Placement {
    Placement::compute(1, partitions, &[Replicas::PerDc(replicas)], roster, before).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_distinct_and_the_table_is_deterministic(
        mut roster in rosters(), bits in 0..9_u32, replicas in 1..6_u8,
    ) {
        let placement = compute(1 << bits, replicas, &roster, None);
        check_rows(&rows(&placement, &Replicas::PerDc(replicas), 1 << bits), &roster, replicas);
        roster.reverse();
        prop_assert_eq!(&compute(1 << bits, replicas, &roster, None), &placement);
        let again = compute(1 << bits, replicas, &roster, Some(&placement));
        let (old, new) = (&Replicas::PerDc(replicas), 1 << bits);
        prop_assert_eq!(moved(&rows(&placement, old, new), &rows(&again, old, new)), 0);
    }

    #[test]
    fn shares_follow_weights(weights in prop::collection::vec(50..200_u16, 8..40), replicas in 1..4_u8) {
        let roster: Vec<_> = (0..).zip(&weights).map(|(id, weight)| entry(id, 0, 0, *weight)).collect();
        let placement = compute(1024, replicas, &roster, None);
        let counts = counts(&rows(&placement, &Replicas::PerDc(replicas), 1024));
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        for entry in &roster {
            let fair = 1024.0 * f64::from(replicas) * f64::from(entry.weight.get()) / total;
            if fair < 1000.0 {
                let held = counts.get(&entry.member).copied().unwrap_or(0) as f64;
                prop_assert!((held - fair).abs() <= 2.0, "{held} held, {fair} fair");
            }
        }
    }

    #[test]
    fn joins_and_leaves_move_what_they_must(
        roster in rosters(), joins in any::<bool>(), at in any::<prop::sample::Index>(), replicas in 1..4_u8,
    ) {
        let profile = Replicas::PerDc(replicas);
        let mut other = roster.clone();
        if joins {
            let like = &roster[at.index(roster.len())];
            let mut new = entry(500, 0, 0, like.weight.get());
            new.dc = like.dc.clone();
            new.zone = like.zone.clone();
            other.push(new);
        } else {
            other.remove(at.index(roster.len()));
            prop_assume!(!other.is_empty());
        }
        let before = compute(256, replicas, &roster, None);
        let after = compute(256, replicas, &other, Some(&before));
        let (old, new) = (rows(&before, &profile, 256), rows(&after, &profile, 256));
        check_rows(&new, &other, replicas);
        // No table could move less than what the gainers gain; a few places more buy balance and zones.
        let (had, have) = (counts(&old), counts(&new));
        let gains = |(member, count): (&Member, &usize)| count.saturating_sub(had.get(member).copied().unwrap_or(0));
        let least: usize = have.iter().map(gains).sum();
        let moves = moved(&old, &new);
        prop_assert!(moves <= least + least / 2 + 8, "{moves} moved, {least} gained");
    }

    #[test]
    fn stand_ins_are_no_replicas_and_distinct(roster in rosters(), replicas in 1..4_u8) {
        let profile = Replicas::PerDc(replicas);
        let placement = compute(64, replicas, &roster, None);
        for partition in (0..64).map(PartitionId) {
            let own: BTreeSet<Member> = placement.replicas(&profile, partition).collect();
            let stand_ins: Vec<Member> = placement.fallbacks(&profile, partition).collect();
            let distinct: BTreeSet<Member> = stand_ins.iter().copied().collect();
            prop_assert_eq!(distinct.len(), stand_ins.len());
            prop_assert!(own.is_disjoint(&distinct));
            for dc in roster.iter().map(|entry| &entry.dc).collect::<BTreeSet<_>>() {
                let of = |members: &BTreeSet<Member>| {
                    roster.iter().filter(|entry| entry.dc == *dc && members.contains(&entry.member)).count()
                };
                let there = roster.iter().filter(|entry| entry.dc == *dc).count();
                prop_assert_eq!(of(&distinct), of(&own).min(there - of(&own)));
            }
        }
    }
}

/// Equal members, whatever their number and zones: everyone within one partition of the fair share.
#[test]
fn equal_members_hold_equal_shares_and_lead_equally_often() {
    for (members, zones, partitions) in
        [(3, 1, 256), (4, 1, 256), (5, 5, 256), (7, 3, 512), (30, 6, 1024), (100, 10, 1024)]
    {
        let profile = Replicas::PerDc(3);
        let roster = even(members, zones);
        let rows = rows(&compute(partitions, 3, &roster, None), &profile, partitions);
        check_rows(&rows, &roster, 3);
        let fair = |replicas: u16| f64::from(partitions) * f64::from(replicas) / f64::from(members);
        let zones_even = members % zones == 0;
        for (member, held) in counts(&rows) {
            let off = (held as f64 - fair(3)).abs();
            assert!(!zones_even || off <= 2.0, "{members}: {held} held by {member:?}, {} fair", fair(3));
            let led = rows.iter().filter(|row| row[0] == member).count() as f64;
            assert!(!zones_even || (led - fair(1)).abs() <= 2.0 + fair(1) / 10.0, "{members}: {led} led");
        }
    }
}

#[test]
fn a_cluster_that_grows_and_shrinks_stays_balanced() {
    let profile = Replicas::PerDc(3);
    let mut roster = even(3, 3);
    let mut placement = compute(256, 3, &roster, None);
    let mut sizes: Vec<u16> = (4..=24).collect();
    sizes.extend((3..24).rev());
    for size in sizes {
        roster = even(size, 3);
        let before = rows(&placement, &profile, 256);
        placement = compute(256, 3, &roster, Some(&placement));
        let after = rows(&placement, &profile, 256);
        check_rows(&after, &roster, 3);
        // Three zones, three replicas: each zone's members share all partitions.
        for (member, held) in counts(&after) {
            let zone = &roster.iter().find(|entry| entry.member == member).unwrap().zone;
            let peers = roster.iter().filter(|entry| entry.zone == *zone).count();
            assert!(held.abs_diff(256 / peers) <= 2, "{size}: {held} of 256 over {peers}");
        }
        let peers = usize::from(size.div_ceil(3));
        assert!(moved(&before, &after) <= 256 / peers.max(2) * 2 + 8, "{size}: {}", moved(&before, &after));
    }
}

#[test]
fn two_data_centres_take_turns_to_lead() {
    let roster: Vec<_> = (0..8).map(|id| entry(id, u8::try_from(id % 2).unwrap(), 0, 100)).collect();
    let profile = Replicas::Table(vec![
        (DcName::new("dc0").unwrap(), 3),
        (DcName::new("dc1").unwrap(), 2),
        (DcName::new("elsewhere").unwrap(), 3),
    ]);
    let placement = Placement::compute(7, 64, std::slice::from_ref(&profile), &roster, None).unwrap();
    let rows = rows(&placement, &profile, 64);
    let dc_of = |member: &Member| roster.iter().find(|e| e.member == *member).unwrap().dc.as_str();
    assert_eq!(rows.iter().filter(|row| dc_of(&row[0]) == "dc0").count(), 32);
    assert!(rows.iter().all(|row| row.iter().filter(|m| dc_of(m) == "dc1").count() == 2 && row.len() == 5));
    let leads: BTreeSet<_> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(leads.len(), 8, "everyone leads");
    assert_eq!(placement.replicas(&Replicas::PerDc(3), PartitionId(0)).count(), 0);
    assert_eq!(placement.replicas(&profile, PartitionId(64)).count(), 0);
}

#[test]
fn what_cannot_be_placed_is_refused() {
    let roster = even(3, 1);
    let refused = |partitions, profile: Replicas, roster: &[RosterEntry]| {
        Placement::compute(1, partitions, &[profile], roster, None).unwrap_err()
    };
    let elsewhere = Replicas::Table(vec![(DcName::new("dc9").unwrap(), 3)]);
    assert_eq!(refused(8, Replicas::PerDc(3), &[]), PlacementError::NoMembers);
    assert_eq!(refused(8, Replicas::PerDc(0), &roster), PlacementError::NoMembers);
    assert_eq!(refused(8, elsewhere, &roster), PlacementError::NoMembers);
    assert_eq!(refused(0, Replicas::PerDc(3), &roster), PlacementError::Partitions(0));
    assert_eq!(refused(24, Replicas::PerDc(3), &roster), PlacementError::Partitions(24));
    let mut leaving = roster;
    leaving.iter_mut().for_each(|entry| entry.state = MemberState::Leaving);
    assert_eq!(refused(8, Replicas::PerDc(3), &leaving), PlacementError::NoMembers);
}

#[test]
fn a_thousand_members_are_placed_evenly() {
    let profile = Replicas::PerDc(3);
    let roster = even(1000, 20);
    for partitions in [256, 8192] {
        let started = std::time::Instant::now();
        let before = compute(partitions, 3, &roster, None);
        let fresh_ms = started.elapsed().as_millis();
        let old = rows(&before, &profile, partitions);
        check_rows(&old[..64], &roster, 3);
        let fair = f64::from(partitions) * 3.0 / 1000.0;
        let most = counts(&old).into_values().max().unwrap() as f64;
        assert!(most <= fair + 2.0, "{most} held, {fair} fair");
        let started = std::time::Instant::now();
        let after = compute(partitions, 3, &roster[..999], Some(&before));
        println!("{partitions} partitions: {fresh_ms} ms, then {} ms", started.elapsed().as_millis());
        let new = rows(&after, &profile, partitions);
        check_rows(&new[..64], &roster[..999], 3);
        assert!(moved(&old, &new) as f64 <= fair + 8.0, "{}", moved(&old, &new));
    }
}
