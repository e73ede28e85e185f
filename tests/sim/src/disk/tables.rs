//! The disk's work on tables: frozen memtables are written, synced and listed, each a moment at which a crash may come;
//! tables are merged, a little at a time when nothing else is to be done; shards are read back.

use super::{Disk, FIRST_SHARD, Origin, Outcome, Turn, shard_of};
use anser_machine::{Feedback, Frozen, LogRecord, Lsn, StoredTable, TableId};
use anser_storage::compaction::Merge;
use anser_storage::store::{Manifest, Part, StoreError, TableEntry, TreeName, Trees, install, recovery};
use bytes::Bytes;
use std::sync::Arc;

/// Most records of a shard that are handed over at once when it is read back.
const RECORDS_MAX: usize = 64;
/// Bytes that are merged in one turn: few, so that much may come between.
const MERGE_BYTES: usize = 2048;

/// What waits for its turn.
#[derive(Debug)]
pub(super) enum TableJob {
    Flush { origin: Origin, frozen: Arc<Frozen>, through: Lsn },
    Recover { origin: Origin },
}

/// How far the present job is.
#[derive(Debug)]
pub(super) enum Stage {
    /// The tables are written, and are being synced.
    Written { origin: Origin, through: Lsn, tables: Vec<(TableEntry, Bytes)> },
    /// They are synced, and are being listed.
    Synced { origin: Origin, through: Lsn, tables: Vec<(TableEntry, Bytes)> },
    /// A part of a merge is being done.
    Merging,
    /// A shard is being read back.
    Reading { origin: Origin },
}

/// A merge under way.
#[derive(Debug)]
pub(super) struct Merging {
    origin: Origin,
    shard: u32,
    merge: Merge,
    /// Whether all is written, and is being synced.
    written: bool,
}

/// Tables as the manifest lists them, and as their shard is told of them.
fn listed(written: Vec<(TableEntry, Bytes)>) -> (Vec<TableEntry>, Vec<StoredTable>) {
    written.into_iter().map(|(entry, meta)| (entry.clone(), entry.with(meta))).unzip()
}

impl Disk {
    /// Begins the next job, if there is one and none is under way.
    pub(super) fn begin_tables(&mut self, outcome: &mut Outcome) -> Result<(), StoreError> {
        if self.at_tables.is_some() {
            return Ok(());
        }
        self.at_tables = Some(match self.table_jobs.pop_front() {
            Some(TableJob::Flush { origin, frozen, through }) => {
                let next = &mut self.next_table;
                let mut next_id = || {
                    *next += 1;
                    TableId(*next - 1)
                };
                let tables = install::write_frozen(&self.trees, &mut next_id, shard_of(origin), &frozen)?;
                Stage::Written { origin, through, tables }
            }
            Some(TableJob::Recover { origin }) => Stage::Reading { origin },
            None if self.merging.is_some() => Stage::Merging,
            None => return Ok(()),
        });
        outcome.turns.push((self.sync_us(), Turn::Tables));
        Ok(())
    }

    /// Begins a merge, if none is under way and its tables are there.
    pub(super) fn begin_merge(
        &mut self,
        origin: Origin,
        shard: u32,
        inputs: &[TableId],
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        match Merge::begin(&self.trees, &self.manifest, shard, inputs)? {
            Some(merge) if self.merging.is_none() => {
                self.merging = Some(Merging { origin, shard, merge, written: false });
            }
            Some(_) | None => outcome.answers.push((origin, Feedback::Merged { shard, bytes: 0 })),
        }
        Ok(())
    }

    /// A step of the present job has ended.
    pub(super) fn next_stage(&mut self, outcome: &mut Outcome) -> Result<(), StoreError> {
        match self.at_tables.take() {
            Some(Stage::Written { origin, through, tables }) => {
                self.trees.sync_part(Part::Tables)?;
                self.at_tables = Some(Stage::Synced { origin, through, tables });
                outcome.turns.push((self.sync_us(), Turn::Tables));
                return Ok(());
            }
            Some(Stage::Synced { origin, through, tables }) => {
                let (entries, tables) = listed(tables);
                let shard = shard_of(origin);
                self.drop_needless(|manifest| manifest.install(shard, entries, through))?;
                outcome.answers.push((origin, Feedback::Flushed { tables, through }));
            }
            Some(Stage::Merging) => self.go_on_merging(outcome)?,
            Some(Stage::Reading { origin }) => self.read_back(origin, outcome)?,
            None => {}
        }
        self.begin_tables(outcome)
    }

    fn go_on_merging(&mut self, outcome: &mut Outcome) -> Result<(), StoreError> {
        let Some(mut merging) = self.merging.take() else { return Ok(()) };
        if !merging.written {
            let next = &mut self.next_table;
            let mut next_id = || {
                *next += 1;
                TableId(*next - 1)
            };
            merging.written = merging.merge.step(&self.trees, MERGE_BYTES, &mut next_id)?;
            self.merging = Some(merging);
            return Ok(());
        }
        self.trees.sync_part(Part::Tables)?;
        let Merging { origin, shard, merge, .. } = merging;
        let merged = merge.finish();
        let (bytes, removed) = (merged.bytes(), merged.removed);
        let (entries, added) = listed(merged.added);
        self.change_manifest(|manifest| manifest.replace(&removed, entries))?;
        let place = FIRST_SHARD + shard as usize;
        if let Some(life) = self.askers.get(&place) {
            let told = Feedback::TablesReplaced { removed: removed.clone(), added };
            outcome.answers.push(((place, *life), told));
        }
        for table in removed {
            self.trees.drop_tree(TreeName::Table(table))?;
        }
        outcome.answers.push((origin, Feedback::Merged { shard, bytes }));
        Ok(())
    }

    fn read_back(&mut self, origin: Origin, outcome: &mut Outcome) -> Result<(), StoreError> {
        let shard = shard_of(origin);
        let read = read_shard(&self.trees, &self.manifest, shard);
        if let Some(written) = self.trees.as_written()
            && let Ok(content) = &read
        {
            let fine = read_shard(&written, &self.manifest, shard).as_ref() == Ok(content);
            self.took(fine, || format!("shard {shard}"));
        }
        let (tables, records, next) = match read {
            Ok(read) => read,
            Err(error) if self.damaged => return Err(error),
            Err(error) => panic!("what was synced can't be read back: {error}"),
        };
        outcome.answers.push((origin, Feedback::RecoveredTables { tables }));
        let mut records = records.as_slice();
        while records.len() > RECORDS_MAX {
            let (first, rest) = records.split_at(RECORDS_MAX);
            outcome.answers.push((origin, Feedback::RecoveredLog { records: first.to_vec(), next: None }));
            records = rest;
        }
        let last = Feedback::RecoveredLog { records: records.to_vec(), next: Some(next) };
        outcome.answers.push((origin, last));
        Ok(())
    }
}

/// A shard's tables with their metadata, its log, and the position of the next record.
type Shard = (Vec<StoredTable>, Vec<LogRecord>, Lsn);

fn read_shard(trees: &impl Trees, manifest: &Manifest, shard: u32) -> Result<Shard, StoreError> {
    let tables = recovery::tables_of(trees, manifest, shard)?;
    let (records, next) = recovery::log_of(trees, manifest, shard)?;
    Ok((tables, records, next))
}
