//! Reading all of a store and telling what of it is damaged, changing nothing: manifest, slots, every record of the log,
//! every block of every table. A damage does not end it; what it hides is left out.
//!
//! Keeps: whatever a reader of the store would be given, it has verified, and whatever it passes over is told. Deliberately
//! absent: what lies outside of the trees (a folder's identity, its witness), and repair.

mod leaves;
mod table;

#[cfg(test)]
mod tests;

use super::cell::Cell;
use super::log;
use super::manifest::{Manifest, TableEntry};
use super::trees::{StoreError, TreeName, Trees};
use crate::StoreKey;
use crate::record;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use anser_machine::{Group, Lsn};
use anser_model::merkle::Fingerprint;
use anser_model::{KeyState, PartitionId};
use bytes::Bytes;
use core::fmt;
use core::ops::ControlFlow;
use leaves::{Change, Replaced};

/// Where a damage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The list of what counts.
    Manifest,
    /// A small cell of the node's control actors.
    Slot(u8),
    /// All slots.
    Slots,
    /// A segment of the log.
    Segment(u64),
    /// One shard's log over all segments.
    Log {
        /// The shard.
        shard: u32,
    },
    /// A whole table.
    Table {
        /// Its id.
        table: u64,
        /// Whose it is.
        shard: u32,
    },
    /// The hash trees of a group of partitions.
    Leaves {
        /// Whose they are.
        shard: u32,
        /// The group.
        group: Group,
    },
    /// One block of a table.
    Block {
        /// The table's id.
        table: u64,
        /// Whose it is.
        shard: u32,
        /// The block's number.
        block: u32,
    },
}

impl Place {
    /// What a damage there means for who uses the store.
    pub fn meaning(self) -> &'static str {
        match self {
            Place::Manifest => "nothing in the store can be told to count, so none of it is read",
            Place::Slot(_) | Place::Slots => {
                "what the node knew of its cluster can't be read, so it does not start"
            }
            Place::Segment(_) => "acknowledged writes may be missing, so the store is not opened",
            Place::Log { .. } => "acknowledged writes are missing, and nothing else would tell",
            Place::Table { .. } => "none of its keys can be read, so the store is not opened",
            Place::Leaves { .. } => "copies would be taken for equal that are not, or the other way round",
            Place::Block { .. } => "its keys can't be read from this copy; a read of one fails here",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Manifest => f.write_str("the manifest"),
            Place::Slot(name) => write!(f, "slot {name}"),
            Place::Slots => f.write_str("the slots"),
            Place::Segment(segment) => write!(f, "segment {segment} of the log"),
            Place::Log { shard } => write!(f, "the log of shard {shard}"),
            Place::Table { table, shard } => write!(f, "table {table} of shard {shard}"),
            Place::Leaves { shard, group } => {
                write!(f, "the hash trees of group {group} of shard {shard}")
            }
            Place::Block { table, shard, block } => {
                write!(f, "table {table} of shard {shard}, block {block}")
            }
        }
    }
}

/// Keys by partition.
pub type ByPartition = BTreeMap<PartitionId, u64>;

/// A table that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSeen {
    /// As the manifest lists it.
    pub entry: TableEntry,
    /// Its blocks that are sound.
    pub blocks: u64,
    /// Its keys in them.
    pub keys: u64,
    /// The first of them.
    pub first: Bytes,
    /// The last of them.
    pub last: Bytes,
    /// How they are spread.
    pub by_partition: ByPartition,
}

/// A segment of the log that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentSeen {
    /// Its number.
    pub segment: u64,
    /// Its pieces.
    pub pieces: u64,
    /// Bytes of its pieces.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
    /// Those that no table holds.
    pub unflushed: u64,
    /// Whether it ended in an unfinished group, which was never acknowledged.
    pub torn: bool,
    /// How the keys of those that no table holds are spread.
    pub by_partition: ByPartition,
}

/// What is found on the way, in the order in which it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// What counts, and how many bytes say so.
    Manifest(Manifest, u64),
    /// Trees that don't count: a crash left them, and the next opening drops them.
    Void(u64),
    /// A sound slot.
    Slot {
        /// Its name.
        name: u8,
        /// Bytes of its content.
        bytes: u64,
    },
    /// A segment of the log.
    Segment(SegmentSeen),
    /// A sound block of a table, or a table's sound metadata.
    Block {
        /// Bytes that are stored of it.
        bytes: u64,
    },
    /// All of a table was read; its damaged blocks were told before.
    Table(TableSeen),
    /// Something is not as it was stored.
    Damage {
        /// Where.
        place: Place,
        /// What is wrong with it.
        what: String,
    },
}

/// Takes what is found.
pub type Tell<'a> = dyn FnMut(Finding) + 'a;

/// Reads a whole store of so many shards. What comes of it is told on the way.
pub fn check(trees: &impl Trees, shards: u32, tell: &mut Tell<'_>) {
    let stored = Manifest::CELL.read(trees).map_err(what_of);
    let decoded = stored.and_then(|stored| {
        let stored = stored.ok_or_else(|| "it is missing".to_string())?;
        let manifest = Manifest::decode(&stored).map_err(|error| error.to_string())?;
        Ok((manifest, count(stored.len())))
    });
    let manifest = match decoded {
        Ok((manifest, bytes)) => {
            tell(Finding::Manifest(manifest.clone(), bytes));
            manifest
        }
        Err(what) => return tell(Finding::Damage { place: Place::Manifest, what }),
    };
    match trees.names() {
        Ok(names) => tell(Finding::Void(count(names.iter().filter(|name| !manifest.lists(**name)).count()))),
        Err(error) => tell(Finding::Damage { place: Place::Manifest, what: what_of(error) }),
    }
    slots(trees, tell);
    let replaced = logs(trees, &manifest, shards, tell);
    for entry in &manifest.tables {
        if entry.shard >= shards {
            let place = Place::Table { table: entry.id, shard: entry.shard };
            tell(Finding::Damage { place, what: format!("there are {shards} shards only") });
        }
        table::check(trees, entry, tell);
    }
    leaves::check(trees, &manifest, &replaced, tell);
}

fn what_of(error: StoreError) -> String {
    match error {
        StoreError::Failed(what) | StoreError::Damaged(what) => what,
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn slots(trees: &impl Trees, tell: &mut Tell<'_>) {
    let mut names = Vec::new();
    let walked = trees.walk(TreeName::Slots, &mut |key, _| {
        if let [name] = key {
            names.push(*name);
        }
        ControlFlow::Continue(())
    });
    if let Err(error) = walked {
        tell(Finding::Damage { place: Place::Slots, what: what_of(error) });
    }
    for name in names {
        match (Cell { tree: TreeName::Slots, name }).read(trees) {
            Ok(content) => {
                tell(Finding::Slot { name, bytes: content.map_or(0, |content| count(content.len())) });
            }
            Err(error) => tell(Finding::Damage { place: Place::Slot(name), what: what_of(error) }),
        }
    }
}

/// Reads all segments, and sees that none of a shard's positions is missing among them. Of the records that no table holds:
/// what they say that they replace.
fn logs(trees: &impl Trees, manifest: &Manifest, shards: u32, tell: &mut Tell<'_>) -> Replaced {
    let mut positions: BTreeMap<u32, BTreeMap<Lsn, Change>> = BTreeMap::new();
    let mut whole = true;
    for segment in manifest.segments.iter().copied() {
        match segment_of(trees, manifest, segment, shards, &mut positions) {
            Ok(seen) => tell(Finding::Segment(seen)),
            Err(what) => {
                whole = false;
                tell(Finding::Damage { place: Place::Segment(segment), what });
            }
        }
    }
    // With a segment that can't be read something is missing for sure, and told already.
    for (shard, positions) in positions.iter().filter(|_| whole) {
        let expected = (manifest.flushed(*shard).0..).skip(1);
        let positions = positions.keys();
        if let Some((expected, _)) = expected.zip(positions).find(|(expected, found)| *expected != found.0) {
            let what = format!("the record at position {expected} is missing, and later ones are there");
            tell(Finding::Damage { place: Place::Log { shard: *shard }, what });
        }
    }
    let mut replaced = Replaced::default();
    for (shard, changes) in positions.into_iter().filter(|_| whole) {
        changes.into_values().for_each(|change| replaced.follow(shard, change, tell));
    }
    replaced
}

fn segment_of(
    trees: &impl Trees,
    manifest: &Manifest,
    segment: u64,
    shards: u32,
    positions: &mut BTreeMap<u32, BTreeMap<Lsn, Change>>,
) -> Result<SegmentSeen, String> {
    if !trees.names().map_err(what_of)?.contains(&TreeName::Log(segment)) {
        return Err("it is missing".into());
    }
    let mut seen = SegmentSeen { segment, ..SegmentSeen::default() };
    let mut first_wrong = None;
    let replayed = log::replay(trees, segment, &mut |entry| {
        seen.records += 1;
        let flushed = entry.lsn <= manifest.flushed(entry.shard);
        if !flushed {
            seen.unflushed += 1;
        }
        match change_of(&entry, shards) {
            Ok((partition, change)) if !flushed => {
                *seen.by_partition.entry(partition).or_default() += 1;
                positions.entry(entry.shard).or_default().insert(entry.lsn, change);
            }
            Ok(_) => {}
            Err(what) => {
                first_wrong.get_or_insert(format!(
                    "the record of shard {} at position {}: {what}",
                    entry.shard, entry.lsn.0
                ));
            }
        }
    });
    let log::Replayed { bytes, pieces, torn, last: _ } = replayed.map_err(what_of)?;
    (seen.bytes, seen.pieces, seen.torn) = (bytes, pieces, torn);
    first_wrong.map_or(Ok(seen), Err)
}

/// Verifies a record: its own checksum, its key, its state.
fn change_of(entry: &log::Entry<&[u8]>, shards: u32) -> Result<(PartitionId, Change), String> {
    if entry.shard >= shards {
        return Err(format!("there are {shards} shards only"));
    }
    let record = record::decode(&Bytes::copy_from_slice(entry.bytes)).map_err(|error| error.to_string())?;
    let state = KeyState::decode(&record.state).map_err(|error| error.to_string())?;
    let parts = record.key.parts().ok_or_else(|| "its key is none".to_string())?;
    let key = record.key.as_bytes().clone();
    let counts = Fingerprint::of(&key, &state);
    Ok((parts.0, Change { key, replaces: record.replaces, counts }))
}

/// Verifies a key with its state, as a table holds them.
fn partition_in_table(key: &Bytes, state: &[u8]) -> Result<PartitionId, String> {
    let parts = StoreKey::parse(key.clone()).and_then(|key| key.parts());
    let (partition, _, _) = parts.ok_or_else(|| "a key is none of the store's".to_string())?;
    KeyState::decode(state).map_err(|error| error.to_string())?;
    Ok(partition)
}
