//! `store stat`: what is in a data folder.

use super::FolderArgs;
use super::survey::Survey;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::config::ByteSize;
use crate::disk::FORMAT;
use anser_storage::StoreKey;
use anser_storage::store::check::{SegmentSeen, TableSeen};
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;

/// Partitions that are shown.
const PARTITIONS_SHOWN: usize = 10;
/// Bytes of a key that are shown.
const KEY_BYTES_SHOWN: usize = 40;

/// `anser store stat`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  anser store stat anser-dev/n1/data
  anser store stat anser-dev/n1/data --json | jq '.tables | map(.bytes) | add'

The node must not run. Reads all of the folder, and changes nothing in it: see anser store check. Keys are
shown as partition/keyspace number/key. A key counts once in each table that has a state of it, and once for
each record of it in the log that no table holds. If something is damaged, what is left is shown, and the
exit status is 2.")]
pub struct StatArgs {
    #[command(flatten)]
    folder: FolderArgs,
}

/// `store stat --json`.
#[derive(Debug, Serialize)]
struct StatJson {
    node: Option<String>,
    folder: Option<String>,
    shards: Option<u32>,
    format: u32,
    bytes_on_disk: u64,
    manifest_changes: u64,
    void_trees: u64,
    tables: Vec<TableJson>,
    segments: Vec<SegmentJson>,
    slots: Vec<SlotJson>,
    partitions: usize,
    largest_partitions: Vec<PartitionJson>,
    damaged: usize,
}

#[derive(Debug, Serialize)]
struct TableJson {
    table: u64,
    shard: u32,
    keys: u64,
    blocks: u64,
    bytes: u64,
    first: String,
    last: String,
}

#[derive(Debug, Serialize)]
struct SegmentJson {
    segment: u64,
    pieces: u64,
    records: u64,
    unflushed: u64,
    bytes: u64,
    torn: bool,
}

#[derive(Debug, Serialize)]
struct SlotJson {
    slot: u8,
    bytes: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct PartitionJson {
    partition: u16,
    keys: u64,
}

impl StatArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let at = |failure: Failure| failure.at(format_args!("store stat {}", self.folder.dir.display()));
        let survey = Survey::of(&self.folder, "reading").await.map_err(at)?;
        let stat = StatJson::of(&survey);
        if self.folder.json {
            output::json(&stat)?;
        } else {
            output::line(&text(&stat))?;
        }
        survey.sound().map_err(at)
    }
}

impl StatJson {
    fn of(survey: &Survey) -> StatJson {
        let by_partition = by_partition(&survey.tables, &survey.segments);
        let mut tables: Vec<TableJson> = survey.tables.iter().map(TableJson::of).collect();
        tables.sort_by_key(|table| (table.shard, table.table));
        StatJson {
            node: survey.whose.map(|whose| whose.node.to_string()),
            folder: survey.whose.map(|whose| whose.folder.to_string()),
            shards: survey.whose.map(|whose| whose.shards),
            format: FORMAT,
            bytes_on_disk: survey.on_disk,
            manifest_changes: survey.manifest.changes,
            void_trees: survey.void_trees,
            tables,
            segments: survey.segments.iter().map(SegmentJson::of).collect(),
            slots: survey.slots.iter().map(|(slot, bytes)| SlotJson { slot: *slot, bytes: *bytes }).collect(),
            partitions: by_partition.len(),
            largest_partitions: largest(by_partition),
            damaged: survey.damaged,
        }
    }
}

impl TableJson {
    fn of(seen: &TableSeen) -> TableJson {
        TableJson {
            table: seen.entry.id,
            shard: seen.entry.shard,
            keys: seen.keys,
            blocks: seen.blocks,
            bytes: seen.entry.bytes,
            first: shown(&seen.first),
            last: shown(&seen.last),
        }
    }
}

impl SegmentJson {
    fn of(seen: &SegmentSeen) -> SegmentJson {
        let SegmentSeen { segment, pieces, records, unflushed, bytes, torn, by_partition: _ } = *seen;
        SegmentJson { segment, pieces, records, unflushed, bytes, torn }
    }
}

/// A store key as a person reads it.
fn shown(key: &Bytes) -> String {
    let Some((partition, keyspace, key)) = StoreKey::parse(key.clone()).and_then(|key| key.parts()) else {
        return String::new();
    };
    let bytes = key.as_bytes();
    let (first, rest) = bytes.split_at(bytes.len().min(KEY_BYTES_SHOWN));
    let more = if rest.is_empty() { "" } else { "..." };
    format!("{}/{}/{}{more}", partition.0, keyspace.0, first.escape_ascii())
}

/// Keys by partition, over tables and log.
fn by_partition(tables: &[TableSeen], segments: &[SegmentSeen]) -> BTreeMap<u16, u64> {
    let in_tables = tables.iter().flat_map(|table| &table.by_partition);
    let in_log = segments.iter().flat_map(|segment| &segment.by_partition);
    let mut all = BTreeMap::new();
    for (partition, keys) in in_tables.chain(in_log) {
        *all.entry(partition.0).or_default() += keys;
    }
    all
}

/// The partitions with most keys.
fn largest(by_partition: BTreeMap<u16, u64>) -> Vec<PartitionJson> {
    let all = by_partition.into_iter().map(|(partition, keys)| PartitionJson { partition, keys });
    let mut all: Vec<PartitionJson> = all.collect();
    all.sort_by_key(|of| (std::cmp::Reverse(of.keys), of.partition));
    all.truncate(PARTITIONS_SHOWN);
    all
}

fn text(stat: &StatJson) -> String {
    let unknown = || "unknown".to_owned();
    let mut parts = vec![format!(
        "folder {} of node {}: {} shards, format {}, {} on disk, {} changes of the manifest, {} trees to be dropped",
        stat.folder.clone().unwrap_or_else(unknown),
        stat.node.clone().unwrap_or_else(unknown),
        stat.shards.map_or_else(unknown, |shards| shards.to_string()),
        stat.format,
        ByteSize(stat.bytes_on_disk),
        stat.manifest_changes,
        stat.void_trees
    )];
    let tables = stat.tables.iter().map(|table| {
        let numbers = [u64::from(table.shard), table.table, table.keys, table.blocks];
        let bytes = ByteSize(table.bytes).to_string();
        numbers.map(|number| number.to_string()).into_iter().chain([
            bytes,
            table.first.clone(),
            table.last.clone(),
        ])
    });
    parts.push(columns(&["SHARD", "TABLE", "KEYS", "BLOCKS", "SIZE", "FIRST KEY", "LAST KEY"], tables));
    let segments = stat.segments.iter().map(|segment| {
        let numbers = [segment.segment, segment.pieces, segment.records, segment.unflushed];
        numbers.map(|number| number.to_string()).into_iter().chain([ByteSize(segment.bytes).to_string()])
    });
    parts.push(columns(&["LOG SEGMENT", "PIECES", "RECORDS", "IN NO TABLE", "SIZE"], segments));
    let partitions = stat.largest_partitions.iter();
    let partitions = partitions.map(|of| [of.partition.to_string(), of.keys.to_string()]);
    parts.push(columns(&["PARTITION", "KEYS"], partitions));
    let slots = stat.slots.iter().map(|slot| [slot.slot.to_string(), ByteSize(slot.bytes).to_string()]);
    parts.push(columns(&["SLOT", "SIZE"], slots));
    parts.join("\n\n")
}

/// Aligned columns under their heads.
fn columns<R: IntoIterator<Item = String>>(heads: &[&str], rows: impl Iterator<Item = R>) -> String {
    let mut all: Vec<Vec<String>> = vec![heads.iter().map(|head| (*head).to_owned()).collect()];
    all.extend(rows.map(|row| row.into_iter().collect()));
    let width =
        |column: usize| all.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let line = |row: &Vec<String>| {
        let cells =
            row.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_model::ring::Within;
    use anser_model::{Key, KeyspaceId, PartitionId};

    #[test]
    fn keys_are_shown_by_their_parts_and_not_at_any_length() {
        let key = |bytes: Vec<u8>| {
            StoreKey::new(PartitionId(5), KeyspaceId(1), Within(9), &Key::new(bytes).unwrap())
                .as_bytes()
                .clone()
        };
        assert_eq!(shown(&key(b"a\xff".to_vec())), "5/1/a\\xff");
        assert_eq!(shown(&key(vec![b'k'; 41])), format!("5/1/{}...", "k".repeat(40)));
        assert_eq!(shown(&Bytes::new()), "");
    }

    #[test]
    fn the_largest_partitions_come_first() {
        let found = largest((0..20).map(|partition| (partition, u64::from(partition % 7))).collect());
        let found: Vec<(u16, u64)> = found.iter().map(|of| (of.partition, of.keys)).collect();
        assert_eq!(found[..4], [(6, 6), (13, 6), (5, 5), (12, 5)]);
        assert_eq!(found.len(), PARTITIONS_SHOWN);
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["1", "a"], ["100", "b"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&["N", "NAME"], rows.into_iter()), "N    NAME\n1    a\n100  b");
    }
}
