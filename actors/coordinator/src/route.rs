//! Where a key's requests go: per keyspace, partition and level, worked out once and kept until the ring changes.
//!
//! Keeps: each active placement has its own need, and readers ask one placement.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_model::level::{Site, Unmeetable};
use anser_model::ring::{Blind, DcName, Durability, QuorumKind, Record, Replicas, Side};
use anser_model::{Key, KeyspaceId, KeyspaceName, Level, Need, NodeId, PartitionId, Step};

/// Most levels kept for one partition; the oldest goes first.
const PLANS_PER_PARTITION_MAX: usize = 8;

/// A keyspace, as requests need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    pub id: KeyspaceId,
    profile: usize,
    pub read: Level,
    pub write: Level,
    pub quorum: QuorumKind,
    pub durability: Durability,
    pub blind: Blind,
}

/// A replica of the read placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub node: NodeId,
    /// Whether it is in the coordinator's data centre.
    pub local: bool,
}

/// Whom a request of one level on one partition goes to, and how many answers it takes.
#[derive(Debug)]
pub(crate) struct Plan {
    pub step: Step,
    pub partition: PartitionId,
    pub level: Level,
    /// The replicas that readers ask, in preference order.
    pub seats: Vec<Seat>,
    /// The replicas of all active placements, each once.
    pub write_nodes: Vec<NodeId>,
    /// What a write needs of each active placement.
    pub writes: Result<Vec<Need>, Unmeetable>,
    /// Which of `writes` is of the placement that readers ask.
    pub read_at: usize,
    /// What a read needs.
    pub read: Result<Need, Unmeetable>,
}

impl Plan {
    /// Whether a node is a replica that readers ask.
    pub fn has_seat(&self, node: &NodeId) -> bool {
        self.seats.iter().any(|seat| seat.node == *node)
    }

    /// Whether a node is such a replica in the coordinator's data centre.
    pub fn is_local(&self, node: &NodeId) -> bool {
        self.seats.iter().any(|seat| seat.local && seat.node == *node)
    }
}

/// A distinct setting of replicas.
#[derive(Debug)]
struct Profile {
    replicas: Replicas,
    /// By partition.
    plans: Vec<Vec<Arc<Plan>>>,
}

/// The adopted ring record, ready for requests.
#[derive(Debug)]
pub(crate) struct Ring {
    record: Arc<Record>,
    dc: DcName,
    keyspaces: BTreeMap<KeyspaceName, Served>,
    profiles: Vec<Profile>,
}

impl Ring {
    /// Makes a record ready, for a coordinator of data centre `dc`.
    pub fn new(record: Arc<Record>, dc: DcName) -> Ring {
        let mut profiles: Vec<Profile> = Vec::new();
        let mut keyspaces = BTreeMap::new();
        for keyspace in &record.keyspaces {
            let known = profiles.iter().position(|profile| profile.replicas == keyspace.replicas);
            let profile = known.unwrap_or_else(|| {
                let plans = (0..record.partitions).map(|_| Vec::new()).collect();
                profiles.push(Profile { replicas: keyspace.replicas.clone(), plans });
                profiles.len() - 1
            });
            let served = Served {
                id: keyspace.id,
                profile,
                read: keyspace.read,
                write: keyspace.write,
                quorum: keyspace.quorum,
                durability: keyspace.durability,
                blind: keyspace.blind,
            };
            keyspaces.insert(keyspace.name.clone(), served);
        }
        Ring { record, dc, keyspaces, profiles }
    }

    /// The record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// A keyspace by its name.
    pub fn keyspace(&self, name: &KeyspaceName) -> Option<Served> {
        self.keyspaces.get(name).copied()
    }

    /// Where a key's requests of a level go.
    pub fn plan(&mut self, served: &Served, key: &Key, level: Level) -> Arc<Plan> {
        let partition = self.record.partition_of(served.id, key);
        let (record, dc) = (&self.record, &self.dc);
        let profile = self.profiles.get_mut(served.profile);
        let Some(Profile { replicas, plans }) = profile else {
            return Arc::new(Plan::nowhere(record, partition, level));
        };
        let Some(plans) = plans.get_mut(usize::from(partition.0)) else {
            return Arc::new(Plan::make(record, replicas, dc, partition, level));
        };
        if let Some(plan) = plans.iter().find(|plan| plan.level == level) {
            return Arc::clone(plan);
        }
        if plans.len() >= PLANS_PER_PARTITION_MAX {
            plans.remove(0);
        }
        let plan = Arc::new(Plan::make(record, replicas, dc, partition, level));
        plans.push(Arc::clone(&plan));
        plan
    }
}

impl Plan {
    fn make(record: &Record, replicas: &Replicas, dc: &DcName, partition: PartitionId, level: Level) -> Plan {
        let sites = record.sites(record.read_placement(), replicas, partition);
        let active: Vec<Vec<Site>> =
            record.write_placements().map(|placement| record.sites(placement, replicas, partition)).collect();
        let mut write_nodes: Vec<NodeId> = Vec::new();
        for site in active.iter().flatten() {
            if !write_nodes.contains(&site.node) {
                write_nodes.push(site.node);
            }
        }
        let reads_new = record.new.is_some() && record.read == Side::New;
        Plan {
            step: record.step,
            partition,
            level,
            seats: sites.iter().map(|site| Seat { node: site.node, local: site.dc == *dc }).collect(),
            write_nodes,
            writes: active.iter().map(|sites| level.need(sites, dc)).collect(),
            read_at: usize::from(reads_new),
            read: level.need(&sites, dc),
        }
    }

    /// These seats, and no needs: for tests of whom to ask.
    #[cfg(test)]
    pub fn of_seats(level: Level, seats: Vec<Seat>) -> Plan {
        let none = Unmeetable::Count { asked: 1, there: 0 };
        Plan {
            step: Step(1),
            partition: PartitionId(0),
            level,
            seats,
            write_nodes: Vec::new(),
            writes: Err(none),
            read_at: 0,
            read: Err(none),
        }
    }

    /// The plan of a partition without replicas.
    fn nowhere(record: &Record, partition: PartitionId, level: Level) -> Plan {
        let none = Unmeetable::Count { asked: 1, there: 0 };
        Plan {
            step: record.step,
            partition,
            level,
            seats: Vec::new(),
            write_nodes: Vec::new(),
            writes: Err(none),
            read_at: 0,
            read: Err(none),
        }
    }
}
