//! Giving the partitions of one data centre to its members, by their quotas, moving as little as that allows.
//!
//! Rows start as they were before, without what may not stay. Open places go to the neediest member that fits; then
//! whoever holds too much gives to the neediest; where nobody fits, another replica moves to make room. The search for
//! such a one is bounded: past [`SWAP_TRIES_MAX`] some balance is given up, never distinctness.

use super::quota::{Candidate, quotas, zone_limit};
use super::{scatter, seed};
use crate::ring::roster::{DcName, RosterEntry, ZoneName};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// How many swaps are looked at in all, for one profile in one data centre.
const SWAP_TRIES_MAX: u32 = 4_000_000;

/// A member of the data centre. Rows name it by its place in the data centre's list.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Its place in the placement's list of members.
    member: u16,
    weight: u16,
    zone: usize,
    seed: u64,
    quota: u32,
    count: u32,
}

/// A data centre with members that shall hold replicas.
pub(super) struct Room {
    partitions: u16,
    replicas: u32,
    zone_limit: u32,
    zone_sizes: Vec<u32>,
    nodes: Vec<Node>,
}

/// A data centre's part of each row.
pub(super) struct Block {
    /// How many replicas in each row.
    pub width: u16,
    /// For each partition its members, by their places in the placement's list.
    pub rows: Vec<Vec<u16>>,
}

impl Room {
    /// A data centre's room for `replicas` of each partition, or as many as it has members; `None` for no replica.
    pub fn of(dc: &DcName, serving: &[&RosterEntry], replicas: u8, partitions: u16) -> Option<Room> {
        let here = || (0_u16..).zip(serving).filter(|(_, entry)| entry.dc == *dc);
        let mut zones: Vec<&ZoneName> = here().map(|(_, entry)| &entry.zone).collect();
        zones.sort_unstable();
        zones.dedup();
        let node = |(member, entry): (u16, &&RosterEntry)| Node {
            member,
            weight: entry.weight.get(),
            zone: zones.binary_search(&&entry.zone).unwrap_or(0),
            seed: seed(&entry.member),
            quota: 0,
            count: 0,
        };
        let nodes: Vec<Node> = here().map(node).collect();
        let mut zone_sizes = alloc::vec![0; zones.len()];
        for node in &nodes {
            if let Some(size) = zone_sizes.get_mut(node.zone) {
                *size += 1;
            }
        }
        let replicas = u32::from(replicas).min(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
        let zone_limit = zone_limit(replicas, &zone_sizes);
        (replicas > 0).then_some(Room { partitions, replicas, zone_limit, zone_sizes, nodes })
    }
}

/// Assigns a data centre's rows. `held` are the rows before, in places of the placement's list.
pub(super) fn assign(room: Room, held: &[Vec<u16>]) -> Block {
    let width = u16::try_from(room.replicas).unwrap_or(u16::MAX);
    let mut board = Board::new(room, held);
    board.set_quotas();
    board.fill();
    board.relieve();
    board.relieve_by_swaps();
    let members: Vec<u16> = board.room.nodes.iter().map(|node| node.member).collect();
    let outside = |row: Vec<u16>| -> Vec<u16> {
        row.iter().filter_map(|at| members.get(usize::from(*at)).copied()).collect()
    };
    Block { width, rows: board.rows.into_iter().map(outside).collect() }
}

/// The rows while they are worked on.
struct Board {
    room: Room,
    rows: Vec<Vec<u16>>,
    /// Members below their quota, the neediest first: (share of the quota held, tie, member).
    needy: BTreeSet<(u64, u64, u16)>,
    tries_left: u32,
}

impl Board {
    /// The rows before, less what may not stay.
    fn new(room: Room, held: &[Vec<u16>]) -> Board {
        let rows = Vec::with_capacity(held.len());
        let mut board = Board { room, rows, needy: BTreeSet::new(), tries_left: SWAP_TRIES_MAX };
        for was in held {
            let mut row: Vec<u16> = Vec::with_capacity(usize::try_from(board.room.replicas).unwrap_or(0));
            for member in was {
                let at = board.room.nodes.binary_search_by_key(member, |node| node.member);
                let Some(at) = at.ok().and_then(|at| u16::try_from(at).ok()) else { continue };
                if !board.is_full(&row) && board.fits(at, &row, None) {
                    row.push(at);
                    board.count(at, 1);
                }
            }
            board.rows.push(row);
        }
        board
    }

    fn set_quotas(&mut self) {
        let candidate = |node: &Node| Candidate { weight: node.weight, zone: node.zone, held: node.count };
        let candidates: Vec<Candidate> = self.room.nodes.iter().map(candidate).collect();
        let partitions = u32::from(self.room.partitions);
        let quotas = quotas(partitions, self.room.replicas, &candidates, &self.room.zone_sizes);
        for (node, quota) in self.room.nodes.iter_mut().zip(quotas) {
            node.quota = quota;
        }
        for at in self.all() {
            self.needy.extend(self.need(at));
        }
    }

    /// Fills the open places of all rows.
    fn fill(&mut self) {
        for partition in 0..self.rows.len() {
            while !self.is_full(self.row(partition)) {
                let neediest = self.neediest(|at| self.fits(at, self.row(partition), None));
                if let Some(at) = neediest {
                    self.add(partition, at);
                } else if !self.fill_by_swap(partition) && !self.fill_beyond_quota(partition) {
                    break;
                }
            }
        }
    }

    /// Lets one replica elsewhere move into a row that no needy member fits into, and a needy one take its place.
    fn fill_by_swap(&mut self, partition: usize) -> bool {
        let needy: Vec<u16> = self.needy.iter().map(|(_, _, at)| *at).collect();
        for at in needy {
            let found = self.find_swap(partition, at, None);
            if let Some((other, moving)) = found {
                self.replace(other, moving, at);
                self.add(partition, moving);
                return true;
            }
        }
        false
    }

    /// Gives an open place to the member that is least over its quota; the zones' limit holds while it can.
    fn fill_beyond_quota(&mut self, partition: usize) -> bool {
        let row = self.row(partition);
        let open = |at: &u16| !row.contains(at);
        let load = |at: &u16| (!self.fits(*at, row, None), self.load(*at));
        let Some(at) = self.all().filter(open).min_by_key(load) else { return false };
        self.add(partition, at);
        true
    }

    /// Moves replicas from members over their quota to needy ones.
    fn relieve(&mut self) {
        for (at, partitions) in self.rows_of_overloaded() {
            for partition in partitions {
                if self.needy.is_empty() || self.excess(at) == 0 {
                    break;
                }
                let taker = self.neediest(|taker| self.fits(taker, self.row(partition), Some(at)));
                if let Some(taker) = taker {
                    self.replace(partition, at, taker);
                }
            }
        }
    }

    /// The same where a third member must move between, if the balance is off by more than one.
    fn relieve_by_swaps(&mut self) {
        for (at, partitions) in self.rows_of_overloaded() {
            for partition in partitions {
                let neediest = self.neediest(|_| true);
                let Some(taker) = neediest.filter(|_| self.tries_left > 0) else { return };
                if self.excess(at) == 0 || (self.excess(at) == 1 && self.deficit(taker) == 1) {
                    break;
                }
                if let Some((other, moving)) = self.find_swap(partition, taker, Some(at)) {
                    self.replace(other, moving, taker);
                    self.replace(partition, at, moving);
                }
            }
        }
    }

    /// Where `taker` could take the place of a member that could then move into `partition`, in place of `leaving`.
    fn find_swap(&mut self, partition: usize, taker: u16, leaving: Option<u16>) -> Option<(usize, u16)> {
        for step in 1..self.rows.len() {
            let other = (partition + step) % self.rows.len();
            let row = self.rows.get(other)?;
            self.tries_left = self.tries_left.checked_sub(1)?;
            for moving in row {
                let goes = Some(*moving) != leaving && self.fits(taker, row, Some(*moving));
                if goes && self.fits(*moving, self.row(partition), leaving) {
                    return Some((other, *moving));
                }
            }
        }
        None
    }

    /// The members over their quota, each with its partitions in an order of its own.
    fn rows_of_overloaded(&self) -> Vec<(u16, Vec<usize>)> {
        let mut all: Vec<(u16, Vec<usize>)> = self.all().map(|at| (at, Vec::new())).collect();
        for (partition, row) in self.rows.iter().enumerate() {
            for at in row.iter().filter(|at| self.excess(**at) > 0) {
                if let Some((_, partitions)) = all.get_mut(usize::from(*at)) {
                    partitions.push(partition);
                }
            }
        }
        all.retain(|(_, partitions)| !partitions.is_empty());
        for (at, partitions) in &mut all {
            let seed = self.node(*at).seed;
            partitions.sort_by_key(|partition| scatter(seed ^ number(*partition)));
        }
        all
    }

    /// The neediest member of which something holds.
    fn neediest(&self, holds: impl Fn(u16) -> bool) -> Option<u16> {
        self.needy.iter().map(|(_, _, at)| *at).find(|at| holds(*at))
    }

    /// Whether a member can join a row, in place of `leaving`.
    fn fits(&self, at: u16, row: &[u16], leaving: Option<u16>) -> bool {
        let zone = self.node(at).zone;
        let mut in_zone = 0;
        for other in row.iter().filter(|other| Some(**other) != leaving) {
            if *other == at {
                return false;
            }
            in_zone += u32::from(self.node(*other).zone == zone);
        }
        in_zone < self.room.zone_limit
    }

    fn add(&mut self, partition: usize, at: u16) {
        if let Some(row) = self.rows.get_mut(partition) {
            row.push(at);
        }
        self.count(at, 1);
    }

    fn replace(&mut self, partition: usize, leaving: u16, taker: u16) {
        let row = self.rows.get_mut(partition);
        if let Some(at) = row.and_then(|row| row.iter_mut().find(|at| **at == leaving)) {
            *at = taker;
        }
        self.count(leaving, -1);
        self.count(taker, 1);
    }

    /// Counts what a member holds, and keeps `needy`.
    fn count(&mut self, at: u16, change: i32) {
        if let Some(need) = self.need(at) {
            self.needy.remove(&need);
        }
        if let Some(node) = self.room.nodes.get_mut(usize::from(at)) {
            node.count = node.count.saturating_add_signed(change);
        }
        self.needy.extend(self.need(at));
    }

    /// A member's entry among the needy.
    fn need(&self, at: u16) -> Option<(u64, u64, u16)> {
        let node = self.node(at);
        let tie = scatter(node.seed ^ u64::from(node.count));
        (node.count < node.quota).then(|| (self.load(at), tie, at))
    }

    /// How full a member is, with its quota as 2 to the 32.
    fn load(&self, at: u16) -> u64 {
        let node = self.node(at);
        (u64::from(node.count) << 32) / u64::from(node.quota.max(1))
    }

    fn excess(&self, at: u16) -> u32 {
        let node = self.node(at);
        node.count.saturating_sub(node.quota)
    }

    fn deficit(&self, at: u16) -> u32 {
        let node = self.node(at);
        node.quota.saturating_sub(node.count)
    }

    fn is_full(&self, row: &[u16]) -> bool {
        number(row.len()) >= u64::from(self.room.replicas)
    }

    fn row(&self, partition: usize) -> &[u16] {
        self.rows.get(partition).map_or(&[], Vec::as_slice)
    }

    fn node(&self, at: u16) -> Node {
        self.room.nodes.get(usize::from(at)).copied().unwrap_or_default()
    }

    fn all(&self) -> impl Iterator<Item = u16> + use<> {
        0..u16::try_from(self.room.nodes.len()).unwrap_or(u16::MAX)
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
