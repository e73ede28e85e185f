//! The thread that writes tables, reads shards back, and looks after the log's segments.

use super::port::{Asker, CommitJob, Origin, TableJob};
use super::works::Works;
use anser_machine::{Feedback, Frozen, LogRecord, Lsn, TableId};
use anser_storage::store::{StoreError, Trees, recovery};
use anser_storage::table;
use std::sync::Arc;

/// Bytes of log records from which they are handed over while a shard is read back.
const RECOVER_BYTES: usize = 1 << 20;

/// Works until the queue is closed and empty, or the store stops.
pub(super) fn run(works: &Works) {
    let mut carrying = None;
    while let Some(jobs) = works.port.tables.take(1) {
        for job in jobs {
            if works.port.has_failed() {
                return;
            }
            if let Err(error) = carry_out(works, job, &mut carrying) {
                works.port.fail(&error);
                return;
            }
        }
    }
}

fn carry_out(works: &Works, job: TableJob, carrying: &mut Option<u64>) -> Result<(), StoreError> {
    match job {
        TableJob::Flush { origin, frozen, through } => flush(works, origin, &frozen, through)?,
        TableJob::Recover { origin } => return recover(works, origin),
        TableJob::Prepare => works.prepare_segment()?,
        TableJob::Carried { segment } => {
            works.segments().carried(segment);
            works.drop_needless(|_| ())?;
            *carrying = None;
        }
    }
    works.trees.check_blobs()?;
    works.measure();
    if carrying.is_none() {
        *carrying = carry_oldest(works)?;
    }
    Ok(())
}

/// Writes a frozen memtable as a table, installs it, and drops the segments of the log that it makes needless.
fn flush(works: &Works, origin: Origin, frozen: &Arc<Frozen>, through: Lsn) -> Result<(), StoreError> {
    let Asker::Shard(shard) = origin.0 else {
        return Err(StoreError::Failed("only shards have tables".into()));
    };
    let id = TableId(works.manifest().next_table);
    let finished = table::write(id, frozen);
    let entry = recovery::store_table(&works.trees, id, shard, &finished)?;
    works.trees.sync()?;
    works.drop_needless(|manifest| {
        manifest.next_table = id.0 + 1;
        manifest.tables.push(entry);
        let flushed = manifest.flushed.entry(shard).or_default();
        *flushed = through.0.max(*flushed);
    })?;
    works.port.feed(origin, vec![Feedback::Flushed { table: id, meta: finished.meta, through }]);
    Ok(())
}

/// Reads a shard back. All that it asked for before is synced, and its flushes are done.
fn recover(works: &Works, origin: Origin) -> Result<(), StoreError> {
    let Asker::Shard(shard) = origin.0 else {
        return Err(StoreError::Failed("only shards are read back".into()));
    };
    let manifest = works.manifest().clone();
    let tables = recovery::tables_of(&works.trees, &manifest, shard)?;
    works.port.feed(origin, vec![Feedback::RecoveredTables { tables }]);
    let (records, next) = recovery::log_of(&works.trees, &manifest, shard)?;
    let mut chunk: Vec<LogRecord> = Vec::new();
    let mut bytes = 0;
    for record in records {
        bytes += record.bytes.len();
        chunk.push(record);
        if bytes >= RECOVER_BYTES {
            bytes = 0;
            let records = std::mem::take(&mut chunk);
            works.port.feed(origin, vec![Feedback::RecoveredLog { records, next: None }]);
        }
    }
    works.port.feed(origin, vec![Feedback::RecoveredLog { records: chunk, next: Some(next) }]);
    Ok(())
}

/// If the log is too large: sends what its oldest segment still holds to the log's end.
fn carry_oldest(works: &Works) -> Result<Option<u64>, StoreError> {
    let Some(segment) = works.segments().overdue(works.log_bytes_max) else { return Ok(None) };
    let manifest = works.manifest().clone();
    let rest = recovery::rest_of(&works.trees, &manifest, segment)?;
    works.port.commit.push([CommitJob::Carry { segment, rest }]);
    Ok(Some(segment))
}
