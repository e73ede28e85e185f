//! Reading back: which copies may be trusted, tables, then the log, then the shard serves. A log record that can't be read
//! stops it; tables that can't be are lost, with their groups.

use crate::replica::{Phase, Replica};
use alloc::vec::Vec;
use anser_machine::{Group, LogRecord, Lsn, Now, Outbox, StoredTable, TableId};
use anser_proto::Refusal;

impl Replica {
    /// The tables that there are.
    pub(crate) fn on_recovered_tables(
        &mut self,
        tables: Vec<StoredTable>,
        damaged: Vec<Group>,
        out: &mut Outbox,
    ) {
        if self.phase != Phase::ReadingTables {
            return;
        }
        match self.engine.recovered_tables(tables) {
            Ok(()) => {
                self.phase = Phase::ReadingLog;
                self.lose_damaged(damaged, out);
                self.count_levels(out);
            }
            Err(_) => self.stop(Refusal::DiskFailed, out),
        }
    }

    /// Some of what no table holds; with the last of it, the shard serves.
    pub(crate) fn on_recovered_log(
        &mut self,
        now: Now,
        records: Vec<LogRecord>,
        next: Option<Lsn>,
        out: &mut Outbox,
    ) {
        if self.phase != Phase::ReadingLog {
            return;
        }
        if self.engine.recovered_log(&records).is_err() {
            self.stop(Refusal::DiskFailed, out);
            return;
        }
        let Some(next) = next else { return };
        // The disk hands out only what is synced: whatever a predecessor had in its queue, and what a killed process left
        // to the system, is so by now.
        self.next = next;
        self.durable = next.0.checked_sub(1).map(Lsn);
        self.phase = Phase::Serving;
        self.flush_if_due(out);
        self.count_levels(out);
        self.publish_serving(out);
        self.go_on_refilling(now, out);
    }

    /// A frozen memtable is in tables now.
    pub(crate) fn on_flushed(&mut self, mut tables: Vec<StoredTable>, through: Lsn, out: &mut Outbox) {
        // Those that a predecessor asked for are among the recovered tables.
        if !self.has_tables() {
            return;
        }
        tables.retain(|table| !self.copies.is_void(table.group));
        if self.engine.flushed(tables, through).is_err() {
            self.stop(Refusal::DiskFailed, out);
            return;
        }
        self.flush_if_due(out);
        self.count_levels(out);
    }

    /// Some tables were merged into others.
    pub(crate) fn on_replaced(&mut self, removed: &[TableId], mut added: Vec<StoredTable>, out: &mut Outbox) {
        // What was merged before the tables were read back is among them.
        if !self.has_tables() {
            return;
        }
        added.retain(|table| !self.copies.is_void(table.group));
        if self.engine.replaced(removed, added).is_err() {
            self.stop(Refusal::DiskFailed, out);
            return;
        }
        self.count_levels(out);
    }

    pub(crate) fn has_tables(&self) -> bool {
        matches!(self.phase, Phase::ReadingLog | Phase::Serving)
    }
}
