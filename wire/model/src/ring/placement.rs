//! Placement: for each replication profile, the members of every partition.
//!
//! Keeps: a row's members are distinct nodes, in distinct zones where there are enough, N in each data centre. It is the
//! table itself that nodes agree on, not its inputs: another version of this code may compute another.

mod assign;
mod order;
mod quota;

use crate::id::{Member, NodeId, PartitionId};
use crate::level::Site;
use crate::ring::catalogue::Replicas;
use crate::ring::roster::{DcName, MemberState, RosterEntry};
use alloc::vec::Vec;
use assign::Room;
use serde::{Deserialize, Serialize};

/// How many rows of the table a search for stand-ins walks before it takes any member in turn.
const FALLBACK_ROWS_MAX: usize = 64;

/// The placement of one epoch. Compact: a list of members, and rows of places in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Grows with each placement of the cluster.
    pub epoch: u64,
    /// All who could be given data, sorted.
    members: Vec<Member>,
    /// The data centres, sorted by name.
    dcs: Vec<DcName>,
    /// The place in `dcs` of each member.
    dc_of: Vec<u16>,
    /// One for each profile, sorted by profile.
    tables: Vec<Table>,
}

/// A profile's rows, all of one width, one after the other; a row holds places in `members`, in preference order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Table {
    profile: Replicas,
    width: u16,
    rows: Vec<u16>,
}

/// Why there is no placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Nobody to place a profile on.
    #[error("no member can hold data")]
    NoMembers,
    /// More than a table can name.
    #[error("{0} members; a placement takes at most 65535")]
    TooManyMembers(usize),
    /// Not a power of two from 1 to 32,768.
    #[error("the number of partitions is a power of two from 1 to 32768, not {0}")]
    Partitions(u32),
}

impl Replicas {
    /// How many replicas a data centre shall hold, if it has as many members.
    pub fn in_dc(&self, dc: &DcName) -> u8 {
        match self {
            Replicas::PerDc(count) => *count,
            Replicas::Table(counts) => {
                counts.iter().find(|(name, _)| name == dc).map_or(0, |(_, count)| *count)
            }
        }
    }
}

impl Placement {
    /// Places `partitions` partitions of each profile on the roster, moving as little as balance allows from `before`.
    /// Deterministic: the same arguments give the same table.
    pub fn compute(
        epoch: u64,
        partitions: u16,
        profiles: &[Replicas],
        roster: &[RosterEntry],
        before: Option<&Placement>,
    ) -> Result<Placement, PlacementError> {
        if !partitions.is_power_of_two() {
            return Err(PlacementError::Partitions(u32::from(partitions)));
        }
        let mut serving: Vec<&RosterEntry> =
            roster.iter().filter(|entry| entry.state == MemberState::Member).collect();
        serving.sort_by_key(|entry| entry.member);
        serving.dedup_by_key(|entry| entry.member.node);
        if u16::try_from(serving.len()).is_err() {
            return Err(PlacementError::TooManyMembers(serving.len()));
        }
        let mut dcs: Vec<DcName> = serving.iter().map(|entry| entry.dc.clone()).collect();
        dcs.sort_unstable();
        dcs.dedup();
        let place = |dc| dcs.binary_search(dc).ok().and_then(|at| u16::try_from(at).ok()).unwrap_or(0);
        let dc_of = serving.iter().map(|entry| place(&entry.dc)).collect();
        let members: Vec<Member> = serving.iter().map(|entry| entry.member).collect();
        let mut profiles: Vec<&Replicas> = profiles.iter().collect();
        profiles.sort_unstable();
        profiles.dedup();
        let mut tables = Vec::with_capacity(profiles.len());
        for profile in profiles {
            let held = held_before(before, profile, &members, partitions);
            let blocks: Vec<assign::Block> = dcs
                .iter()
                .filter_map(|dc| Room::of(dc, &serving, profile.in_dc(dc), partitions))
                .map(|room| assign::assign(room, &held))
                .collect();
            let (width, rows) = order::in_preference(&blocks, partitions);
            if width == 0 {
                return Err(PlacementError::NoMembers);
            }
            tables.push(Table { profile: profile.clone(), width, rows });
        }
        Ok(Placement { epoch, members, dcs, dc_of, tables })
    }

    /// The members that hold a partition of a profile, in preference order; empty for an unknown profile.
    pub fn replicas(&self, profile: &Replicas, partition: PartitionId) -> impl Iterator<Item = Member> + '_ {
        let row = self.table(profile).and_then(|table| table.row(usize::from(partition.0)));
        row.unwrap_or_default().iter().filter_map(|place| self.members.get(usize::from(*place)).copied())
    }

    /// The same, as quorums see them.
    pub fn sites(&self, profile: &Replicas, partition: PartitionId) -> Vec<Site> {
        let row = self.table(profile).and_then(|table| table.row(usize::from(partition.0)));
        let site = |place: &u16| {
            let member = self.members.get(usize::from(*place))?;
            let dc = self.dcs.get(usize::from(self.dc(*place)))?;
            Some(Site { node: member.node, dc: dc.clone() })
        };
        row.unwrap_or_default().iter().filter_map(site).collect()
    }

    /// The members that stand in, in order, when replicas are away: those of the next rows of the table, as many in
    /// each data centre as it holds replicas (or as it has left).
    pub fn fallbacks(&self, profile: &Replicas, partition: PartitionId) -> impl Iterator<Item = Member> + '_ {
        let places = self.table(profile).map(|table| self.stand_ins(table, usize::from(partition.0)));
        places
            .unwrap_or_default()
            .into_iter()
            .filter_map(|place| self.members.get(usize::from(place)).copied())
    }

    /// All members of this placement, with data or without, sorted.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether the table has rows for a profile.
    pub fn has(&self, profile: &Replicas) -> bool {
        self.table(profile).is_some()
    }

    fn stand_ins(&self, table: &Table, partition: usize) -> Vec<u16> {
        let own = table.row(partition).unwrap_or_default();
        let mut wanted: Vec<(u16, usize)> = Vec::new();
        for dc in own.iter().map(|place| self.dc(*place)) {
            match wanted.iter_mut().find(|(known, _)| *known == dc) {
                Some((_, count)) => *count += 1,
                None => wanted.push((dc, 1)),
            }
        }
        for (dc, count) in &mut wanted {
            let there = self.dc_of.iter().filter(|other| *other == dc).count();
            *count = (*count).min(there.saturating_sub(*count));
        }
        let mut total: usize = wanted.iter().map(|(_, count)| count).sum();
        let mut found: Vec<u16> = Vec::with_capacity(total);
        let rows = table.rows.len() / usize::from(table.width).max(1);
        let next_rows = (1..rows.min(FALLBACK_ROWS_MAX))
            .filter_map(|step| table.row((partition + step) % rows))
            .flatten()
            .copied();
        let any = u16::try_from(self.members.len()).unwrap_or(u16::MAX);
        let rest = (0..any).cycle().skip(partition).take(usize::from(any));
        for place in next_rows.chain(rest) {
            if total == 0 {
                break;
            }
            let dc = self.dc(place);
            let open = wanted.iter_mut().find(|(wanted, count)| *wanted == dc && *count > 0);
            if let Some((_, count)) = open
                && !own.contains(&place)
                && !found.contains(&place)
            {
                *count -= 1;
                total -= 1;
                found.push(place);
            }
        }
        found
    }

    fn table(&self, profile: &Replicas) -> Option<&Table> {
        self.tables.iter().find(|table| table.profile == *profile)
    }

    fn dc(&self, place: u16) -> u16 {
        self.dc_of.get(usize::from(place)).copied().unwrap_or(0)
    }

    /// Checks what came from outside: that tables are whole, and that their rows name real members, each node once.
    pub(super) fn check(&self, partitions: u16, real: impl Fn(&Member) -> bool) -> Result<(), &'static str> {
        if !self.members.iter().zip(self.members.iter().skip(1)).all(|(a, b)| a.node < b.node) {
            return Err("places data on members that are not sorted and distinct");
        }
        if !self.members.iter().all(real) {
            return Err("places data on strangers");
        }
        let dcs = self.dcs.len();
        if self.dc_of.len() != self.members.len() || self.dc_of.iter().any(|dc| usize::from(*dc) >= dcs) {
            return Err("places data on members without a data centre");
        }
        if !self.tables.iter().zip(self.tables.iter().skip(1)).all(|(a, b)| a.profile < b.profile) {
            return Err("has placement tables that are not sorted and distinct");
        }
        for table in &self.tables {
            table.check(partitions, self.members.len())?;
        }
        Ok(())
    }
}

impl Table {
    fn row(&self, partition: usize) -> Option<&[u16]> {
        let width = usize::from(self.width);
        let start = partition.checked_mul(width)?;
        self.rows.get(start..start.checked_add(width)?)
    }

    fn check(&self, partitions: u16, members: usize) -> Result<(), &'static str> {
        let width = usize::from(self.width);
        if width == 0 || self.rows.len() != width * usize::from(partitions) {
            return Err("has a placement table that is not whole");
        }
        let mut row: Vec<u16> = Vec::with_capacity(width);
        for places in self.rows.chunks(width) {
            row.clear();
            row.extend_from_slice(places);
            row.sort_unstable();
            if row.iter().zip(row.iter().skip(1)).any(|(a, b)| a == b) {
                return Err("places a partition on one node twice");
            }
            if row.last().is_some_and(|place| usize::from(*place) >= members) {
                return Err("places a partition on nobody");
            }
        }
        Ok(())
    }
}

/// The rows of the placement before, in places of the members now; none where it doesn't fit.
fn held_before(
    before: Option<&Placement>,
    profile: &Replicas,
    members: &[Member],
    partitions: u16,
) -> Vec<Vec<u16>> {
    let mut held: Vec<Vec<u16>> = alloc::vec![Vec::new(); usize::from(partitions)];
    let Some((placement, table)) = before.and_then(|before| Some((before, before.table(profile)?))) else {
        return held;
    };
    let width = usize::from(table.width).max(1);
    if table.rows.len() != width * held.len() {
        return held;
    }
    let now = |member: &Member| members.binary_search(member).ok().and_then(|at| u16::try_from(at).ok());
    let places: Vec<Option<u16>> = placement.members.iter().map(now).collect();
    for (row, was) in held.iter_mut().zip(table.rows.chunks(width)) {
        row.extend(was.iter().filter_map(|place| places.get(usize::from(*place)).copied().flatten()));
    }
    held
}

/// A member's own number, which breaks ties differently for each partition.
fn seed(member: &Member) -> u64 {
    let NodeId(node) = member.node;
    xxhash_rust::xxh3::xxh3_64_with_seed(&node, u64::from_le_bytes(first_half(member.folder.0)))
}

fn first_half(bytes: [u8; 16]) -> [u8; 8] {
    bytes.first_chunk().copied().unwrap_or_default()
}

/// Scatters a number: the finaliser of SplitMix64 (Steele et al., 2014).
fn scatter(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_scatters_as_splitmix64_does() {
        // Its published outputs for the seed 0: the n-th is of n times the golden gamma.
        let first = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        for (n, output) in (1..).zip(first) {
            assert_eq!(scatter(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(n)), output, "{n}");
        }
    }
}
