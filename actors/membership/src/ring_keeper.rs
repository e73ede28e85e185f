//! This node's end of the ring chain: the records it has, and which others it takes.
//!
//! Keeps I-13: a step grows only, and a record is durable before it is adopted, used or passed on. Another cluster's record
//! is never taken. Deliberately absent: deciding records.

use crate::slots::{BadSlot, decode_ring, encode_ring};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_model::ring::{Record, RecordKind, Replicas};
use anser_model::{NodeId, PartitionId, Step};
use anser_proto::Tick;
use bytes::Bytes;

/// Most records in one push.
pub(crate) const RECORDS_PER_PUSH_MAX: usize = 16;
/// At least so long between two pulls.
const PULL_GAP_MS: u64 = 500;

/// What to do about a record from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: it is known, or older than what is known.
    Nothing,
    /// Make it durable, then use it.
    Adopt,
    /// It does not follow on what is known: fetch what lies between.
    Gap,
    /// Of another cluster, or not for this node. Never taken.
    Refuse,
}

/// Judges a record by what this node has. A node takes its own seat whichever data folder it runs with: its copies are
/// refilled if the folder is not the one that the record names.
pub(crate) fn judge(own: Option<&Record>, record: &Record, me: &NodeId, cluster_name: &str) -> Verdict {
    let Some(own) = own else {
        let names_me = record.entry(me).is_some();
        return match record.kind {
            RecordKind::Genesis if names_me && record.cluster_name == cluster_name => Verdict::Adopt,
            RecordKind::Genesis => Verdict::Refuse,
        };
    };
    if record.cluster != own.cluster || record.cluster_name != own.cluster_name {
        Verdict::Refuse
    } else if record.step <= own.step {
        Verdict::Nothing
    } else if record.step.0 == own.step.0.saturating_add(1) && record.prev == own.hash() {
        Verdict::Adopt
    } else {
        Verdict::Gap
    }
}

/// The chain as far as this node has it.
#[derive(Debug, Default)]
pub(crate) struct RingKeeper {
    chain: Vec<Bytes>,
    newest: Option<Arc<Record>>,
    members: BTreeSet<NodeId>,
    replicas: BTreeMap<NodeId, u32>,
    saving: Option<(Bytes, Arc<Record>)>,
    pull_after: Tick,
}

impl RingKeeper {
    /// From the slot, at a start.
    pub fn restored(slot: Option<&[u8]>) -> Result<RingKeeper, BadSlot> {
        let mut keeper = RingKeeper::default();
        for bytes in slot.map(decode_ring).transpose()?.unwrap_or_default() {
            let record = Record::decode(&bytes).map_err(|_| BadSlot)?;
            keeper.adopt(bytes, Arc::new(record));
        }
        Ok(keeper)
    }

    /// The newest record.
    pub fn newest(&self) -> Option<&Arc<Record>> {
        self.newest.as_ref()
    }

    /// The genesis, encoded.
    pub fn genesis(&self) -> Option<&Bytes> {
        self.chain.first()
    }

    /// The record on its way to the disk, encoded.
    pub fn saving(&self) -> Option<&Bytes> {
        self.saving.as_ref().map(|(bytes, _)| bytes)
    }

    /// The step that this node is at; 0 without a record.
    pub fn step(&self) -> Step {
        self.newest.as_ref().map(|record| record.step).unwrap_or_default()
    }

    /// Whether a node counts: a member by the newest record. None if there is no record to say so.
    pub fn counts(&self, node: &NodeId) -> Option<bool> {
        self.newest.as_ref().map(|_| self.members.contains(node))
    }

    /// Partition replicas that a node holds by the read placement, summed over the replication profiles in use.
    pub fn replicas_of(&self, node: &NodeId) -> u32 {
        self.replicas.get(node).copied().unwrap_or(0)
    }

    /// Takes a judged record in: the slot's new content, to be saved. None while another is on its way.
    pub fn begin(&mut self, bytes: Bytes, record: Record) -> Option<Bytes> {
        if self.saving.is_some() {
            return None;
        }
        let mut chain = self.chain.clone();
        chain.push(bytes.clone());
        self.saving = Some((bytes, Arc::new(record)));
        Some(encode_ring(&chain))
    }

    /// The slot is durable: the record that is in force now, if it is new.
    pub fn saved(&mut self) -> Option<Arc<Record>> {
        let (bytes, record) = self.saving.take()?;
        self.adopt(bytes, record.clone());
        Some(record)
    }

    /// Whether to pull records from somebody at this step now; counts it as done.
    pub fn should_pull(&mut self, step: Step, now: Tick) -> bool {
        let due = step > self.step() && self.saving.is_none() && now >= self.pull_after;
        if due {
            self.pull_after = now.plus_ms(PULL_GAP_MS);
        }
        due
    }

    /// The records after a step, at most [`RECORDS_PER_PUSH_MAX`].
    pub fn after(&self, have: Step) -> Vec<Bytes> {
        // The chain begins with step 1, so `have` records precede what is asked for.
        let skip = usize::try_from(have.0).unwrap_or(usize::MAX);
        self.chain.iter().skip(skip).take(RECORDS_PER_PUSH_MAX).cloned().collect()
    }

    fn adopt(&mut self, bytes: Bytes, record: Arc<Record>) {
        let forgotten: BTreeSet<NodeId> = record.forgotten.iter().copied().collect();
        let roster = record.roster.iter().map(|entry| entry.member.node);
        self.members = roster.filter(|node| !forgotten.contains(node)).collect();
        self.replicas = count_replicas(&record);
        self.chain.push(bytes);
        self.newest = Some(record);
    }
}

fn count_replicas(record: &Record) -> BTreeMap<NodeId, u32> {
    let profiles: BTreeSet<&Replicas> = record.keyspaces.iter().map(|keyspace| &keyspace.replicas).collect();
    let mut counts = BTreeMap::new();
    for profile in profiles {
        for partition in 0..record.partitions {
            for member in record.read_placement().replicas(profile, PartitionId(partition)) {
                *counts.entry(member.node).or_insert(0) += 1;
            }
        }
    }
    counts
}
