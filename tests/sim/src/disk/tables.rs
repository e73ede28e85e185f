//! The disk's work on tables: frozen memtables are written, synced and listed, each a moment at which a crash may come;
//! shards are read back.

use super::{Disk, Origin, Outcome, Turn, shard_of};
use anser_machine::{Feedback, Frozen, LogRecord, Lsn, TableId};
use anser_storage::store::{Manifest, StoreError, TableEntry, Trees, recovery};
use anser_storage::table;
use bytes::Bytes;
use std::sync::Arc;

/// Most records of a shard that are handed over at once when it is read back.
const RECORDS_MAX: usize = 64;

/// What waits for its turn.
#[derive(Debug)]
pub(super) enum TableJob {
    Flush { origin: Origin, frozen: Arc<Frozen>, through: Lsn },
    Recover { origin: Origin },
}

/// How far the present job is.
#[derive(Debug)]
pub(super) enum Stage {
    /// The table is written, and is being synced.
    Written { origin: Origin, through: Lsn, entry: TableEntry, meta: Bytes },
    /// It is synced, and is being listed.
    Synced { origin: Origin, through: Lsn, entry: TableEntry, meta: Bytes },
    /// A shard is being read back.
    Reading { origin: Origin },
}

impl Disk {
    /// Begins the next job, if there is one and none is under way.
    pub(super) fn begin_tables(&mut self, outcome: &mut Outcome) -> Result<(), StoreError> {
        if self.at_tables.is_some() {
            return Ok(());
        }
        let Some(job) = self.table_jobs.pop_front() else { return Ok(()) };
        self.at_tables = Some(match job {
            TableJob::Flush { origin, frozen, through } => {
                let id = TableId(self.manifest.next_table);
                let finished = table::write(id, &frozen);
                let entry = recovery::store_table(&self.trees, id, shard_of(origin), &finished)?;
                Stage::Written { origin, through, entry, meta: finished.meta }
            }
            TableJob::Recover { origin } => Stage::Reading { origin },
        });
        outcome.turns.push((self.sync_us(), Turn::Tables));
        Ok(())
    }

    /// A step of the present job has ended.
    pub(super) fn next_stage(&mut self, outcome: &mut Outcome) -> Result<(), StoreError> {
        match self.at_tables.take() {
            Some(Stage::Written { origin, through, entry, meta }) => {
                self.trees.sync()?;
                self.at_tables = Some(Stage::Synced { origin, through, entry, meta });
                outcome.turns.push((self.sync_us(), Turn::Tables));
                return Ok(());
            }
            Some(Stage::Synced { origin, through, entry, meta }) => {
                let table = TableId(entry.id);
                self.drop_needless(|manifest| {
                    manifest.next_table = entry.id + 1;
                    let flushed = manifest.flushed.entry(entry.shard).or_default();
                    *flushed = through.0.max(*flushed);
                    manifest.tables.push(entry);
                })?;
                outcome.answers.push((origin, Feedback::Flushed { table, meta, through }));
            }
            Some(Stage::Reading { origin }) => self.read_back(origin, outcome)?,
            None => {}
        }
        self.begin_tables(outcome)
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
type Shard = (Vec<(TableId, Bytes)>, Vec<LogRecord>, Lsn);

fn read_shard(trees: &impl Trees, manifest: &Manifest, shard: u32) -> Result<Shard, StoreError> {
    let tables = recovery::tables_of(trees, manifest, shard)?;
    let (records, next) = recovery::log_of(trees, manifest, shard)?;
    Ok((tables, records, next))
}
