//! The commit thread: one group, one sync, one answer to each asker. What arrives meanwhile is the next group.
//!
//! A sync costs the same processor time however much it makes durable, here and in all who are woken by it. So under load,
//! and only then, a group is let grow until it is large, or for about as long as two syncs take.

use super::port::{Asker, CommitJob, Origin, TableJob};
use super::works::Works;
use anser_machine::{DiskRequest, Feedback, Lsn, SlotName};
use anser_storage::store::cell::{Cell, Stale};
use anser_storage::store::{Part, StoreError, Trees as _, log};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Bytes of records from which a group is closed.
const GROUP_BYTES: usize = 4 << 20;
/// Most jobs of one group.
const GROUP_JOBS_MAX: usize = 16_384;
/// A group of fewer jobs is no load: its askers are few, and wait for each answer. (How many submits it came by tells less: a
/// shard hands over in one what dozens of clients asked for.)
const LOAD_JOBS_MIN: usize = 4;
/// A group of so many jobs is large enough to be written at once.
const GROWN_JOBS: usize = 64;
/// After a group of so many bytes the next one needs no growth to be large.
const GROWN_BYTES: usize = GROUP_BYTES / 4;
/// For how many times as long as the last one took a group is let grow.
const GROWTH_SYNCS: u32 = 2;
/// Longest that a group is let grow.
const GROWTH_MAX: Duration = Duration::from_millis(4);

/// For how long a commit rests for each job that waits to become a table, and at most.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);
const BACKLOG_PAUSE_MAX: Duration = Duration::from_millis(20);

/// Where a slot of an asker is stored.
fn cell_of(asker: Asker, slot: SlotName) -> Cell {
    match asker {
        Asker::Shard(shard) => Cell::of(slot, shard),
        Asker::Control | Asker::Compactor => Cell::of(slot, 0),
    }
}

/// The open segment of the log.
struct Open {
    tail: log::Tail,
    /// Whether the one after it was asked for.
    asked: bool,
}

/// What is to become durable together.
#[derive(Default)]
struct Group {
    content: Vec<u8>,
    records: u32,
    last: BTreeMap<u32, Lsn>,
    durable: BTreeMap<Origin, Lsn>,
    answers: BTreeMap<Origin, Vec<Feedback>>,
    saves: bool,
    stale: Vec<Stale>,
    recovers: Vec<Origin>,
    carried: Vec<u64>,
}

/// Commits until the queue is closed and empty, or the store stops.
pub(super) fn run(works: &Works) {
    let mut open = None;
    let mut pause = Duration::ZERO;
    loop {
        let backlog = backlog_pause(works.port.tables.len());
        if !backlog.is_zero() {
            std::thread::sleep(pause.max(backlog));
            pause = Duration::ZERO;
        }
        let taken = works.port.commit.take_grown(GROUP_JOBS_MAX, GROWN_JOBS, pause);
        let Some(jobs) = taken else { return };
        let began = Instant::now();
        let mut load = Load { jobs: jobs.len(), bytes: 0 };
        let mut jobs = jobs.into_iter();
        while jobs.len() > 0 {
            if works.port.has_failed() {
                return;
            }
            match commit(works, &mut open, &mut jobs) {
                Ok(bytes) => load.bytes += bytes,
                Err(error) => {
                    works.port.fail(&error);
                    return;
                }
            }
        }
        pause = load.growth(began.elapsed());
    }
}

/// What was committed last.
struct Load {
    jobs: usize,
    bytes: usize,
}

impl Load {
    /// How long the next group is let grow, after this one took so long.
    fn growth(&self, took: Duration) -> Duration {
        if self.jobs >= LOAD_JOBS_MIN && self.bytes < GROWN_BYTES {
            took.saturating_mul(GROWTH_SYNCS).min(GROWTH_MAX)
        } else {
            Duration::ZERO
        }
    }
}

/// For how long commits rest while so many jobs wait for the thread that writes tables. Writers are slowed so before their
/// memtables are full and they are refused.
fn backlog_pause(jobs: usize) -> Duration {
    BACKLOG_PAUSE.saturating_mul(u32::try_from(jobs).unwrap_or(u32::MAX)).min(BACKLOG_PAUSE_MAX)
}

/// Commits a group of the first jobs, and tells of how many bytes it was.
fn commit(
    works: &Works,
    open: &mut Option<Open>,
    jobs: &mut std::vec::IntoIter<CommitJob>,
) -> Result<usize, StoreError> {
    let began = Instant::now();
    let mut group = Group::default();
    while group.content.len() < GROUP_BYTES
        && let Some(job) = jobs.next()
    {
        group.add(works, job)?;
    }
    if group.saves && group.content.is_empty() {
        log::put_mark(&mut group.content);
    }
    if !group.content.is_empty() {
        let written = write(works, open, &group)?;
        works.trees.sync_part(Part::Log)?;
        works.note(|reached| {
            (reached.segment, reached.pieces) = written;
            group.stale.iter().for_each(|stale| reached.saved(stale.replaced_in()));
        })?;
        metrics::histogram!("anser_commit_seconds").record(began.elapsed().as_secs_f64());
        metrics::histogram!("anser_commit_batch").record(f64::from(group.records));
    }
    let bytes = group.content.len();
    group.answer(works)?;
    Ok(bytes)
}

impl Group {
    fn add(&mut self, works: &Works, job: CommitJob) -> Result<(), StoreError> {
        match job {
            CommitJob::Request(origin, request) => self.add_request(works, origin, request),
            CommitJob::Carry { segment, rest } => {
                for entry in rest {
                    self.put(entry.shard, entry.lsn, &entry.bytes);
                }
                self.carried.push(segment);
                Ok(())
            }
        }
    }

    fn add_request(&mut self, works: &Works, origin: Origin, request: DiskRequest) -> Result<(), StoreError> {
        match request {
            DiskRequest::Append(record) => {
                let Asker::Shard(shard) = origin.0 else {
                    return Err(StoreError::Failed("only shards have a log".into()));
                };
                self.put(shard, record.lsn, &record.bytes);
                self.records += 1;
                self.durable.insert(origin, record.lsn);
            }
            DiskRequest::Save { slot, bytes } => {
                self.stale.push(cell_of(origin.0, slot).write(&works.trees, &bytes)?);
                self.saves = true;
                self.answers.entry(origin).or_default().push(Feedback::Saved { slot });
            }
            DiskRequest::Load { slot } => {
                let bytes = cell_of(origin.0, slot).read(&works.trees)?;
                self.answers.entry(origin).or_default().push(Feedback::Loaded { slot, bytes });
            }
            DiskRequest::Recover => self.recovers.push(origin),
            // Routed elsewhere by `submit`.
            DiskRequest::Fetch { .. }
            | DiskRequest::Flush { .. }
            | DiskRequest::Wipe { .. }
            | DiskRequest::Merge { .. } => {}
        }
        Ok(())
    }

    fn put(&mut self, shard: u32, lsn: Lsn, record: &[u8]) {
        log::put_entry(&mut self.content, shard, lsn, record);
        let last = self.last.entry(shard).or_default();
        *last = lsn.max(*last);
    }

    /// After the sync: tells everybody.
    fn answer(mut self, works: &Works) -> Result<(), StoreError> {
        for (origin, through) in self.durable {
            self.answers.entry(origin).or_default().push(Feedback::Durable { through });
        }
        for (origin, feedback) in self.answers {
            works.port.feed(origin, feedback);
        }
        let recovers = self.recovers.into_iter().map(|origin| TableJob::Recover { origin });
        let carried = self.carried.into_iter().map(|segment| TableJob::Carried { segment });
        works.port.tables.push(recovers.chain(carried));
        self.stale.into_iter().try_for_each(|stale| stale.sweep(&works.trees))
    }
}

/// Writes a group to the open segment, or to the next one if that is full; tells which, and how many pieces it has.
fn write(works: &Works, open: &mut Option<Open>, group: &Group) -> Result<(u64, u64), StoreError> {
    let before = open.take_if(|open| open.tail.is_full());
    let Open { tail, asked } = match open {
        Some(open) => open,
        None => {
            let segment = works.next_segment(before.map(|full| full.tail.segment()))?;
            open.insert(Open { tail: log::Tail::new(segment), asked: false })
        }
    };
    let bytes = tail.append(&works.trees, &group.content)?;
    let mut segments = works.segments();
    let known = segments.entry(tail.segment());
    known.bytes += bytes;
    for (shard, lsn) in &group.last {
        let last = known.last.entry(*shard).or_default();
        *last = (*last).max(*lsn);
    }
    drop(segments);
    if !*asked && tail.is_half_full() {
        *asked = works.port.tables.push([TableJob::Prepare]);
    }
    Ok((tail.segment(), tail.pieces()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_of_tables_slows_commits_down_but_never_stops_them() {
        assert_eq!(backlog_pause(0), Duration::ZERO);
        assert!(backlog_pause(1) < backlog_pause(2));
        assert_eq!(backlog_pause(usize::MAX), BACKLOG_PAUSE_MAX);
    }

    #[test]
    fn groups_grow_under_load_only_and_not_for_long() {
        let ms = Duration::from_millis;
        let table = [
            ((1, 100), ms(2), ms(0)),
            ((3, 100), ms(2), ms(0)),
            ((4, 100), ms(1), ms(2)),
            ((500, 100), ms(1), ms(2)),
            ((9, 100), ms(90), GROWTH_MAX),
            // Few, and large.
            ((4, GROWN_BYTES), ms(1), ms(0)),
        ];
        for ((jobs, bytes), took, expected) in table {
            assert_eq!(Load { jobs, bytes }.growth(took), expected, "{jobs} jobs, {bytes} bytes in {took:?}");
        }
    }
}
