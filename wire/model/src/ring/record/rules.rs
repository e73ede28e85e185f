//! What a record must be by itself. Checked when one is made and when one is read.
//!
//! Keeps I-17: a forgotten node is in no roster.

use super::{BadRecord, Record, RecordKind, Side};
use crate::id::{Member, Step};
use crate::ring::catalogue::{Durability, QuorumKind, Replicas};
use alloc::vec::Vec;

/// Longest name of a cluster, in bytes.
const CLUSTER_NAME_BYTES_MAX: usize = 63;
/// Most MAC keys at once: the newest, and those whose tokens may still be about.
const MAC_KEYS_MAX: usize = 16;

impl Record {
    /// Checks the record's rules; `Err` names the first that it breaks.
    pub fn check(&self) -> Result<(), BadRecord> {
        self.check_place()
            .and_then(|()| self.check_roster())
            .and_then(|()| self.check_placements())
            .and_then(|()| self.check_keyspaces())
            .map_err(BadRecord::Rule)
    }

    fn check_place(&self) -> Result<(), &'static str> {
        let genesis = match self.kind {
            RecordKind::Genesis => self.step == Step(1) && self.prev == [0; 32],
        };
        if !genesis {
            return Err("is no step 1 without a step before, as the genesis must be");
        }
        if !(1..=CLUSTER_NAME_BYTES_MAX).contains(&self.cluster_name.len()) {
            return Err("has a cluster name that is not of 1 to 63 bytes");
        }
        if !(1..=MAC_KEYS_MAX).contains(&self.mac_keys.len()) {
            return Err("has not 1 to 16 keys for contexts");
        }
        Ok(())
    }

    fn check_roster(&self) -> Result<(), &'static str> {
        if self.roster.is_empty() {
            return Err("has no members");
        }
        if !ascending(self.roster.iter().map(|entry| entry.member.node)) {
            return Err("has members that are not sorted and distinct");
        }
        let mut names: Vec<&str> = self.roster.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        if !ascending(names) {
            return Err("has two members of one name");
        }
        if self.voters.is_empty() || !ascending(self.voters.iter()) {
            return Err("has no voters, or voters that are not sorted and distinct");
        }
        if !self.voters.iter().all(|voter| self.lists(voter)) {
            return Err("has voters outside its roster");
        }
        if !ascending(self.forgotten.iter()) {
            return Err("has forgotten nodes that are not sorted and distinct");
        }
        if self.forgotten.iter().any(|node| self.entry(node).is_some()) {
            return Err("has a forgotten node among its members");
        }
        Ok(())
    }

    fn check_placements(&self) -> Result<(), &'static str> {
        if !self.partitions.is_power_of_two() {
            return Err("has a number of partitions that is no power of two");
        }
        let real = |member: &Member| self.lists(member) || self.forgotten.binary_search(&member.node).is_ok();
        for placement in self.write_placements() {
            placement.check(self.partitions, real)?;
        }
        if self.new.as_ref().is_some_and(|new| new.epoch <= self.old.epoch) {
            return Err("has a new placement that is not of a later epoch");
        }
        match (self.read, &self.new) {
            (Side::New, None) => Err("reads a new placement and has none"),
            (Side::New | Side::Old, _) if self.intro > self.step => Err("was introduced after itself"),
            (Side::New | Side::Old, _) => Ok(()),
        }
    }

    fn check_keyspaces(&self) -> Result<(), &'static str> {
        if !ascending(self.keyspaces.iter().map(|keyspace| keyspace.id)) {
            return Err("has keyspaces that are not sorted and distinct");
        }
        let mut names: Vec<&str> = self.keyspaces.iter().map(|keyspace| keyspace.name.as_str()).collect();
        names.sort_unstable();
        if !ascending(names) {
            return Err("has two keyspaces of one name");
        }
        for keyspace in &self.keyspaces {
            let sorted = match &keyspace.replicas {
                Replicas::PerDc(_) => true,
                Replicas::Table(counts) => ascending(counts.iter().map(|(dc, _)| dc)),
            };
            if !sorted {
                return Err("has a keyspace whose data centres are not sorted and distinct");
            }
            if !self.write_placements().any(|placement| placement.has(&keyspace.replicas)) {
                return Err("has a keyspace without a placement");
            }
            // What a strict read has shown must not go back, and memory does.
            if (keyspace.quorum, keyspace.durability) == (QuorumKind::Strict, Durability::Interval) {
                return Err("has a strict keyspace that is acknowledged from memory");
            }
        }
        Ok(())
    }

    /// Whether the roster lists this very member, with its folder.
    fn lists(&self, member: &Member) -> bool {
        self.entry(&member.node).is_some_and(|entry| entry.member == *member)
    }
}

/// Whether each is greater than the one before.
fn ascending<T: Ord>(values: impl IntoIterator<Item = T>) -> bool {
    let mut last = None;
    values.into_iter().all(|value| {
        let ascends = last.as_ref().is_none_or(|last| *last < value);
        last = Some(value);
        ascends
    })
}
