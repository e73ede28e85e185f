//! The shard's log: what is appended, and the answers that wait for its sync.
//!
//! Keeps "durable before said": no acknowledgement and nothing shown leaves but through [`Replica::reply_when_durable`]. In
//! keyspaces of durability `interval` alone both leave from memory, and are then called [`ReplicaReply::Held`].

use crate::operation::Asker;
use crate::pending::Waiter;
use crate::replica::{Loaded, Phase, Replica};
use anser_machine::{DiskRequest, LogRecord, Lsn, Now, Outbox, RoomLevel};
use anser_model::merkle::Fingerprint;
use anser_model::{KeyState, KeyspaceId};
use anser_proto::Role;
use anser_proto::replicate::ReplicaReply;
use anser_storage::{StoreKey, record};

impl Replica {
    /// Whether there is room for one more write.
    pub(crate) fn takes_writes(&self) -> bool {
        let full = self.engine.is_full() || (self.copies.is_wiping() && self.engine.is_due());
        !full && self.budget.has_room(0) && self.unsynced() < self.config.limits.pending_max
    }

    /// How many appends no sync has covered: most of them have an answer waiting for it, but those of keyspaces that are
    /// acknowledged from memory.
    fn unsynced(&self) -> usize {
        let synced = self.durable.map_or(0, |Lsn(durable)| durable.saturating_add(1));
        usize::try_from(self.next.0.saturating_sub(synced)).unwrap_or(usize::MAX)
    }

    /// Whether an asker is answered before the sync. Coordinators alone, since a copy that is refilled says so for good: what
    /// fills it is durable first, where it comes from and here.
    pub(crate) fn answers_from_memory(&self, asker: &Asker, keyspace: KeyspaceId) -> bool {
        let interval = self.holdings.as_ref().is_some_and(|ring| ring.answers_from_memory(keyspace));
        interval && asker.from.role == Role::Coordinator
    }

    /// Acknowledges what the log has at `lsn`.
    pub(crate) fn acknowledge(
        &mut self,
        asker: &Asker,
        keyspace: KeyspaceId,
        lsn: Option<Lsn>,
        out: &mut Outbox,
    ) {
        if lsn > self.durable && self.answers_from_memory(asker, keyspace) {
            asker.reply(ReplicaReply::Held, out);
        } else {
            self.reply_when_durable(asker, ReplicaReply::Durable, lsn, out);
        }
    }

    /// Whether the disk has room for a state: for one that only deletes, longer than for others.
    pub(crate) fn has_room_for(&self, only_deletes: bool) -> bool {
        match self.room {
            RoomLevel::Enough => true,
            RoomLevel::Low => only_deletes,
            RoomLevel::Full => false,
        }
    }

    /// Appends a key's new state, also given as it is encoded, to the log and puts it into the memtable, in the place of the
    /// one before.
    pub(crate) fn append(
        &mut self,
        key: &StoreKey,
        state: &KeyState,
        encoded: &[u8],
        before: &Loaded,
        out: &mut Outbox,
    ) -> Loaded {
        let lsn = self.next;
        self.next = Lsn(lsn.0.saturating_add(1));
        let replaces = before.counts(key);
        let counts = Fingerprint::of(key.as_bytes(), state);
        let record::Encoded { bytes, state } = record::encode(key, encoded, replaces);
        out.disk(DiskRequest::Append(LogRecord { lsn, bytes }));
        self.engine.insert(key, state.clone(), counts, lsn, replaces);
        self.flush_if_due(out);
        Loaded { state: Some(state), lsn: Some(lsn), counts: Some(counts) }
    }

    /// Answers once the log is synced through `lsn`; at once if it is, or there is nothing to sync.
    pub(crate) fn reply_when_durable(
        &mut self,
        asker: &Asker,
        reply: ReplicaReply,
        lsn: Option<Lsn>,
        out: &mut Outbox,
    ) {
        match lsn {
            Some(lsn) if Some(lsn) > self.durable => {
                self.pending.hold(lsn, Waiter { asker: *asker, reply }, &mut self.budget);
            }
            Some(_) | None => asker.reply(reply, out),
        }
    }

    /// Has the memtable written when it is large enough. Not while tables are dropped: it might go with them. Nor while the
    /// log is read back: see [`anser_storage::Engine::recovered_log`].
    pub(crate) fn flush_if_due(&mut self, out: &mut Outbox) {
        if self.copies.is_wiping() || self.phase != Phase::Serving {
            return;
        }
        if let Some((frozen, through)) = self.engine.freeze() {
            out.disk(DiskRequest::Flush { frozen, through });
        }
    }

    /// The log is synced through a position: what waited for it leaves.
    pub(crate) fn on_durable(&mut self, now: Now, through: Lsn, out: &mut Outbox) {
        if self.phase != Phase::Serving {
            return; // A predecessor's: recovery says what is durable.
        }
        self.durable = self.durable.max(Some(through));
        self.tell_growth_sometimes(now, out);
        while let Some(waiter) = self.pending.release(through, &mut self.budget) {
            if !waiter.asker.is_gone(now) {
                waiter.asker.reply(waiter.reply, out);
            }
        }
        self.count_levels(out);
    }
}
