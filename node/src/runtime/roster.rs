//! The node's actors: which machine each hosts, on which thread, within which bounds.

use super::budget::Budget;
use super::switchboard::{Directory, Switchboard};
use super::threads::Arbiters;
use crate::config::Config;
use anser_compactor::Compactor;
use anser_coordinator::Coordinator;
use anser_host::{Factory, HostConfig, Shell, spawn};
use anser_membership::{Membership, Probing};
use anser_model::{Life, Member};
use anser_proto::Role;
use anser_replica::{EngineLimits, Limits, Replica, ReplicaConfig};
use std::sync::Arc;

/// Nobody asks the compactor for anything.
const COMPACTOR_REQUESTS_MAX: usize = 16;

/// Starts every actor.
pub(super) fn start(
    config: &Config,
    cluster_name: &str,
    member: Member,
    arbiters: &Arbiters,
    switchboard: &Arc<Switchboard>,
) -> Directory {
    let shards = u32::try_from(arbiters.shards.len()).unwrap_or(u32::MAX);
    let budget = Budget::of(config.memory_bytes, shards);
    let shell: Arc<dyn Shell> = switchboard.clone();
    let host = |role, slot, requests_max| {
        let usual = HostConfig::new(role, slot);
        HostConfig { life_first: random_u32(), requests_max, request_bytes_max: budget.requests, ..usual }
    };
    let membership = spawn(
        &arbiters.control.handle(),
        host(Role::Membership, 0, 1024),
        membership(config, cluster_name, member, shards),
        shell.clone(),
    );
    let coordinator = spawn(
        &arbiters.network.handle(),
        host(Role::Coordinator, 0, config.max_inflight),
        coordinator(config, member),
        shell.clone(),
    );
    let compactor = spawn(
        &arbiters.control.handle(),
        host(Role::Compactor, 0, COMPACTOR_REQUESTS_MAX),
        Arc::new(|_| Box::new(Compactor::new())),
        shell.clone(),
    );
    let replicas = arbiters
        .shards
        .iter()
        .zip(0..)
        .map(|(arbiter, shard)| {
            // Every operation of a coordinator may wait here, of this node's own and of others'.
            let requests_max = config.max_inflight.saturating_mul(4);
            spawn(
                &arbiter.handle(),
                host(Role::Replica, shard, requests_max),
                replica(member, shard, shards, budget),
                shell.clone(),
            )
        })
        .collect();
    Directory { membership, coordinator, compactor, replicas }
}

fn membership(config: &Config, cluster_name: &str, member: Member, shards: u32) -> Factory {
    let (config, cluster_name) = (config.clone(), cluster_name.to_owned());
    Arc::new(move |life| {
        Box::new(Membership::new(anser_membership::Config {
            member,
            shards,
            name: config.name.clone(),
            dc: config.dc.clone(),
            zone: config.zone.clone(),
            weight: config.weight,
            address: config.advertise,
            cluster_name: cluster_name.clone(),
            probing: Probing::default(),
            life,
            random_seed: random_u64(),
        }))
    })
}

fn coordinator(config: &Config, member: Member) -> Factory {
    let (dc, value_bytes_max, inflight_max) =
        (config.dc.clone(), config.max_value_bytes, config.max_inflight);
    Arc::new(move |life| {
        let usual = anser_coordinator::Config::new(member.node, dc.clone(), life, random_u64());
        Box::new(Coordinator::new(anser_coordinator::Config { value_bytes_max, inflight_max, ..usual }))
    })
}

fn replica(member: Member, shard: u32, shards: u32, budget: Budget) -> Factory {
    let engine = EngineLimits {
        memtable_bytes: budget.memtable,
        cache_bytes: budget.cache,
        ..EngineLimits::default()
    };
    let limits = Limits { pending_bytes_max: budget.requests, engine, ..Limits::default() };
    Arc::new(move |life| {
        // A new Life at every start and every rebuild: no dot is ever minted twice.
        let copy_life = Life(random_u64());
        Box::new(Replica::new(ReplicaConfig { member, shard, shards, life, copy_life, limits }))
    })
}

/// A random number from the system: lives must not repeat, not even between two starts at one instant.
pub(super) fn random_u64() -> u64 {
    getrandom::u64().unwrap_or_else(|error| panic!("the system gives no randomness: {error}"))
}

fn random_u32() -> u32 {
    getrandom::u32().unwrap_or_else(|error| panic!("the system gives no randomness: {error}"))
}
