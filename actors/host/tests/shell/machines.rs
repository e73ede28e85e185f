//! The production machines of a node, some of whose lives end in a panic.

use crate::stage::now_at;
use anser_compactor::Compactor;
use anser_coordinator::Coordinator;
use anser_host::{Factory, HostConfig};
use anser_machine::{Event, Machine, Now, Outbox};
use anser_membership::{Membership, Probing};
use anser_model::Life;
use anser_model::ring::RosterEntry;
use anser_proto::{Role, Tick};
use anser_replica::{EngineLimits, Limits, Replica, ReplicaConfig};
use anser_sim::{Dice, FIRST_SHARD};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;

/// Shards of a node.
pub const SHARDS: u32 = 2;
/// The actors' places among a node's: the shards stand between the coordinator and the compactor.
pub const MEMBERSHIP: usize = 0;
pub const COORDINATOR: usize = 1;
const COMPACTOR: usize = FIRST_SHARD + SHARDS as usize;
/// Actors of a node.
pub const ACTORS: usize = COMPACTOR + 1;
/// Steps that a doomed life takes at most.
const STEPS_MAX: u64 = 150;
/// Bytes of a memtable: few, so that tables are written and read.
const MEMTABLE_BYTES: usize = 4000;

/// How machines are troubled.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// Of a million lives, doomed to panic.
    pub doomed: u64,
    /// Of a million lives but the first, not even built.
    pub stillborn: u64,
    /// Until when; nobody panics later.
    pub until_ms: u64,
}

/// A process of a node.
#[derive(Clone)]
pub struct Boot {
    pub seed: u64,
    pub node: usize,
    pub boot: u32,
    pub entry: RosterEntry,
    pub address: SocketAddr,
    pub yield_every: u32,
    pub trouble: Trouble,
}

/// A machine that panics at one of its steps: before it, or once all its effects are pushed.
struct Doomed {
    machine: Box<dyn Machine>,
    steps_left: u64,
    before: bool,
    until: Tick,
}

impl Doomed {
    fn step(&mut self, now: Now, step: impl FnOnce(&mut dyn Machine)) {
        self.steps_left = self.steps_left.saturating_sub(1);
        let doom = self.steps_left == 0 && now.tick < self.until;
        if doom && self.before {
            resume_unwind(Box::new("doomed"));
        }
        step(self.machine.as_mut());
        if doom {
            resume_unwind(Box::new("doomed"));
        }
    }
}

impl Machine for Doomed {
    fn handle(&mut self, now: Now, event: Event, out: &mut Outbox) {
        self.step(now, |machine| machine.handle(now, event, out));
    }

    fn next_timeout(&self) -> Option<(Tick, &'static str)> {
        self.machine.next_timeout()
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Outbox) {
        self.step(now, |machine| machine.handle_timeout(now, out));
    }
}

impl Boot {
    fn dice(&self, part: &str) -> Dice {
        Dice::new(self.seed, &format!("node {} boot {} {part}", self.node, self.boot))
    }

    /// How an actor is hosted.
    pub fn config(&self, actor: usize) -> HostConfig {
        let (role, slot) = match actor {
            MEMBERSHIP => (Role::Membership, 0),
            COORDINATOR => (Role::Coordinator, 0),
            COMPACTOR => (Role::Compactor, 0),
            shard => (Role::Replica, shard as u32 - FIRST_SHARD as u32),
        };
        let life_first = self.dice(&format!("actor {actor}")).u64() as u32;
        HostConfig { life_first, yield_every: self.yield_every, ..HostConfig::new(role, slot) }
    }

    /// What builds an actor's machines.
    pub fn factory(&self, actor: usize) -> Factory {
        let (boot, first) = (self.clone(), self.config(actor).life_first);
        Arc::new(move |life| {
            let mut dice = boot.dice(&format!("actor {actor} life {life}"));
            let Trouble { doomed, stillborn, until_ms } = boot.trouble;
            if life == first.wrapping_add(1) && dice.chance(stillborn) {
                resume_unwind(Box::new("stillborn"));
            }
            let steps_left = if dice.chance(doomed) { dice.between(1, STEPS_MAX) } else { u64::MAX };
            let (before, until) = (dice.chance(500_000), now_at(until_ms).tick);
            Box::new(Doomed { machine: boot.machine(actor, life, &mut dice), steps_left, before, until })
        })
    }

    fn machine(&self, actor: usize, life: u32, dice: &mut Dice) -> Box<dyn Machine> {
        let member = self.entry.member;
        match actor {
            MEMBERSHIP => Box::new(Membership::new(anser_membership::Config {
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
                random_seed: dice.u64(),
            })),
            COORDINATOR => {
                let dc = self.entry.dc.clone();
                Box::new(Coordinator::new(anser_coordinator::Config::new(member.node, dc, life, dice.u64())))
            }
            COMPACTOR => Box::new(Compactor::new()),
            shard => {
                let engine = EngineLimits {
                    memtable_bytes: MEMTABLE_BYTES,
                    cache_bytes: MEMTABLE_BYTES,
                    ..EngineLimits::default()
                };
                Box::new(Replica::new(ReplicaConfig {
                    member,
                    shard: shard as u32 - FIRST_SHARD as u32,
                    shards: SHARDS,
                    life,
                    copy_life: Life(dice.u64()),
                    limits: Limits { engine, ..Limits::default() },
                }))
            }
        }
    }
}
