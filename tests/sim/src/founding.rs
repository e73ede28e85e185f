//! What a world begins with: the members, the first ring record with its keyspaces, the bounds of the actors.

use crate::dice::Dice;
use crate::world::node::Bounds;
use anser_model::ring::{
    Blind, DcName, Founding, Keyspace, MemberState, NodeName, QuorumKind, Record, RosterEntry, Weight,
    ZoneName,
};
use anser_model::{ClusterId, FolderId, KeyspaceId, KeyspaceName, Member, NodeId};
use anser_replica::{EngineLimits, Limits};
use std::sync::Arc;

/// The members: so many in each data centre.
pub fn roster(dice: &mut Dice, dcs: usize, per_dc: usize) -> Vec<RosterEntry> {
    let mut roster = Vec::new();
    for number in 0..dcs * per_dc {
        let mut node = [0; 16];
        node[..8].copy_from_slice(&dice.u64().to_be_bytes());
        node[15] = u8::try_from(number).expect("few nodes");
        roster.push(RosterEntry {
            member: Member { node: NodeId(node), folder: FolderId(dice.u128().to_le_bytes()) },
            name: NodeName::new(format!("n{number}")).expect("a name"),
            dc: DcName::new(format!("dc{}", 1 + number % dcs)).expect("a name"),
            zone: ZoneName::new(format!("z{}", number / dcs % 3)).expect("a name"),
            weight: Weight::default(),
            state: MemberState::Member,
        });
    }
    roster.sort_by_key(|entry| entry.member);
    roster
}

/// The first record, of a ring of so many partitions: a sloppy keyspace, a strict one, and one whose blind writes become siblings.
pub fn genesis(dice: &mut Dice, roster: &[RosterEntry], partitions: u16) -> Arc<Record> {
    let mut mac_key = [0; 32];
    mac_key[..16].copy_from_slice(&dice.u128().to_le_bytes());
    let founding = Founding {
        cluster: ClusterId(dice.u128().to_le_bytes()),
        cluster_name: "sim".to_owned(),
        roster: roster.to_vec(),
        partitions,
        seed: dice.u64(),
        mac_key,
    };
    let mut record = Record::genesis(founding).expect("a cluster can be founded");
    let named = |name: &str| KeyspaceName::new(name).expect("a name");
    let strict = Keyspace {
        id: KeyspaceId(2),
        name: named("strict"),
        quorum: QuorumKind::Strict,
        ..Keyspace::first()
    };
    let forks =
        Keyspace { id: KeyspaceId(3), name: named("forks"), blind: Blind::Sibling, ..Keyspace::first() };
    record.keyspaces.extend([strict, forks]);
    record.check().expect("a record of three keyspaces");
    Arc::new(record)
}

/// The bounds of all actors: usually wide, sometimes so narrow that requests are refused.
pub(crate) fn bounds(dice: &mut Dice) -> Bounds {
    let narrow = dice.chance(300_000);
    let usual = Limits::default();
    Bounds {
        replica: Limits {
            // Sometimes one key each.
            page_bytes: usize::try_from(dice.between(1, 4)).unwrap_or(1).pow(6),
            pending_max: if narrow { 4 } else { 4096 },
            engine: EngineLimits {
                memtable_bytes: usize::try_from(dice.between(1, 30)).unwrap_or(16) * 700,
                frozen_max: 2,
                cache_bytes: 16 << 10,
            },
            ..usual
        },
        inflight: if narrow { 3 } else { 4096 },
        requests: if narrow { 8 } else { 16 * 1024 },
    }
}
