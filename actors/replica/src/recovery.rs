//! Reading back: tables, then the log, then the shard serves. A log record or table that can't be read stops it: the
//! copy is damaged, and is not to be merged from.

use crate::replica::{Phase, Replica};
use alloc::vec::Vec;
use anser_machine::{LogRecord, Lsn, Outbox, TableId};
use anser_proto::Refusal;
use bytes::Bytes;

impl Replica {
    /// The tables that there are.
    pub(crate) fn on_recovered_tables(&mut self, tables: Vec<(TableId, Bytes)>, out: &mut Outbox) {
        if self.phase != Phase::ReadingTables {
            return;
        }
        match self.engine.recovered_tables(tables) {
            Ok(()) => self.phase = Phase::ReadingLog,
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

    /// A frozen memtable has become a table.
    pub(crate) fn on_flushed(&mut self, table: TableId, meta: Bytes, through: Lsn, out: &mut Outbox) {
        // One that a predecessor asked for is among the recovered tables.
        if self.phase != Phase::ReadingLog && self.phase != Phase::Serving {
            return;
        }
        if self.engine.flushed(table, meta, through).is_err() {
            self.stop(Refusal::DiskFailed, out);
            return;
        }
        self.flush_if_due(out);
        self.count_levels(out);
    }
}
