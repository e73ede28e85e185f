//! The manifest: which tables and log segments count, and how far each shard's log is in tables. What it doesn't list is
//! void. Version (1 byte), fields (postcard), CRC-32C.

use super::cell::Cell;
use super::trees::TreeName;
use crate::cursor::{checked, put_checksum};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use anser_machine::{Group, Lsn, TableId};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 2;

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// Its id; grows with each table.
    pub id: u64,
    /// Whose it is.
    pub shard: u32,
    /// The partitions that it holds.
    pub group: Group,
    /// Of two tables of a group that hold one key, the one with the greater age is the newer.
    pub age: u64,
    /// About how many entries of older tables of its group it makes void.
    pub voids: u64,
    /// The number of its metadata's first chunk.
    pub meta_at: u32,
    /// Its chunks, metadata and all.
    pub chunks: u32,
    /// Bytes of its chunks.
    pub bytes: u64,
}

/// What counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// How often it was changed.
    pub changes: u64,
    /// The next table's id.
    pub next_table: u64,
    /// The next segment's number.
    pub next_segment: u64,
    /// The log position of each shard through which tables hold everything.
    pub flushed: BTreeMap<u32, u64>,
    /// The tables, in any order.
    pub tables: Vec<TableEntry>,
    /// The log's segments, the oldest first.
    pub segments: Vec<u64>,
}

/// Bytes that are no manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the manifest is malformed, or of an unknown format version")]
pub struct BadManifest;

impl Manifest {
    /// Where it is stored.
    pub const CELL: Cell = Cell { tree: TreeName::Manifest, name: 0 };

    /// Lays it out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = alloc::vec![VERSION];
        let fields = postcard::to_allocvec(self);
        out.extend_from_slice(
            &fields.unwrap_or_else(|error| unreachable!("a manifest has no layout: {error}")),
        );
        put_checksum(&mut out);
        out
    }

    /// Reads it back. Total.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, BadManifest> {
        match checked(bytes).and_then(<[u8]>::split_first) {
            Some((&VERSION, fields)) => match postcard::take_from_bytes(fields) {
                Ok((manifest, [])) => Ok(manifest),
                Ok(_) | Err(_) => Err(BadManifest),
            },
            Some(_) | None => Err(BadManifest),
        }
    }

    /// Through where tables hold all of a shard's log.
    pub fn flushed(&self, shard: u32) -> Lsn {
        Lsn(self.flushed.get(&shard).copied().unwrap_or_default())
    }

    /// A shard's tables.
    pub fn tables_of(&self, shard: u32) -> impl Iterator<Item = &TableEntry> {
        self.tables.iter().filter(move |table| table.shard == shard)
    }

    /// Tables of a shard's memtable are written: they count from now on, and the log through `through` no longer does.
    pub fn install(&mut self, shard: u32, tables: impl IntoIterator<Item = TableEntry>, through: Lsn) {
        let flushed = self.flushed.entry(shard).or_default();
        *flushed = through.0.max(*flushed);
        self.add(tables);
    }

    /// Tables take the place of others.
    pub fn replace(&mut self, removed: &[TableId], added: impl IntoIterator<Item = TableEntry>) {
        self.tables.retain(|table| !removed.contains(&TableId(table.id)));
        self.add(added);
    }

    /// All tables of a group of a shard are no more; tells which they were.
    pub fn wipe(&mut self, shard: u32, group: Group) -> Vec<TableId> {
        let of_group = |table: &TableEntry| table.shard == shard && table.group == group;
        let wiped =
            self.tables.iter().filter(|table| of_group(table)).map(|table| TableId(table.id)).collect();
        self.tables.retain(|table| !of_group(table));
        wiped
    }

    fn add(&mut self, tables: impl IntoIterator<Item = TableEntry>) {
        for table in tables {
            self.next_table = self.next_table.max(table.id + 1);
            self.tables.push(table);
        }
    }

    /// Whether a tree counts.
    pub fn lists(&self, tree: TreeName) -> bool {
        match tree {
            TreeName::Manifest | TreeName::Slots => true,
            TreeName::Log(segment) => self.segments.contains(&segment),
            TreeName::Table(TableId(id)) => self.tables.iter().any(|table| table.id == id),
        }
    }
}
