//! Where requests come in and answers go out. It holds no part of the store, so whoever keeps a handle doesn't keep the
//! folder.

use super::near::NearQueue;
use super::queue::Queue;
use super::slowness::Slowness;
use anser_machine::{DiskRequest, Feedback, Frozen, Group, Lsn, TableId, Ticket};
use anser_storage::store::log::Entry;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Who asks the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asker {
    /// A shard's replica.
    Shard(u32),
    /// The node's control actors: they have slots only.
    Control,
    /// The compactor: it has tables merged.
    Compactor,
}

/// Takes the disk's answers, many at once for one asker. Called from the disk's threads, or, when the store has stopped,
/// from within `submit`: it must not block, and not submit.
pub trait FeedbackSink: Send + Sync {
    /// Hands answers over; `life` is that of the requests.
    fn feed(&self, asker: Asker, life: u32, feedback: Vec<Feedback>);
}

/// Who asked, and in which of its lives.
pub(super) type Origin = (Asker, u32);

/// Work of the commit thread.
#[derive(Debug)]
pub(super) enum CommitJob {
    /// A request for the log or the slots.
    Request(Origin, DiskRequest),
    /// What is left of a segment, to be written anew.
    Carry { segment: u64, rest: Vec<Entry> },
}

/// Work of the thread that writes tables.
#[derive(Debug)]
pub(super) enum TableJob {
    Flush {
        origin: Origin,
        frozen: Arc<Frozen>,
        through: Lsn,
    },
    Recover {
        origin: Origin,
    },
    Merge {
        origin: Origin,
        shard: u32,
        inputs: Vec<TableId>,
        duty: u8,
    },
    Wipe {
        origin: Origin,
        group: Group,
    },
    /// Lay out the segment that comes next.
    Prepare,
    /// A segment's rest is synced elsewhere.
    Carried {
        segment: u64,
    },
}

/// Neighbouring blocks to read.
#[derive(Debug)]
pub(super) struct FetchJob {
    pub origin: Origin,
    pub ticket: Ticket,
    pub table: TableId,
    pub block: u32,
    pub count: u32,
}

/// The queues of the threads, and what is known of the askers.
pub(super) struct Port {
    pub commit: Queue<CommitJob>,
    pub tables: Queue<TableJob>,
    pub fetch: NearQueue<FetchJob>,
    pub slowness: Slowness,
    sink: Arc<dyn FeedbackSink>,
    failed: AtomicBool,
    /// The newest life of each asker.
    lives: Mutex<BTreeMap<Asker, u32>>,
}

impl Port {
    pub fn new(sink: Arc<dyn FeedbackSink>) -> Port {
        Port {
            commit: Queue::new(),
            tables: Queue::new(),
            fetch: NearQueue::new(),
            slowness: Slowness::default(),
            sink,
            failed: AtomicBool::new(false),
            lives: Mutex::new(BTreeMap::new()),
        }
    }

    /// Tells a shard something that it did not ask for; nobody, while it has asked for nothing yet.
    pub fn tell_shard(&self, shard: u32, feedback: Feedback) {
        let asker = Asker::Shard(shard);
        let life = self.lives.lock().unwrap_or_else(PoisonError::into_inner).get(&asker).copied();
        if let Some(life) = life {
            self.feed((asker, life), vec![feedback]);
        }
    }

    pub fn feed(&self, (asker, life): Origin, feedback: Vec<Feedback>) {
        self.sink.feed(asker, life, feedback);
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Stops the store, for ever, and tells everybody once.
    pub fn fail(&self, error: &dyn fmt::Display) {
        if self.failed.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!("the store has stopped, restart the node once its disk is well: {error}");
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for origin in lives {
            self.feed(origin, vec![Feedback::DiskFailed]);
        }
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Port")
    }
}

/// Reaches an open folder from any thread.
#[derive(Clone, Debug)]
pub struct DiskHandle {
    port: Arc<Port>,
}

impl DiskHandle {
    pub(super) fn new(port: Arc<Port>) -> DiskHandle {
        DiskHandle { port }
    }

    /// Makes each read, write and sync of the disk take so much longer, from now on.
    #[cfg(feature = "faults")]
    pub fn slow_down(&self, delay_ms: u64) {
        self.port.slowness.set(delay_ms);
    }

    /// Asks the disk, and never waits. One asker's appends and saves are carried out in order, and recovery after them.
    pub fn submit(&self, asker: Asker, life: u32, requests: Vec<DiskRequest>) {
        let origin = (asker, life);
        self.port.lives.lock().unwrap_or_else(PoisonError::into_inner).insert(asker, life);
        let (mut commits, mut flushes, mut fetches) = (Vec::new(), Vec::new(), Vec::new());
        for request in requests {
            match request {
                DiskRequest::Append(_)
                | DiskRequest::Recover
                | DiskRequest::Save { .. }
                | DiskRequest::Load { .. } => commits.push(CommitJob::Request(origin, request)),
                DiskRequest::Flush { frozen, through } => {
                    flushes.push(TableJob::Flush { origin, frozen, through });
                }
                DiskRequest::Wipe { group } => flushes.push(TableJob::Wipe { origin, group }),
                DiskRequest::Merge { shard, inputs, duty } => {
                    flushes.push(TableJob::Merge { origin, shard, inputs, duty });
                }
                DiskRequest::Fetch { ticket, table, block, count } => {
                    fetches.push(FetchJob { origin, ticket, table, block, count });
                }
            }
        }
        // The flushes of a life before the recovery of the next: they come by earlier calls, or here before.
        let taken = (flushes.is_empty() || self.port.tables.push(flushes))
            && (commits.is_empty() || self.port.commit.push(commits))
            && (fetches.is_empty() || self.port.fetch.push(fetches));
        if !taken || self.port.has_failed() {
            self.port.feed(origin, vec![Feedback::DiskFailed]);
        }
    }
}
