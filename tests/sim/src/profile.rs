//! Profiles: what kind of world a seed is run in.

use crate::Options;
use crate::faults::Kind;

/// A world's size, load and weather.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// Data centres, of so many nodes each.
    pub(crate) dcs: usize,
    pub(crate) nodes_per_dc: (u64, u64),
    /// Partitions of the ring: few, so that keys share them, but of two groups of a store.
    pub(crate) partitions: u16,
    /// Clients in all.
    pub(crate) clients: usize,
    /// Keys in each keyspace.
    pub(crate) keys: usize,
    /// Milliseconds that a client waits between two operations, on average.
    pub(crate) think_ms: u64,
    /// Milliseconds after which all clients turn to another key; 0 if each goes its own way.
    pub(crate) turn_ms: u64,
    /// Milliseconds of faults.
    pub(crate) faults_ms: u64,
    /// In a million: datagrams lost, messages late.
    pub(crate) loss: u64,
    pub(crate) late: u64,
    /// Each fault, and milliseconds between two of them on average.
    pub(crate) faults: &'static [(Kind, u64)],
}

const ALL: &[(Kind, u64)] = &[
    (Kind::Crash, 4_000),
    (Kind::LongCrash, 150_000),
    (Kind::PowerLoss, 20_000),
    (Kind::Partition, 6_000),
    (Kind::OneWay, 6_000),
    (Kind::ClientCut, 4_000),
    (Kind::Grey, 8_000),
    (Kind::Pause, 6_000),
    (Kind::Panic, 1_500),
    (Kind::Poison, 2_500),
    (Kind::Stray, 1_000),
    (Kind::SlowDisk, 6_000),
    (Kind::DiskFailure, 15_000),
    (Kind::BadBlocks, 6_000),
    (Kind::BadTable, 4_000),
    (Kind::ClockJump, 6_000),
    (Kind::Storm, 6_000),
    (Kind::LostFolder, 60_000),
    (Kind::FlippedBits, 60_000),
    (Kind::FullDisk, 12_000),
    (Kind::Swizzle, 15_000),
];
const DISKS: &[(Kind, u64)] = &[
    (Kind::Crash, 1_500),
    (Kind::PowerLoss, 5_000),
    (Kind::SlowDisk, 2_000),
    (Kind::DiskFailure, 4_000),
    (Kind::BadBlocks, 2_500),
    (Kind::BadTable, 1_000),
    (Kind::Panic, 3_000),
    (Kind::FullDisk, 4_000),
    (Kind::LostFolder, 20_000),
    (Kind::FlippedBits, 10_000),
    (Kind::Stray, 200),
];
const PARTITIONS: &[(Kind, u64)] = &[
    (Kind::Partition, 2_000),
    (Kind::OneWay, 2_000),
    (Kind::ClientCut, 2_000),
    (Kind::Storm, 3_000),
    (Kind::Crash, 8_000),
    (Kind::LongPartition, 60_000),
    (Kind::Poison, 3_000),
    (Kind::Stray, 1_000),
];
const CHURN: &[(Kind, u64)] = &[
    (Kind::Crash, 1_000),
    (Kind::PowerLoss, 10_000),
    (Kind::Pause, 2_500),
    (Kind::Panic, 400),
    (Kind::Poison, 2_000),
    (Kind::Grey, 4_000),
    (Kind::ClockJump, 4_000),
    (Kind::Swizzle, 5_000),
];
const LONG: &[(Kind, u64)] = &[
    (Kind::Crash, 4_000),
    (Kind::LongCrash, 120_000),
    (Kind::PowerLoss, 40_000),
    (Kind::Partition, 8_000),
    (Kind::LongPartition, 60_000),
    (Kind::OneWay, 6_000),
    (Kind::ClientCut, 4_000),
    (Kind::Grey, 8_000),
    (Kind::Pause, 6_000),
    (Kind::Panic, 2_500),
    (Kind::Poison, 10_000),
    (Kind::Stray, 10_000),
    (Kind::SlowDisk, 6_000),
    (Kind::DiskFailure, 30_000),
    (Kind::BadBlocks, 8_000),
    (Kind::BadTable, 5_000),
    (Kind::ClockJump, 6_000),
    (Kind::Storm, 6_000),
    (Kind::LostFolder, 200_000),
    (Kind::FlippedBits, 200_000),
    (Kind::FullDisk, 30_000),
    (Kind::Swizzle, 20_000),
];
/// One key of each keyspace, written faster than settled request ids are remembered, with answers that get lost.
const HOT: &[(Kind, u64)] = &[
    (Kind::ClientCut, 300),
    (Kind::Crash, 3_000),
    (Kind::Panic, 1_500),
    (Kind::Poison, 1_000),
    (Kind::OneWay, 2_000),
    (Kind::ClockJump, 3_000),
];
/// The same where one key after the other is hot, and copies are lost while they are written.
const TURNS: &[(Kind, u64)] = &[
    (Kind::ClientCut, 300),
    (Kind::Crash, 3_000),
    (Kind::Panic, 1_500),
    (Kind::Poison, 700),
    (Kind::Partition, 1_000),
    (Kind::OneWay, 2_000),
    (Kind::Storm, 2_000),
    (Kind::SlowDisk, 1_500),
    (Kind::BadBlocks, 400),
    (Kind::BadTable, 200),
];
/// Copies are lost at writes that count on them.
const LOSSES: &[(Kind, u64)] = &[(Kind::LossAtWrite, 150), (Kind::Storm, 4_000), (Kind::Panic, 4_000)];
/// A cluster of one: nobody has another copy of anything.
const ALONE: &[(Kind, u64)] = &[
    (Kind::Crash, 1_500),
    (Kind::Panic, 2_000),
    (Kind::SlowDisk, 2_000),
    (Kind::DiskFailure, 4_000),
    (Kind::BadBlocks, 2_000),
    (Kind::BadTable, 5_000),
    (Kind::FullDisk, 4_000),
    (Kind::ClientCut, 2_000),
];
const OLD_COPIES: &[(Kind, u64)] = &[(Kind::Crash, 2_000), (Kind::PowerLoss, 10_000), (Kind::OldCopy, 4_000)];

const FAULTS: Profile = Profile {
    name: "faults",
    dcs: 1,
    nodes_per_dc: (3, 5),
    partitions: 32,
    clients: 5,
    keys: 4,
    think_ms: 25,
    turn_ms: 0,
    faults_ms: 15_000,
    loss: 10_000,
    late: 5_000,
    faults: ALL,
};

impl Profile {
    /// The same with so many milliseconds of faults.
    #[must_use]
    pub fn lasting_ms(self, faults_ms: u64) -> Profile {
        Profile { faults_ms, ..self }
    }

    /// The same as the options want it.
    pub(crate) fn with(&self, options: &Options) -> Profile {
        Profile {
            clients: options.clients.unwrap_or(self.clients).max(1),
            keys: options.keys.unwrap_or(self.keys).max(1),
            faults_ms: options.faults_ms.unwrap_or(self.faults_ms),
            ..self.clone()
        }
    }
}

/// Every profile.
pub const PROFILES: [Profile; 12] = [
    Profile { name: "calm", faults_ms: 5_000, loss: 0, late: 1_000, faults: &[], ..FAULTS },
    FAULTS,
    Profile { name: "disks", faults: DISKS, ..FAULTS },
    Profile { name: "partitions", loss: 20_000, late: 20_000, faults: PARTITIONS, ..FAULTS },
    Profile { name: "churn", faults: CHURN, ..FAULTS },
    Profile { name: "two_dcs", dcs: 2, nodes_per_dc: (2, 4), clients: 6, ..FAULTS },
    Profile {
        name: "hot",
        clients: 8,
        keys: 1,
        think_ms: 4,
        faults_ms: 4_000,
        loss: 40_000,
        faults: HOT,
        ..FAULTS
    },
    // Many keys, each with few writes, and many at once: nothing may be forgotten yet.
    Profile {
        name: "turns",
        dcs: 2,
        nodes_per_dc: (2, 3),
        clients: 8,
        keys: 20,
        think_ms: 4,
        turn_ms: 70,
        faults_ms: 4_000,
        loss: 40_000,
        faults: TURNS,
        ..FAULTS
    },
    Profile {
        name: "losses",
        dcs: 2,
        nodes_per_dc: (2, 3),
        clients: 8,
        keys: 2,
        think_ms: 4,
        faults_ms: 6_000,
        faults: LOSSES,
        ..FAULTS
    },
    Profile { name: "alone", nodes_per_dc: (1, 1), faults_ms: 8_000, faults: ALONE, ..FAULTS },
    Profile { name: "old_copies", faults: OLD_COPIES, ..FAULTS },
    Profile { name: "long", nodes_per_dc: (3, 7), faults_ms: 180_000, keys: 8, faults: LONG, ..FAULTS },
];

/// A profile by its name.
pub fn profile(name: &str) -> Option<Profile> {
    PROFILES.into_iter().find(|profile| profile.name == name)
}
