//! The thread that writes and merges tables, reads shards back, and looks after the log's segments. A merge is worked on
//! in small parts, whenever nothing else is to be done.

use super::background::Background;
use super::merging::Merging;
use super::port::{Asker, CommitJob, Origin, TableJob};
use super::spent::Spent;
use super::works::Works;
use anser_machine::{Feedback, Frozen, Group, LogRecord, Lsn, StoredTable};
use anser_storage::store::{Part, StoreError, TableEntry, Trees as _, install, recovery};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of log records from which they are handed over while a shard is read back.
const RECOVER_BYTES: usize = 1 << 20;

/// Works until the queue is closed and empty, or the store stops.
pub(super) fn run(works: &Works) {
    let mut under_way = UnderWay::default();
    while let Some(jobs) = next(works, &under_way) {
        if works.port.has_failed() {
            return;
        }
        under_way.spent.let_go();
        let began = Instant::now();
        let done = match jobs.into_iter().next() {
            Some(job) => carry_out(works, job, &mut under_way)
                .and_then(|()| Merging::take_share(&mut under_way.merging, works, began.elapsed())),
            None => Merging::go_on_if_due(&mut under_way.merging, works),
        };
        if let Err(error) = done {
            works.port.fail(&error);
            return;
        }
    }
}

/// What takes longer than one job.
#[derive(Default)]
struct UnderWay {
    /// The segment whose rest is being written again at the log's end.
    carrying: Option<u64>,
    merging: Option<Merging>,
    spent: Spent,
}

/// The next job; none of them if it is time to go on with something else.
fn next(works: &Works, under_way: &UnderWay) -> Option<Vec<TableJob>> {
    let rests = under_way.merging.as_ref().map(Merging::rests_for);
    match rests.into_iter().chain(under_way.spent.looks_within()).min() {
        Some(within) => works.port.tables.take_within(1, within),
        None => works.port.tables.take(1),
    }
}

fn carry_out(works: &Works, job: TableJob, under_way: &mut UnderWay) -> Result<(), StoreError> {
    let carrying = &mut under_way.carrying;
    match job {
        TableJob::Merge { origin, shard, inputs, duty } => {
            return Merging::begin(&mut under_way.merging, works, origin, shard, &inputs, duty);
        }
        TableJob::Flush { origin, frozen, through } => {
            under_way.spent.wait();
            flush(works, origin, &frozen, through)?;
            under_way.spent.hold(frozen);
        }
        TableJob::Recover { origin } => return recover(works, origin),
        TableJob::Wipe { origin, group } => wipe(works, origin, group, &mut under_way.merging)?,
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
    let written =
        install::write_frozen(&Background::of(&works.trees), &mut || works.next_table(), shard, frozen)?;
    works.trees.sync_part(Part::Tables)?;
    let (entries, tables) = listed(written);
    works.drop_needless(|manifest| manifest.install(shard, entries, through))?;
    works.tables_added(&tables);
    works.port.feed(origin, vec![Feedback::Flushed { tables, through }]);
    Ok(())
}

/// Drops all tables of a group, and a merge of them.
fn wipe(
    works: &Works,
    origin: Origin,
    group: Group,
    merging: &mut Option<Merging>,
) -> Result<(), StoreError> {
    let Asker::Shard(shard) = origin.0 else {
        return Err(StoreError::Failed("only shards have tables".into()));
    };
    if let Some(merging) = merging.take_if(|merging| merging.is_of(shard, group)) {
        merging.give_up(works)?;
    }
    let mut wiped = Vec::new();
    works.change_manifest(|manifest| wiped = manifest.wipe(shard, group))?;
    works.drop_tables(&wiped)?;
    works.port.feed(origin, vec![Feedback::Wiped { group }]);
    Ok(())
}

/// Tables as the manifest lists them, and as their shard is told of them.
pub(super) fn listed(written: Vec<(TableEntry, Bytes)>) -> (Vec<TableEntry>, Vec<StoredTable>) {
    written
        .into_iter()
        .map(|(entry, meta)| {
            let stored = entry.with(meta);
            (entry, stored)
        })
        .unzip()
}

/// Reads a shard back. All that it asked for before is synced, and its flushes are done.
fn recover(works: &Works, origin: Origin) -> Result<(), StoreError> {
    let Asker::Shard(shard) = origin.0 else {
        return Err(StoreError::Failed("only shards are read back".into()));
    };
    let manifest = works.manifest().clone();
    let recovery::ShardTables { tables, damaged } =
        recovery::tables_of(&Background::of(&works.trees), &manifest, shard)?;
    works.port.feed(origin, vec![Feedback::RecoveredTables { tables, damaged }]);
    let (records, next) = recovery::log_of(&Background::of(&works.trees), &manifest, shard)?;
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
    let rest = recovery::rest_of(&Background::of(&works.trees), &manifest, segment)?;
    works.port.commit.push([CommitJob::Carry { segment, rest }]);
    Ok(Some(segment))
}
