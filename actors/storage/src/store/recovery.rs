//! Reading a store back.

use super::cell;
use super::log;
use super::manifest::{Manifest, TableEntry};
use super::row::Rows;
use super::segments::{Segment, Segments};
use super::trees::{StoreError, TreeName, Trees};
use crate::table::{self, Table, chunk};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use anser_machine::{FETCH_BYTES_MAX, Group, LogRecord, Lsn, StoredTable, TableId};
use bytes::Bytes;

/// Most blocks of one run.
const RUN_BLOCKS_MAX: usize = 64;
/// The last segments of the log that are not sealed at most: the one that it goes on in, and the one after it.
const OPEN_SEGMENTS_MAX: usize = 2;

/// A store read back.
#[derive(Debug)]
pub struct Opened {
    /// What counts.
    pub manifest: Manifest,
    /// Its segments, all sealed.
    pub segments: Segments,
    /// Segments that ended in an unfinished group.
    pub torn: Vec<u64>,
    /// Pieces in each segment.
    pub pieces: BTreeMap<u64, u64>,
}

impl Opened {
    /// Whether the store has come as far as it once had: so many changes of the manifest, so many pieces in a segment.
    pub fn has_reached(&self, changes: u64, segment: u64, pieces: u64) -> bool {
        let dropped = segment < self.manifest.next_segment;
        let written = self.pieces.get(&segment).map_or(dropped, |found| *found >= pieces);
        self.manifest.changes >= changes && (written || pieces == 0)
    }
}

/// Makes an empty store; durable with the next sync.
pub fn create(trees: &impl Trees) -> Result<(), StoreError> {
    Manifest::CELL.write(trees, &Manifest::default().encode())?.sweep(trees)
}

/// Reads a store back, verifying the manifest, the slots and the whole log; drops what doesn't count. Tables are verified as
/// they are read: one that is damaged costs its group, not the store.
pub fn open(trees: &impl Trees) -> Result<Opened, StoreError> {
    let stored = Manifest::CELL.read(trees)?;
    let stored = stored.ok_or_else(|| StoreError::Damaged("the manifest is missing".into()))?;
    let manifest = Manifest::decode(&stored).map_err(|error| StoreError::Damaged(format!("{error}")))?;
    let names = trees.names()?;
    for name in names.iter().filter(|name| !manifest.lists(**name)) {
        trees.drop_tree(*name)?;
    }
    cell::sweep_tree(trees, TreeName::Manifest)?;
    cell::sweep_tree(trees, TreeName::Slots)?;
    cell::check_tree(trees, TreeName::Slots)?;
    let mut opened =
        Opened { manifest, segments: Segments::default(), torn: Vec::new(), pieces: BTreeMap::new() };
    for segment in opened.manifest.segments.iter().copied() {
        if !names.contains(&TreeName::Log(segment)) {
            return Err(StoreError::Damaged(format!("segment {segment} of the log is missing")));
        }
        let log::Replayed { last, bytes, pieces, torn } = log::replay(trees, segment, &mut |_| ())?;
        opened.pieces.insert(segment, pieces);
        *opened.segments.entry(segment) = Segment { last, bytes, sealed: true };
        if torn {
            opened.torn.push(segment);
        }
    }
    Ok(opened)
}

/// A shard's tables, read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardTables {
    /// Those that can be read, with their metadata.
    pub tables: Vec<StoredTable>,
    /// The groups of those that can't.
    pub damaged: Vec<Group>,
}

/// A shard's tables with their metadata, verified.
pub fn tables_of(trees: &impl Trees, manifest: &Manifest, shard: u32) -> Result<ShardTables, StoreError> {
    let mut read = ShardTables::default();
    for entry in manifest.tables_of(shard) {
        let id = TableId(entry.id);
        let meta = meta_of(trees, entry).and_then(|meta| match Table::open(id, meta.clone()) {
            Ok(_) => Ok(meta),
            Err(error) => Err(damaged(entry.id, &error)),
        });
        match meta {
            Ok(meta) => read.tables.push(entry.with(meta)),
            Err(StoreError::Damaged(_)) => {
                if !read.damaged.contains(&entry.group) {
                    read.damaged.push(entry.group);
                }
            }
            Err(failed @ StoreError::Failed(_)) => return Err(failed),
        }
    }
    Ok(read)
}

/// A shard's log records that no table holds, in order, and the position of the next one. They fit in memory: what
/// memtables keep of the log is bounded (see [`crate::LOG_PER_MEMTABLE`]). Other shards may write meanwhile, but not this
/// one: what it asked for before is synced, so nothing is handed out that a power cut could take back.
pub fn log_of(
    trees: &impl Trees,
    manifest: &Manifest,
    shard: u32,
) -> Result<(Vec<LogRecord>, Lsn), StoreError> {
    let flushed = manifest.flushed(shard);
    // By position, and each once: a segment's rest may have been written again at the log's end.
    let mut records: BTreeMap<Lsn, Bytes> = BTreeMap::new();
    let sealed = manifest.segments.len().saturating_sub(OPEN_SEGMENTS_MAX);
    for (place, segment) in manifest.segments.iter().enumerate() {
        let mut visit = |entry: log::Entry<&[u8]>| {
            if entry.shard == shard && entry.lsn > flushed {
                records.insert(entry.lsn, Bytes::copy_from_slice(entry.bytes));
            }
        };
        // Other shards go on writing while this one is read back.
        let replay = if place < sealed { log::replay } else { log::replay_open };
        replay(trees, *segment, &mut visit)?;
    }
    // Each segment may be whole, and older than it was: trees on a damaged disk can fall back one by one.
    if let Some((expected, _)) = (flushed.0..).skip(1).zip(records.keys()).find(|(at, lsn)| *at != lsn.0) {
        let what = format!("the log of shard {shard}: the record at position {expected} is missing");
        return Err(StoreError::Damaged(what));
    }
    let last = records.last_key_value().map_or(flushed, |(lsn, _)| *lsn);
    let records = records.into_iter().map(|(lsn, bytes)| LogRecord { lsn, bytes }).collect();
    Ok((records, Lsn(last.0 + 1)))
}

/// What a segment holds that no table does.
pub fn rest_of(trees: &impl Trees, manifest: &Manifest, segment: u64) -> Result<Vec<log::Entry>, StoreError> {
    let mut rest = Vec::new();
    log::replay(trees, segment, &mut |entry| {
        if entry.lsn > manifest.flushed(entry.shard) {
            let log::Entry { shard, lsn, bytes } = entry;
            rest.push(log::Entry { shard, lsn, bytes: Bytes::copy_from_slice(bytes) });
        }
    })?;
    Ok(rest)
}

/// A block of a table, verified and decompressed.
pub fn read_block(trees: &impl Trees, table: TableId, block: u32) -> Result<Bytes, StoreError> {
    read_block_of(trees, &mut Rows::of(table), block).map(|(content, _)| content)
}

/// A run of blocks, verified and decompressed: `count` neighbours from `first` on, or as many as come to
/// [`FETCH_BYTES_MAX`], and at least one. Blocks before one that can't be read are worth having.
pub fn read_blocks(
    trees: &impl Trees,
    table: TableId,
    first: u32,
    count: u32,
) -> Result<Vec<Bytes>, StoreError> {
    let mut rows = Rows::of(table);
    let (content, mut next) = read_block_of(trees, &mut rows, first)?;
    let mut bytes = content.len();
    let mut blocks = Vec::with_capacity(usize::try_from(count).unwrap_or_default().min(RUN_BLOCKS_MAX));
    blocks.push(content);
    for _ in 1..count {
        if bytes >= FETCH_BYTES_MAX || blocks.len() >= RUN_BLOCKS_MAX {
            break;
        }
        let Ok((content, after)) = read_block_of(trees, &mut rows, next) else { break };
        bytes += content.len();
        next = after;
        blocks.push(content);
    }
    Ok(blocks)
}

/// A block, and the number of the one behind it.
pub(crate) fn read_block_of(
    trees: &impl Trees,
    rows: &mut Rows,
    block: u32,
) -> Result<(Bytes, u32), StoreError> {
    let (packed, chunks) = read_chunks(trees, rows, block)?;
    let content = table::block::unpack(&packed).map_err(|error| damaged(rows.table().0, &error))?;
    Ok((content, block.saturating_add(chunks)))
}

/// A table's metadata.
pub(crate) fn meta_of(trees: &impl Trees, entry: &TableEntry) -> Result<Bytes, StoreError> {
    read_chunks(trees, &mut Rows::of(TableId(entry.id)), entry.meta_at).map(|(meta, _)| meta)
}

fn read_chunks(trees: &impl Trees, rows: &mut Rows, first: u32) -> Result<(Bytes, u32), StoreError> {
    let table = rows.table();
    chunk::join(table, first, |number| rows.chunk(trees, number).map_err(ReadError::Store)).map_err(|error| {
        match error {
            ReadError::Store(error) => error,
            ReadError::Chunk(error) => damaged(table.0, &error),
        }
    })
}

/// Why chunks can't be read.
enum ReadError {
    Store(StoreError),
    Chunk(chunk::BadChunk),
}

impl From<chunk::BadChunk> for ReadError {
    fn from(error: chunk::BadChunk) -> ReadError {
        ReadError::Chunk(error)
    }
}

pub(crate) fn damaged(table: u64, error: &dyn core::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("table {table}: {error}"))
}
