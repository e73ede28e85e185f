//! The disk's work on tables: frozen memtables are written, synced and listed, each a moment at which a crash may come;
//! tables are merged, a little at a time when nothing else is to be done; shards are read back.

use super::{Disk, FIRST_SHARD, Origin, Outcome, Turn, shard_of};
use anser_machine::{Feedback, Frozen, Group, LogRecord, Lsn, StoredTable, TableId};
use anser_storage::compaction::Merge;
use anser_storage::store::recovery::ShardTables;
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
    Wipe { origin: Origin, group: Group },
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
    /// A group's tables are being dropped.
    Wiping { origin: Origin, group: Group },
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
            Some(TableJob::Wipe { origin, group }) => Stage::Wiping { origin, group },
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
        let begun = Merge::begin(&self.trees, &self.manifest, shard, inputs);
        match begun {
            Ok(Some(merge)) if self.merging.is_none() => {
                self.merging = Some(Merging { origin, shard, merge, written: false });
            }
            Err(StoreError::Damaged(_)) if self.damaged => {
                let chosen = |entry: &&TableEntry| inputs.contains(&TableId(entry.id));
                if let Some(entry) = self.manifest.tables_of(shard).find(chosen) {
                    let group = entry.group;
                    self.tell_damaged(shard, group, outcome);
                }
                outcome.answers.push((origin, Feedback::Merged { shard, bytes: 0 }));
            }
            Err(error) => return Err(error),
            Ok(_) => outcome.answers.push((origin, Feedback::Merged { shard, bytes: 0 })),
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
            Some(Stage::Wiping { origin, group }) => self.wipe(origin, group, outcome)?,
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
            match merging.merge.step(&self.trees, MERGE_BYTES, &mut next_id) {
                Err(StoreError::Damaged(_)) if self.damaged => {
                    self.tell_damaged(merging.shard, merging.merge.group(), outcome);
                    return self.give_up(merging, outcome);
                }
                written => merging.written = written?,
            }
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

    /// A shard is told that a table of a group can't be trusted.
    fn tell_damaged(&self, shard: u32, group: Group, outcome: &mut Outcome) {
        let place = FIRST_SHARD + shard as usize;
        if let Some(life) = self.askers.get(&place) {
            outcome.answers.push(((place, *life), Feedback::GroupDamaged { group }));
        }
    }

    /// A merge ends without having changed anything.
    fn give_up(&mut self, merging: Merging, outcome: &mut Outcome) -> Result<(), StoreError> {
        for table in merging.merge.written() {
            self.trees.drop_tree(TreeName::Table(table))?;
        }
        outcome.answers.push((merging.origin, Feedback::Merged { shard: merging.shard, bytes: 0 }));
        Ok(())
    }

    fn wipe(&mut self, origin: Origin, group: Group, outcome: &mut Outcome) -> Result<(), StoreError> {
        let shard = shard_of(origin);
        if let Some(merging) = self.merging.take_if(|merging| merging.merge.is_of(shard, group)) {
            self.give_up(merging, outcome)?;
        }
        let mut wiped = Vec::new();
        self.change_manifest(|manifest| wiped = manifest.wipe(shard, group))?;
        for table in wiped {
            self.trees.drop_tree(TreeName::Table(table))?;
        }
        outcome.answers.push((origin, Feedback::Wiped { group }));
        Ok(())
    }

    fn read_back(&mut self, origin: Origin, outcome: &mut Outcome) -> Result<(), StoreError> {
        let shard = shard_of(origin);
        let read = read_shard(&self.trees, &self.manifest, shard);
        if let Some(written) = self.trees.as_written()
            && let Ok(content) = &read
        {
            let fine =
                read_shard(&written, &self.manifest, shard).is_ok_and(|whole| is_part(content, &whole));
            self.took(fine, || format!("shard {shard}"));
        }
        let (tables, records, next) = match read {
            Ok(read) => read,
            Err(error) if self.damaged => return Err(error),
            Err(error) => panic!("what was synced can't be read back: {error}"),
        };
        let ShardTables { tables, damaged } = tables;
        assert!(damaged.is_empty() || self.damaged, "what was synced can't be read back");
        outcome.answers.push((origin, Feedback::RecoveredTables { tables, damaged }));
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
type Shard = (ShardTables, Vec<LogRecord>, Lsn);

/// Whether a shard was read back as it was written, but for the tables of groups that are known to be damaged.
fn is_part(read: &Shard, whole: &Shard) -> bool {
    let known = |table: &StoredTable| read.0.tables.contains(table) || read.0.damaged.contains(&table.group);
    let as_written = read.0.tables.iter().all(|table| whole.0.tables.contains(table));
    as_written && whole.0.tables.iter().all(known) && (&read.1, read.2) == (&whole.1, whole.2)
}

fn read_shard(trees: &impl Trees, manifest: &Manifest, shard: u32) -> Result<Shard, StoreError> {
    let tables = recovery::tables_of(trees, manifest, shard)?;
    let (records, next) = recovery::log_of(trees, manifest, shard)?;
    Ok((tables, records, next))
}
