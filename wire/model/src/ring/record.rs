//! One record of the ring chain: everything that all nodes must agree on, at one step.
//!
//! Keeps: a record at hand follows its own rules (the module `rules`), wherever it came from. Whether it may follow the
//! record before it is for those who decide records.

mod rules;

use crate::id::{ClusterId, KeyspaceId, Member, NodeId, PartitionId, Step};
use crate::key::{Key, KeyspaceName};
use crate::level::Site;
use crate::ring::Within;
use crate::ring::catalogue::{Keyspace, Replicas};
use crate::ring::placement::{Placement, PlacementError};
use crate::ring::roster::RosterEntry;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The version of a record's bytes.
const FORMAT: u8 = 1;

/// What a record decided. The kinds that move data join with their mechanisms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordKind {
    /// The first record, made once by `init`.
    Genesis,
}

/// Which of the two active placements readers ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The one before the change.
    Old,
    /// The one after it.
    New,
}

/// One decided record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The cluster.
    pub cluster: ClusterId,
    /// The cluster's name, as its certificates say it.
    pub cluster_name: String,
    /// Its place in the chain; the genesis is 1.
    pub step: Step,
    /// Hash of the record before; zeros at the genesis.
    pub prev: [u8; 32],
    /// What it decided.
    pub kind: RecordKind,
    /// The members, sorted.
    pub roster: Vec<RosterEntry>,
    /// Who decides the next record.
    pub voters: Vec<Member>,
    /// Nodes that may never come back.
    pub forgotten: Vec<NodeId>,
    /// How many partitions: a power of two.
    pub partitions: u16,
    /// Seed of the hash from keys to partitions.
    pub seed: u64,
    /// The placement; while it changes, the one before.
    pub old: Placement,
    /// While it changes, the one after.
    pub new: Option<Placement>,
    /// Which of the two readers ask.
    pub read: Side,
    /// The step that brought `new`.
    pub intro: Step,
    /// The keyspaces, sorted by id.
    pub keyspaces: Vec<Keyspace>,
    /// Keys of the context tokens' MACs, the newest first; never empty.
    pub mac_keys: Vec<[u8; 32]>,
}

/// Bytes that are no record, or a record that breaks its own rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Of a format version that this build doesn't know.
    #[error("a ring record of format {0}, which this build doesn't know")]
    UnknownFormat(u8),
    /// Not decodable.
    #[error("a malformed ring record")]
    Malformed,
    /// Decodable, but against a rule.
    #[error("a ring record that {0}")]
    Rule(&'static str),
    /// No placement could be made.
    #[error(transparent)]
    Placement(#[from] PlacementError),
}

/// What a cluster is created from.
#[derive(Clone, Debug)]
pub struct Founding {
    /// Its id, drawn at random.
    pub cluster: ClusterId,
    /// Its name.
    pub cluster_name: String,
    /// Its first members.
    pub roster: Vec<RosterEntry>,
    /// A power of two.
    pub partitions: u16,
    /// Drawn at random.
    pub seed: u64,
    /// Drawn at random.
    pub mac_key: [u8; 32],
}

impl Record {
    /// The first record: its placement computed, the keyspace `default` (id 1, 3 replicas a data centre) in it. All
    /// founding members vote.
    pub fn genesis(founding: Founding) -> Result<Record, BadRecord> {
        let mut roster = founding.roster;
        roster.sort_by_key(|entry| entry.member);
        let keyspace = Keyspace::first();
        let profiles = [keyspace.replicas.clone()];
        let record = Record {
            cluster: founding.cluster,
            cluster_name: founding.cluster_name,
            step: Step(1),
            prev: [0; 32],
            kind: RecordKind::Genesis,
            voters: roster.iter().map(|entry| entry.member).collect(),
            forgotten: Vec::new(),
            partitions: founding.partitions,
            seed: founding.seed,
            old: Placement::compute(1, founding.partitions, &profiles, &roster, None)?,
            new: None,
            read: Side::Old,
            intro: Step(1),
            keyspaces: alloc::vec![keyspace],
            mac_keys: alloc::vec![founding.mac_key],
            roster,
        };
        record.check()?;
        Ok(record)
    }

    /// Hash of the encoded record: what the next one's `prev` says.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.encode()).as_bytes()
    }

    /// A format byte, then the record.
    pub fn encode(&self) -> Bytes {
        let start = alloc::vec![FORMAT];
        match postcard::to_extend(self, start) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => unreachable!("a record of plain values was not encoded: {error}"),
        }
    }

    /// Reads a record back and checks its rules. Total, in memory bounded by the input's length.
    pub fn decode(bytes: &[u8]) -> Result<Record, BadRecord> {
        match bytes.split_first() {
            Some((&FORMAT, content)) => {
                let (record, rest): (Record, _) =
                    postcard::take_from_bytes(content).map_err(|_| BadRecord::Malformed)?;
                if !rest.is_empty() {
                    return Err(BadRecord::Malformed);
                }
                record.check()?;
                Ok(record)
            }
            Some((format, _)) => Err(BadRecord::UnknownFormat(*format)),
            None => Err(BadRecord::Malformed),
        }
    }

    /// The partition of a key.
    pub fn partition_of(&self, keyspace: KeyspaceId, key: &Key) -> PartitionId {
        self.place_of(keyspace, key).0
    }

    /// The partition of a key, and where it is within that.
    pub fn place_of(&self, keyspace: KeyspaceId, key: &Key) -> (PartitionId, Within) {
        super::place_of(self.seed, self.partitions, keyspace, key)
    }

    /// A keyspace by its name.
    pub fn keyspace(&self, name: &KeyspaceName) -> Option<&Keyspace> {
        self.keyspaces.iter().find(|keyspace| keyspace.name == *name)
    }

    /// A keyspace by its id.
    pub fn keyspace_by_id(&self, id: KeyspaceId) -> Option<&Keyspace> {
        self.keyspaces.iter().find(|keyspace| keyspace.id == id)
    }

    /// The placement that readers ask.
    pub fn read_placement(&self) -> &Placement {
        match (self.read, &self.new) {
            (Side::New, Some(new)) => new,
            (Side::Old | Side::New, _) => &self.old,
        }
    }

    /// The placements that writes must reach, each on its own: one, or two during a change.
    pub fn write_placements(&self) -> impl Iterator<Item = &Placement> {
        core::iter::once(&self.old).chain(self.new.as_ref())
    }

    /// The replicas of a partition in one placement, as quorums see them, in preference order.
    pub fn sites(&self, placement: &Placement, profile: &Replicas, partition: PartitionId) -> Vec<Site> {
        placement.sites(profile, partition)
    }

    /// The roster's entry of a node.
    pub fn entry(&self, node: &NodeId) -> Option<&RosterEntry> {
        let at = self.roster.binary_search_by(|entry| entry.member.node.cmp(node)).ok()?;
        self.roster.get(at)
    }
}

#[cfg(test)]
mod tests;
