//! The machine: one shard's copies, from events to effects.
//!
//! Keeps "durable before said": an acknowledgement, and what a read shows, leaves once the log is synced through it; in
//! keyspaces of durability `interval`, from memory. A disk that failed stops the whole shard, and so does a record of its log that can't be read, or its own Life met
//! elsewhere. Deliberately absent: transfer, boxes, forgetting, and any quorum.

use crate::admit::{Fences, admit};
use crate::config::ReplicaConfig;
use crate::copies::Copies;
use crate::fetches::Fetches;
use crate::holdings::Holdings;
use crate::operation::{Asker, Operation, Request, Task};
use crate::pages::Pages;
use crate::pending::{Budget, Pending};
use crate::refill::Refill;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use anser_machine::{
    CopiesSummary, DiskRequest, Event, Fact, Feedback, Group, Lsn, Machine, Now, Outbox, RoomLevel, SlotName,
    TableId, Ticket,
};
use anser_model::merkle::Fingerprint;
use anser_model::{KeyState, Step};
use anser_proto::{Body, Envelope, Refusal, Tick};
use anser_storage::{Engine, Lookup, Search, StoreKey, fingerprint_of};
use bytes::Bytes;

/// How far the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was asked for yet.
    New,
    /// Which copies may be trusted is being read back.
    ReadingCopies,
    /// The tables are being read back.
    ReadingTables,
    /// The log is being read back.
    ReadingLog,
    /// All is read back; whether the folder is an old copy of itself is not known yet.
    ReadBack,
    /// The copies answer, given a ring.
    Serving,
    /// They don't any more, for this reason, until the machine is rebuilt.
    Stopped(Refusal),
}

/// One shard's copies: those of all partitions p with `p % shards == shard`.
pub struct Replica {
    pub(crate) config: ReplicaConfig,
    pub(crate) phase: Phase,
    /// What the node was last told of this shard.
    pub(crate) published: Option<bool>,
    pub(crate) holdings: Option<Holdings>,
    pub(crate) fences: Fences,
    pub(crate) copies: Copies,
    pub(crate) refill: Refill,
    pub(crate) pages: Pages,
    pub(crate) engine: Engine,
    /// The position of the next append.
    pub(crate) next: Lsn,
    /// The last synced position; none is before every other.
    pub(crate) durable: Option<Lsn>,
    /// Whether the folder is known to be no old copy of itself.
    pub(crate) is_sound: bool,
    /// How many records of the log the node was told of, and when.
    pub(crate) told_records: (u64, Tick),
    /// The last counter of this Life. One for all keys of the shard: a context claims dots of its own key only.
    pub(crate) counter: u64,
    pub(crate) pending: Pending,
    pub(crate) budget: Budget,
    pub(crate) fetches: Fetches,
    /// The state of a key never seen, encoded.
    pub(crate) empty: Bytes,
    pub(crate) counted_memtable_bytes: usize,
    /// What the disk has room for.
    pub(crate) room: RoomLevel,
    /// The engine's generation of tables that was told last.
    pub(crate) told_tables: Option<u64>,
    /// How the copies are, as the node was told last.
    pub(crate) told_copies: Option<CopiesSummary>,
    /// How often each group's tables were lost; once, where an earlier machine lost them and they are not dropped yet.
    pub(crate) losses: BTreeMap<Group, u32>,
}

/// A key's state at this copy.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// Encoded; none for a key never seen.
    pub state: Option<Bytes>,
    /// The log position that made it so; none if it is durable without (in a table, or never seen).
    pub lsn: Option<Lsn>,
    /// What it counts as in its hash tree, if that is known.
    pub counts: Option<Fingerprint>,
}

impl Loaded {
    /// What it counts as in its hash tree.
    pub fn counts(&self, key: &StoreKey) -> Fingerprint {
        match (self.counts, &self.state) {
            (Some(counts), _) => counts,
            (None, None) => Fingerprint::NONE,
            // Whoever puts another in its place has read it, so it can be.
            (None, Some(state)) => fingerprint_of(key.as_bytes(), state).unwrap_or_default(),
        }
    }
}

/// How a look-up stands.
enum Progress {
    Loaded(Loaded),
    Needs(Search),
    Damaged(TableId),
}

fn loaded(lookup: Lookup) -> Progress {
    let (state, lsn, counts) = match lookup {
        Lookup::Memory { state, lsn, counts } => (Some(state), Some(lsn), Some(counts)),
        Lookup::Table { state } => (Some(state), None, None),
        Lookup::Absent => (None, None, None),
        Lookup::Fetch(search) => return Progress::Needs(search),
        Lookup::Damaged { table, .. } => return Progress::Damaged(table),
    };
    Progress::Loaded(Loaded { state, lsn, counts })
}

impl Replica {
    /// A shard's copies, before anything was read back.
    pub fn new(config: ReplicaConfig) -> Replica {
        let limits = config.limits;
        Replica {
            phase: Phase::New,
            published: None,
            holdings: None,
            fences: Fences::default(),
            copies: Copies::default(),
            refill: Refill::default(),
            pages: Pages::default(),
            engine: Engine::new(limits.engine),
            next: Lsn(0),
            durable: None,
            is_sound: false,
            told_records: (0, Tick(0)),
            counter: 0,
            pending: Pending::default(),
            budget: Budget::new(limits.pending_max, limits.pending_bytes_max),
            fetches: Fetches::new(config.life),
            empty: KeyState::default().encode(),
            counted_memtable_bytes: 0,
            room: RoomLevel::Enough,
            told_tables: None,
            told_copies: None,
            losses: BTreeMap::new(),
            config,
        }
    }

    /// The step of this copy; 0 before there is a ring.
    pub(crate) fn step(&self) -> Step {
        self.holdings.as_ref().map_or(Step(0), Holdings::step)
    }

    fn on_request(&mut self, now: Now, envelope: Envelope, out: &mut Outbox) {
        let Body::Replicate(request) = envelope.body else {
            // Copies ask only each other, and only to be refilled.
            self.on_refill_answer(now, envelope, out);
            return;
        };
        let Envelope { from, to, op, step, deadline, .. } = envelope;
        let partition = request.partition();
        match Request::new(Asker { from, to, op, step, deadline, partition }, request) {
            Request::Page(request) => self.on_read_page(now, request, out),
            Request::Key(operation) => {
                if let Some(operation) = self.admitted(now, operation, out) {
                    self.begin(now, operation, out);
                }
            }
        }
    }

    /// What the shard holds, while it answers at all.
    pub(crate) fn serving_holdings(&self) -> Result<&Holdings, Refusal> {
        match self.phase {
            Phase::Stopped(refusal) => Err(refusal),
            Phase::Serving => self.holdings.as_ref().ok_or(Refusal::NotServing),
            Phase::New
            | Phase::ReadingCopies
            | Phase::ReadingTables
            | Phase::ReadingLog
            | Phase::ReadBack => Err(Refusal::NotServing),
        }
    }

    /// The operation, if it may be handled now. Asked again after each wait: the ring may have moved on.
    fn admitted(&self, now: Now, operation: Operation, out: &mut Outbox) -> Option<Operation> {
        let asker = operation.asker;
        if asker.is_gone(now) {
            return None;
        }
        let admission = self.serving_holdings().and_then(|holdings| {
            let serves = self.copies.serves(asker.partition);
            admit(&operation, &self.config.member.node, holdings, serves, &self.fences)
        });
        match admission {
            Ok(()) => Some(operation),
            Err(refusal) => {
                asker.refuse(refusal, self.step(), out);
                None
            }
        }
    }

    /// Looks the key up; carries the operation out, or lets it wait for a block.
    pub(crate) fn begin(&mut self, now: Now, operation: Operation, out: &mut Outbox) {
        // Without a ring nothing is admitted.
        let Some(holdings) = &self.holdings else { return };
        let place = &operation.place;
        let (_, within) = holdings.place_of(place.keyspace, &operation.key);
        let key = StoreKey::new(place.partition, place.keyspace, within, &operation.key);
        if self.fetches.is_waiting(&key) {
            self.queue(key, operation, out);
            return;
        }
        match loaded(self.engine.lookup(&key, out)) {
            Progress::Loaded(loaded) => {
                self.carry_out(now, &operation, &key, loaded, out);
            }
            Progress::Needs(search) => {
                if self.queue(key, operation, out) {
                    self.fetches.fetch(search, out);
                }
            }
            Progress::Damaged(table) => {
                // Without the tables of its group the look-up ends.
                self.on_damaged_table(table, out);
                if let Some(operation) = self.admitted(now, operation, out) {
                    self.begin(now, operation, out);
                }
            }
        }
    }

    /// Lets an operation wait for its key's fetch, if there is room.
    fn queue(&mut self, key: StoreKey, operation: Operation, out: &mut Outbox) -> bool {
        let room = self.budget.has_room(operation.payload_bytes());
        if room {
            self.fetches.queue(key, operation, &mut self.budget);
        } else {
            operation.asker.refuse(Refusal::Busy, self.step(), out);
        }
        room
    }

    /// Carries an operation out on the key's state. Returns the state that it leaves.
    fn carry_out(
        &mut self,
        now: Now,
        operation: &Operation,
        key: &StoreKey,
        loaded: Loaded,
        out: &mut Outbox,
    ) -> Loaded {
        match &operation.task {
            Task::Mint(write) => self.mint(now, operation, write, key, loaded, out),
            Task::Store(sent) => {
                let keyspace = operation.place.keyspace;
                self.store(&operation.asker, keyspace, sent.clone(), key, loaded, out)
            }
            Task::Read(want) => self.read(operation, *want, loaded, out),
        }
    }

    /// A block came: the look-up goes on, and when it is done, all that waited for it.
    fn on_fetched(&mut self, now: Now, ticket: Ticket, blocks: Vec<Bytes>, out: &mut Outbox) {
        let Some(search) = self.fetches.answered(ticket) else {
            self.on_page_blocks(now, ticket, blocks, out);
            return;
        };
        let key = search.key().clone();
        let lookup = match blocks.into_iter().next() {
            Some(block) => self.engine.resume(search, block, out),
            None => self.engine.again(&search, out),
        };
        self.go_on(now, &key, lookup, out);
    }

    /// A block's table was merged into others meanwhile: the look-up begins anew.
    fn on_table_gone(&mut self, now: Now, ticket: Ticket, out: &mut Outbox) {
        let Some(search) = self.fetches.answered(ticket) else {
            self.on_page_blocks(now, ticket, Vec::new(), out);
            return;
        };
        let lookup = self.engine.again(&search, out);
        self.go_on(now, search.key(), lookup, out);
    }

    /// A block can't be read or trusted: what its table held is lost, and the look-up goes on without.
    fn on_fetch_failed(&mut self, now: Now, ticket: Ticket, out: &mut Outbox) {
        if let Some(table) = self.fetches.table_of(ticket).or_else(|| self.pages.table_of(ticket)) {
            self.on_damaged_table(table, out);
            self.on_table_gone(now, ticket, out);
        }
    }

    /// Goes on with a look-up: fetches the next block, or carries out all that waited for it.
    fn go_on(&mut self, now: Now, key: &StoreKey, lookup: Lookup, out: &mut Outbox) {
        let mut loaded = match loaded(lookup) {
            Progress::Loaded(loaded) => loaded,
            Progress::Needs(search) => {
                self.fetches.fetch(search, out);
                return;
            }
            Progress::Damaged(table) => {
                self.on_damaged_table(table, out);
                match loaded(self.engine.lookup(key, out)) {
                    Progress::Loaded(loaded) => loaded,
                    // It has no tables any more; or the shard has stopped.
                    Progress::Needs(_) | Progress::Damaged(_) => return,
                }
            }
        };
        for operation in self.fetches.finish(key, &mut self.budget) {
            if let Some(operation) = self.admitted(now, operation, out) {
                loaded = self.carry_out(now, &operation, key, loaded, out);
            }
        }
    }

    /// A key's state, decoded. If it can't be, the copy is damaged, and the asker is told.
    pub(crate) fn decoded(&mut self, loaded: &Loaded, asker: &Asker, out: &mut Outbox) -> Option<KeyState> {
        let Some(bytes) = &loaded.state else { return Some(KeyState::default()) };
        let state = KeyState::decode(bytes).ok();
        if state.is_none() {
            self.on_damaged_state(asker, loaded.lsn.is_none(), out);
        }
        state
    }

    fn on_feedback(&mut self, now: Now, feedback: Feedback, out: &mut Outbox) {
        match feedback {
            Feedback::Durable { through } => self.on_durable(now, through, out),
            Feedback::Fetched { ticket, blocks } => self.on_fetched(now, ticket, blocks, out),
            Feedback::FetchFailed { ticket } => self.on_fetch_failed(now, ticket, out),
            Feedback::RecoveredTables { tables, damaged } => {
                self.on_recovered_tables(tables, damaged, out);
            }
            Feedback::RecoveredLog { records, next } => self.on_recovered_log(now, records, next, out),
            Feedback::TableGone { ticket } => self.on_table_gone(now, ticket, out),
            Feedback::Flushed { tables, through } => self.on_flushed(tables, through, out),
            Feedback::TablesReplaced { removed, added } => self.on_replaced(&removed, added, out),
            Feedback::DiskFailed => self.stop(Refusal::DiskFailed, out),
            Feedback::Loaded { slot: SlotName::Copies, bytes } => self.on_copies_loaded(bytes.as_ref(), out),
            Feedback::Saved { slot: SlotName::Copies } => self.on_copies_saved(now, out),
            Feedback::GroupDamaged { group } => {
                if self.has_tables() {
                    self.on_damaged_group(group, out);
                }
            }
            Feedback::Wiped { group } => self.on_wiped(group, out),
            // This machine has no other slots, and asks for no merges.
            Feedback::Saved { slot: SlotName::Ring | SlotName::Incarnation | SlotName::Peers }
            | Feedback::Loaded { slot: SlotName::Ring | SlotName::Incarnation | SlotName::Peers, .. }
            | Feedback::Merged { .. } => {}
        }
    }
}

impl Machine for Replica {
    fn handle(&mut self, now: Now, event: Event, out: &mut Outbox) {
        match event {
            Event::Message(envelope) => self.on_request(now, envelope, out),
            Event::Own(feedback) => self.on_feedback(now, feedback, out),
            Event::Fact(Fact::RingAdopted(record)) => self.on_ring(now, record, out),
            Event::Fact(Fact::RoomChanged(room)) => self.room = room.level,
            Event::Fact(Fact::FolderJudged(trust)) => self.on_folder_judged(now, trust, out),
            // A copy that is refilled asks the others whether they seem up or not.
            Event::Fact(
                Fact::PeersChanged(_)
                | Fact::PeerSeen { .. }
                | Fact::ShardChanged { .. }
                | Fact::CopiesChanged { .. }
                | Fact::LogGrown { .. }
                | Fact::TablesChanged { .. },
            ) => {}
        }
    }

    fn next_timeout(&self) -> Option<(Tick, &'static str)> {
        match self.phase {
            Phase::New => Some((Tick(0), "recover")),
            Phase::Serving => self.refill.wakes_at().map(|at| (at, "refill")),
            Phase::ReadingCopies
            | Phase::ReadingTables
            | Phase::ReadingLog
            | Phase::ReadBack
            | Phase::Stopped(_) => None,
        }
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Outbox) {
        if self.phase == Phase::New {
            self.phase = Phase::ReadingCopies;
            self.publish_serving(out);
            out.disk(DiskRequest::Load { slot: SlotName::Copies });
        }
        self.go_on_refilling(now, out);
    }
}
