//! Reading back: tables, then the log, then the shard serves. A log record or table that can't be read stops it: the
//! copy is damaged, and is not to be merged from.

use crate::replica::{Phase, Replica};
use alloc::vec::Vec;
use anser_machine::{LogRecord, Lsn, Outbox, StoredTable, TableId};
use anser_proto::Refusal;

impl Replica {
    /// The tables that there are.
    pub(crate) fn on_recovered_tables(&mut self, tables: Vec<StoredTable>, out: &mut Outbox) {
        if self.phase != Phase::ReadingTables {
            return;
        }
        match self.engine.recovered_tables(tables) {
            Ok(()) => {
                self.phase = Phase::ReadingLog;
                self.count_levels(out);
            }
            Err(_) => self.stop(Refusal::DiskFailed, out),
        }
    }

    /// Some of what no table holds; with the last of it, the shard serves.
    pub(crate) fn on_recovered_log(&mut self, records: Vec<LogRecord>, next: Option<Lsn>, out: &mut Outbox) {
        if self.phase != Phase::ReadingLog {
            return;
        }
        if self.engine.recovered_log(&records).is_err() {
            self.stop(Refusal::DiskFailed, out);
            return;
        }
        self.flush_if_due(out);
        let Some(next) = next else { return };
        // The disk hands out only what is synced: whatever a predecessor had in its queue, and what a killed process left
        // to the system, is so by now.
        self.next = next;
        self.durable = next.0.checked_sub(1).map(Lsn);
        self.phase = Phase::Serving;
        self.count_levels(out);
        self.publish_serving(out);
    }

    /// A frozen memtable is in tables now.
    pub(crate) fn on_flushed(&mut self, tables: Vec<StoredTable>, through: Lsn, out: &mut Outbox) {
        // Those that a predecessor asked for are among the recovered tables.
        if !self.has_tables() {
            return;
        }
        if self.engine.flushed(tables, through).is_err() {
            self.stop(Refusal::DiskFailed, out);
            return;
        }
        self.flush_if_due(out);
        self.count_levels(out);
    }

    /// Some tables were merged into others.
    pub(crate) fn on_replaced(&mut self, removed: &[TableId], added: Vec<StoredTable>, out: &mut Outbox) {
        // What was merged before the tables were read back is among them.
        if !self.has_tables() {
            return;
        }
        if self.engine.replaced(removed, added).is_err() {
            self.stop(Refusal::DiskFailed, out);
            return;
        }
        self.count_levels(out);
    }

    fn has_tables(&self) -> bool {
        matches!(self.phase, Phase::ReadingLog | Phase::Serving)
    }
}
