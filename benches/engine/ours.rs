//! Our engine as a node has it: [`Engine`] over the real disk on sled, with its threads, and the real compactor. The replica
//! is left out: versions and quorums are no matter of the engine, and the other store has none.
//!
//! One thread drives it, as a shard's does. A block that is not in memory is asked for and waited for.

use crate::store::Store;
use anser_compactor::Compactor;
use anser_machine::{
    Count, DiskRequest, Effect, Event, Fact, Feedback, LogRecord, Lsn, Machine, Now, Outbox, Ticket,
};
use anser_model::merkle::Fingerprint;
use anser_model::{NodeId, PartitionId};
use anser_node::disk::{Asker, Disk, DiskConfig, DiskHandle, FeedbackSink};
use anser_proto::Tick;
use anser_storage::{
    Batch, Batched, Engine, Limits, Lookup, Run, Scan, Scanned, Search, StoreKey, fingerprint_of, record,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SHARD: Asker = Asker::Shard(0);
const LIFE: u32 = 1;
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// Reads under way at once, where many are asked for.
const OUTSTANDING: usize = 16;
/// Entries and bytes of a scan's page, as a replica shows them.
const PAGE: (usize, usize) = (1024, 128 << 10);
/// So much later the compactor takes a shard for idle.
const IDLE_MS: u64 = 60_000;
/// What it means to do within that time belongs to the work before.
const SOON_MS: u64 = 600;

/// Passes the disk's answers on, as they come: many at once.
struct Sink(Mutex<Sender<Vec<Feedback>>>);

impl FeedbackSink for Sink {
    fn feed(&self, _asker: Asker, _life: u32, feedback: Vec<Feedback>) {
        // While the folder closes nobody listens.
        drop(self.0.lock().unwrap().send(feedback));
    }
}

/// See the module.
pub struct Ours {
    dir: PathBuf,
    disk: Option<Disk>,
    handle: DiskHandle,
    answers: Receiver<Vec<Feedback>>,
    engine: Engine,
    next: u64,
    durable: u64,
    flushing: usize,
    ticket: u64,
    fetched: BTreeMap<u64, Option<Vec<Bytes>>>,
    /// What is to be asked of the disk at the end of a step, as a shard asks.
    asked: Vec<DiskRequest>,
    compactor: Compactor,
    merging: bool,
    begun: Instant,
    /// By how much the compactor's clock is ahead.
    ahead_ms: u64,
    filters: (u64, u64),
}

impl Ours {
    /// A new one with so many bytes of memtable and of cache in all.
    pub fn create(dir: &Path, memtable_bytes: usize, cache_bytes: usize) -> Ours {
        let (sender, answers) = channel();
        let sink = Arc::new(Sink(Mutex::new(sender)));
        // A third of all cache; a node gives sled a fifth.
        let sled_bytes = cache_bytes / 3;
        let config = DiskConfig { cache_bytes: sled_bytes as u64, ..DiskConfig::new(NodeId([7; 16]), 1) };
        let disk = Disk::open(dir, &config, sink).unwrap().disk;
        let limits = Limits { memtable_bytes, frozen_max: 2, cache_bytes: cache_bytes - sled_bytes };
        let mut ours = Ours {
            dir: dir.to_path_buf(),
            handle: disk.handle(),
            disk: Some(disk),
            answers,
            engine: Engine::new(limits),
            next: 0,
            durable: 0,
            flushing: 0,
            ticket: 0,
            fetched: BTreeMap::new(),
            asked: Vec::new(),
            compactor: Compactor::new(),
            merging: false,
            begun: Instant::now(),
            ahead_ms: 0,
            filters: (0, 0),
        };
        ours.ask(vec![DiskRequest::Recover]);
        while ours.next == 0 {
            ours.wait();
        }
        ours
    }

    fn ask(&self, requests: Vec<DiskRequest>) {
        self.handle.submit(SHARD, LIFE, requests);
    }

    fn wait(&mut self) {
        let answers = self.answers.recv_timeout(ANSWER_WITHIN).unwrap();
        answers.into_iter().for_each(|answer| self.take(answer));
    }

    /// Takes what has been answered, and lets the compactor look.
    fn turn(&mut self) {
        loop {
            match self.answers.try_recv() {
                Ok(answers) => answers.into_iter().for_each(|answer| self.take(answer)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => panic!("the disk is gone"),
            }
        }
        let now = self.now();
        if self.compactor.next_timeout().is_some_and(|(at, _)| at <= now.tick) {
            let mut out = Outbox::new();
            self.compactor.handle_timeout(now, &mut out);
            self.carry_out(out);
        }
    }

    fn take(&mut self, answer: Feedback) {
        match answer {
            Feedback::Durable { through } => self.durable = self.durable.max(through.0),
            Feedback::Flushed { tables, through } => {
                self.engine.flushed(tables, through).unwrap();
                self.flushing -= 1;
                self.freeze();
                self.tables_changed();
            }
            Feedback::TablesReplaced { removed, added } => {
                self.engine.replaced(&removed, added).unwrap();
                self.tables_changed();
            }
            Feedback::Merged { .. } => {
                self.merging = false;
                self.compact(Event::Own(answer));
            }
            Feedback::Fetched { ticket, blocks } => drop(self.fetched.insert(ticket.0, Some(blocks))),
            Feedback::TableGone { ticket } => drop(self.fetched.insert(ticket.0, None)),
            Feedback::RecoveredTables { tables, .. } => self.engine.recovered_tables(tables).unwrap(),
            Feedback::RecoveredLog { next, .. } => self.next = next.map_or(0, |next| next.0),
            other => panic!("the disk answered {other:?}"),
        }
    }

    fn freeze(&mut self) {
        while let Some((frozen, through)) = self.engine.freeze() {
            self.flushing += 1;
            self.ask(vec![DiskRequest::Flush { frozen, through }]);
        }
    }

    fn now(&self) -> Now {
        let us = u64::try_from(self.begun.elapsed().as_micros()).unwrap();
        Now { tick: Tick(us).plus_ms(self.ahead_ms), wall_ms: 0 }
    }

    fn tables_changed(&mut self) {
        let tables = self.engine.tables();
        self.compact(Event::Fact(Fact::TablesChanged { shard: 0, tables }));
    }

    fn compact(&mut self, event: Event) {
        let mut out = Outbox::new();
        self.compactor.handle(self.now(), event, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, mut out: Outbox) {
        for effect in out.drain() {
            if let Effect::Disk(request) = effect {
                self.merging |= matches!(request, DiskRequest::Merge { .. });
                self.handle.submit(Asker::Compactor, LIFE, vec![request]);
            }
        }
    }

    fn count(&mut self, mut out: Outbox) {
        for effect in out.drain() {
            if let Effect::Count(Count::Bloom { ruled_out }) = effect {
                self.filters.0 += 1;
                self.filters.1 += u64::from(!ruled_out);
            }
        }
    }

    /// Goes on with a look-up as far as memory does; the fetch that it waits for, or what it came to.
    fn advance(&mut self, lookup: Lookup) -> Result<Option<Bytes>, (u64, Search)> {
        match lookup {
            Lookup::Memory { state, .. } => Ok(Some(state)),
            Lookup::Table { state } => {
                // One of those that let pass was right to.
                self.filters = (self.filters.0 - 1, self.filters.1 - 1);
                Ok(Some(state))
            }
            Lookup::Absent => Ok(None),
            Lookup::Damaged { table, block } => panic!("{table:?}, block {block} is damaged"),
            Lookup::Fetch(search) => {
                self.ticket += 1;
                self.asked.push(search.request(Ticket(self.ticket)));
                Err((self.ticket, search))
            }
        }
    }

    fn look_up(&mut self, key: &StoreKey) -> Result<Option<Bytes>, (u64, Search)> {
        let mut out = Outbox::new();
        let lookup = self.engine.lookup(key, &mut out);
        self.count(out);
        self.advance(lookup)
    }

    /// Asks the disk for what a step came to.
    fn step_ends(&mut self) {
        if !self.asked.is_empty() {
            let asked = std::mem::take(&mut self.asked);
            self.ask(asked);
        }
    }

    fn resume(&mut self, blocks: Option<Vec<Bytes>>, search: Search) -> Result<Option<Bytes>, (u64, Search)> {
        let mut out = Outbox::new();
        let lookup = match blocks.map(|mut blocks| blocks.swap_remove(0)) {
            Some(block) => self.engine.resume(search, block, &mut out),
            None => self.engine.again(&search, &mut out),
        };
        self.count(out);
        self.advance(lookup)
    }

    /// Blocks, waited for; none if their table is gone.
    fn fetched(&mut self, ticket: u64) -> Option<Vec<Bytes>> {
        self.step_ends();
        loop {
            match self.fetched.remove(&ticket) {
                Some(blocks) => return blocks,
                None => self.wait(),
            }
        }
    }

    /// The next page of a scan, its blocks fetched as it asks for them.
    fn page(&mut self, scan: &mut Scan, under_way: &mut BTreeMap<u64, Run>) -> anser_storage::Page {
        loop {
            match self.engine.scan(scan) {
                Scanned::Page(page) => return page,
                Scanned::Damaged { table, block } => panic!("{table:?}, block {block} is damaged"),
                Scanned::Fetch(runs) => {
                    for run in runs {
                        self.ticket += 1;
                        self.asked.push(run.request(Ticket(self.ticket)));
                        under_way.insert(self.ticket, run);
                    }
                    self.step_ends();
                }
            }
            while !scan.is_ready() {
                if self.fetched.is_empty() {
                    self.wait();
                }
                while let Some((ticket, blocks)) = self.fetched.pop_first() {
                    // What is not of this scan was read ahead for one that has ended.
                    if let Some(run) = under_way.remove(&ticket) {
                        scan.hold(&run, blocks.unwrap_or_default());
                    }
                }
            }
        }
    }

    /// Asks for runs of blocks, and hands over what came of those whose tables are there.
    fn fetch_runs(&mut self, runs: Vec<Run>, hold: &mut dyn FnMut(&Run, Vec<Bytes>)) {
        let first = self.ticket + 1;
        self.ticket += runs.len() as u64;
        self.asked.extend((first..).zip(&runs).map(|(ticket, run)| run.request(Ticket(ticket))));
        for (ticket, run) in (first..).zip(runs) {
            if let Some(contents) = self.fetched(ticket) {
                hold(&run, contents);
            }
        }
    }
}

impl Store for Ours {
    fn write(&mut self, batch: &[(StoreKey, Bytes)]) {
        self.turn();
        while self.engine.is_full() {
            self.wait();
        }
        let mut requests = Vec::with_capacity(batch.len());
        for (key, state) in batch {
            let lsn = Lsn(self.next);
            self.next += 1;
            let counts = fingerprint_of(key.as_bytes(), state).unwrap();
            // As a replica, which has looked the key up before it writes.
            let replaces = if lsn.0 > super::records() as u64 { counts } else { Fingerprint::NONE };
            let encoded = record::encode(key, state, replaces);
            requests.push(DiskRequest::Append(LogRecord { lsn, bytes: encoded.bytes }));
            self.engine.insert(key, encoded.state, counts, lsn, replaces);
        }
        self.ask(requests);
        self.freeze();
        while self.durable < self.next - 1 {
            self.wait();
        }
    }

    fn get(&mut self, key: &StoreKey) -> Option<Bytes> {
        // A node's compactor has a thread of its own.
        self.turn();
        let mut looked = self.look_up(key);
        loop {
            match looked {
                Ok(state) => return state,
                Err((ticket, search)) => {
                    let blocks = self.fetched(ticket);
                    looked = self.resume(blocks, search);
                }
            }
        }
    }

    fn get_many(&mut self, keys: &[StoreKey]) -> usize {
        let mut found = 0;
        let mut out: BTreeMap<u64, Search> = BTreeMap::new();
        let mut keys = keys.iter();
        loop {
            while out.len() < OUTSTANDING
                && let Some(key) = keys.next()
            {
                match self.look_up(key) {
                    Ok(state) => found += usize::from(state.is_some()),
                    Err((ticket, search)) => drop(out.insert(ticket, search)),
                }
            }
            if out.is_empty() {
                return found;
            }
            self.step_ends();
            if self.fetched.is_empty() {
                self.wait();
            }
            while let Some((ticket, blocks)) = self.fetched.pop_first() {
                let Some(search) = out.remove(&ticket) else { continue };
                match self.resume(blocks, search) {
                    Ok(state) => found += usize::from(state.is_some()),
                    Err((ticket, search)) => drop(out.insert(ticket, search)),
                }
            }
        }
    }

    fn get_batch(&mut self, keys: &[StoreKey]) -> usize {
        let mut batch = Batch::new(keys.to_vec()).unwrap();
        loop {
            let mut out = Outbox::new();
            let batched = self.engine.batch(&mut batch, &mut out);
            let runs = match batched {
                Batched::Done(found) => return found.iter().filter(|found| found.state.is_some()).count(),
                Batched::Damaged { table, block } => panic!("{table:?}, block {block} is damaged"),
                Batched::Fetch(runs) => runs,
            };
            self.fetch_runs(runs, &mut |run, contents| batch.hold(run, contents));
        }
    }

    fn scan(&mut self) -> usize {
        let mut keys = 0;
        for partition in (0..super::work::PARTITIONS).map(PartitionId) {
            let (mut scan, mut under_way) = (Scan::new(partition, None, PAGE.0, PAGE.1), BTreeMap::new());
            loop {
                let page = self.page(&mut scan, &mut under_way);
                keys += page.entries.len();
                if !page.more {
                    break;
                }
            }
        }
        keys
    }

    fn settle(&mut self, idle: bool) {
        let mut aged = !idle;
        loop {
            self.turn();
            if self.flushing > 0 || self.merging {
                self.wait();
            } else if self.is_busy() {
                std::thread::park_timeout(Duration::from_millis(5));
            } else if aged {
                return;
            } else {
                self.ahead_ms += IDLE_MS;
                self.turn();
                aged = !self.merging;
            }
        }
    }

    fn is_busy(&mut self) -> bool {
        let soon = self.now().tick.plus_ms(SOON_MS);
        let means_to = self.compactor.next_timeout().is_some_and(|(at, _)| at <= soon);
        self.flushing > 0 || self.merging || means_to
    }

    fn filters(&self) -> (u64, u64) {
        self.filters
    }

    fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Some(disk) = self.disk.take() {
            disk.close();
        }
    }
}
