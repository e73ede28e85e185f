//! One node: its identity, clocks, actors and disk.

use super::Job;
use super::cell::{Actor, Cell};
use super::unwritten::Unwritten;
use crate::dice::Dice;
use crate::disk::{Disk, FIRST_SHARD};
use crate::invariants::incarnations_grow::Said;
use anser_compactor::Compactor;
use anser_coordinator::Coordinator;
use anser_machine::{CopiesSummary, Now, Peers};
use anser_membership::{Membership, Probing};
use anser_model::ring::RosterEntry;
use anser_model::{Actor as Minter, Dot, Life, NodeId, Step};
use anser_proto::Tick;
use anser_replica::{Limits, Replica, ReplicaConfig};
use anser_storage::LOG_PER_MEMTABLE;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Shards of a node.
pub(crate) const SHARDS: u32 = 2;
/// The actors' places among a node's.
pub(crate) const MEMBERSHIP: usize = 0;
pub(crate) const COORDINATOR: usize = 1;
/// After the shards.
pub(crate) const COMPACTOR: usize = FIRST_SHARD + SHARDS as usize;
const ACTORS: usize = COMPACTOR + 1;
/// The wall clock's reading at the beginning, in milliseconds.
const WALL_START_MS: u64 = 1_700_000_000_000;

/// More than this never waits in one mailbox: clients and peers are few, and each waits for its answers.
pub(crate) const MAILBOX_MAX: usize = 1024;

/// What a node's actors are bounded by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub replica: Limits,
    pub inflight: usize,
    /// Requests that one actor is handed at a time.
    pub requests: usize,
}

impl Bounds {
    /// Most bytes of a shard's memtables, where no state was larger than `largest`: what the log keeps for them is read back
    /// at once.
    pub fn memtables(&self, largest: usize) -> usize {
        let one = self.replica.engine.memtable_bytes + largest;
        one * LOG_PER_MEMTABLE * (self.replica.engine.frozen_max + 1)
    }

    /// Most bytes of a shard's log that no table holds, of what it appended since it was read back: what its memtables were
    /// frozen for, and at most an entry more, of no more bytes than `largest`.
    pub fn unwritten(&self, largest: usize) -> usize {
        let of_memtable = LOG_PER_MEMTABLE * self.replica.engine.memtable_bytes + largest;
        of_memtable * (self.replica.engine.frozen_max + 1)
    }

    /// Most requests that wait for a node's disk: what its shards wait for, in their present lives and the one before.
    pub fn disk(&self) -> usize {
        let of_shard = self.replica.pending_max + self.replica.engine.frozen_max;
        SHARDS as usize * 2 * (of_shard + COPIES_REQUESTS) + SLOT_REQUESTS
    }
}

/// Most requests of a shard about its cell of copies, and the tables that it loses.
const COPIES_REQUESTS: usize = 8;
/// Most requests of a membership's two lives that wait for the disk.
const SLOT_REQUESTS: usize = 12;

/// How many saves a shard has begun since its process started, and how many are done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saves {
    pub begun: u64,
    pub done: u64,
}

/// See the module.
pub(crate) struct Node {
    pub entry: RosterEntry,
    pub address: SocketAddr,
    pub bounds: Bounds,
    pub dice: Dice,
    /// What its machines' own chance comes from, if not from the dice.
    pub machine_seed: Option<u64>,
    /// Counts starts and crashes: what was planned for another boot is void.
    pub boot: u32,
    pub up: bool,
    pub paused: bool,
    /// It does not start before this.
    pub away_until: u64,
    /// What came while it was paused.
    pub held: Vec<Job>,
    pub cells: Vec<Cell>,
    pub lives: Vec<Life>,
    pub disk: Disk,
    /// Microseconds that each event takes longer.
    pub grey_us: u64,
    /// When the last event within the node arrives: mailboxes keep their order.
    pub last_local: u64,
    pub wall_offset_ms: i64,
    /// What it believes of its peers.
    pub view: Option<Arc<Peers>>,
    /// Which shards it says that they answer.
    pub serving: BTreeMap<u32, bool>,
    /// How its shards say that their copies are.
    pub copies: BTreeMap<u32, Arc<CopiesSummary>>,
    /// Saves of each shard's cell of copies.
    pub saves: Vec<Saves>,
    /// What each shard's memtables keep of the log.
    pub unwritten: Vec<Unwritten>,
    /// Until when losses may come of damage that is no more.
    pub unsound_until: u64,
    /// Whether its folder is an old copy.
    pub put_back: bool,
    pub step_said: Step,
    pub said: Said,
    born: u64,
    drift_ppm: i64,
}

impl Node {
    /// A node that has never run.
    pub fn new(number: usize, entry: RosterEntry, bounds: Bounds, mut dice: Dice, disk: Disk) -> Node {
        let port = 7400 + u16::try_from(number).expect("few nodes");
        let drift_ppm = i64::try_from(dice.below(401)).unwrap_or(0) - 200;
        Node {
            entry,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            bounds,
            machine_seed: None,
            boot: 0,
            up: false,
            paused: false,
            away_until: 0,
            held: Vec::new(),
            cells: Vec::new(),
            lives: Vec::new(),
            disk,
            grey_us: 0,
            last_local: 0,
            wall_offset_ms: i64::try_from(dice.below(201)).unwrap_or(0) - 100,
            view: None,
            serving: BTreeMap::new(),
            copies: BTreeMap::new(),
            saves: Vec::new(),
            unwritten: Vec::new(),
            unsound_until: 0,
            put_back: false,
            step_said: Step(0),
            said: Said::default(),
            born: 0,
            drift_ppm,
            dice,
        }
    }

    /// Who it is.
    pub fn id(&self) -> NodeId {
        self.entry.member.node
    }

    /// A process starts at a virtual time: its monotonic clock begins anew.
    pub fn begin(&mut self, at: u64) {
        self.boot += 1;
        self.up = true;
        self.born = at;
        self.view = None;
        self.serving.clear();
        self.copies.clear();
        self.saves = vec![Saves::default(); SHARDS as usize];
        self.unwritten = vec![Unwritten::default(); SHARDS as usize];
        self.last_local = at;
        self.lives = vec![Life(0); SHARDS as usize];
        self.cells = (0..ACTORS).map(|_| Cell::default()).collect();
        for cell in &mut self.cells {
            cell.life = self.dice.u64() as u32;
        }
    }

    /// Its monotonic clock.
    pub fn tick(&self, at: u64) -> Tick {
        let since = at.saturating_sub(self.born);
        let drift = scaled(since, self.drift_ppm.unsigned_abs(), 1_000_000);
        Tick(1 + if self.drift_ppm < 0 { since - drift } else { since + drift })
    }

    /// When a tick is, in virtual time; not too early.
    pub fn when(&self, tick: Tick) -> u64 {
        let us =
            scaled(tick.0.saturating_sub(1), 1_000_000, 1_000_000_u64.saturating_add_signed(self.drift_ppm));
        self.born.saturating_add(us).saturating_add(1)
    }

    /// Both clocks.
    pub fn now(&self, at: u64) -> Now {
        let wall_ms = (WALL_START_MS + at / 1000).saturating_add_signed(self.wall_offset_ms);
        Now { tick: self.tick(at), wall_ms }
    }

    fn draw_seed(&mut self) -> u64 {
        self.machine_seed.unwrap_or_else(|| self.dice.u64())
    }

    /// Builds the machine of one of its actors.
    pub fn build(&mut self, actor: usize) -> Actor {
        let (member, life) = (self.entry.member, self.cells[actor].life);
        match actor {
            MEMBERSHIP => Actor::Membership(Box::new(Membership::new(anser_membership::Config {
                member,
                shards: SHARDS,
                name: self.entry.name.clone(),
                dc: self.entry.dc.clone(),
                zone: self.entry.zone.clone(),
                weight: self.entry.weight,
                address: self.address,
                cluster_name: "sim".to_owned(),
                probing: Probing::default(),
                life,
                random_seed: self.draw_seed(),
            }))),
            COORDINATOR => {
                let usual = anser_coordinator::Config::new(
                    member.node,
                    self.entry.dc.clone(),
                    life,
                    self.draw_seed(),
                );
                let config = anser_coordinator::Config { inflight_max: self.bounds.inflight, ..usual };
                Actor::Coordinator(Box::new(Coordinator::new(config)))
            }
            COMPACTOR => Actor::Compactor(Box::new(Compactor::new())),
            shard => {
                let shard = shard - FIRST_SHARD;
                self.lives[shard] = Life(self.dice.u64());
                Actor::Replica(Box::new(Replica::new(ReplicaConfig {
                    member,
                    shard: u32::try_from(shard).expect("few shards"),
                    shards: SHARDS,
                    life,
                    copy_life: self.lives[shard],
                    limits: self.bounds.replica,
                })))
            }
        }
    }

    /// Whether a dot was minted by a shard's present copy.
    pub fn minted(&self, shard: usize, dot: &Dot) -> bool {
        dot.actor == Minter { node: self.id(), life: self.lives[shard] }
    }
}

/// `value * by / of`, or the greatest number.
fn scaled(value: u64, by: u64, of: u64) -> u64 {
    match value.checked_mul(by) {
        Some(product) => product / of,
        // A division of 128 bits takes ten times as long.
        None => u64::try_from(u128::from(value) * u128::from(by) / u128::from(of)).unwrap_or(u64::MAX),
    }
}

/// A wall clock without fault.
pub(crate) fn true_wall_ms(at: u64) -> u64 {
    WALL_START_MS + at / 1000
}
