//! Reading back: which copies may be trusted, tables, then the log; then the shard serves, once the folder is known to be no
//! old copy of itself. A log record that can't be read stops it; tables that can't be are lost, with their groups.

use crate::replica::{Phase, Replica};
use alloc::vec::Vec;
use anser_machine::{Fact, FolderTrust, Group, LogRecord, Lsn, Now, Outbox, StoredTable, TableId};
use anser_proto::Refusal;

/// Between two words on how far the log is.
const GROWTH_GAP_MS: u64 = 250;

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
        self.phase = Phase::ReadBack;
        self.count_levels(out);
        self.tell_growth(now, out);
        self.serve_if_sound(now, out);
    }

    /// Whether the folder is an old copy of itself is known, or known better.
    pub(crate) fn on_folder_judged(&mut self, now: Now, trust: FolderTrust, out: &mut Outbox) {
        match trust {
            FolderTrust::Sound => {
                self.is_sound = true;
                self.serve_if_sound(now, out);
            }
            FolderTrust::Old { .. } => self.stop(Refusal::NotServing, out),
        }
    }

    /// The copies answer once they are read back, and are what others remember of them at least.
    fn serve_if_sound(&mut self, now: Now, out: &mut Outbox) {
        if self.phase == Phase::ReadBack && self.is_sound {
            self.phase = Phase::Serving;
            self.flush_if_due(out);
            self.publish_serving(out);
            self.go_on_refilling(now, out);
        }
    }

    /// Tells the node how far the log is: whoever remembers it knows an older copy of the folder by it.
    fn tell_growth(&mut self, now: Now, out: &mut Outbox) {
        let records = self.durable.map_or(0, |durable| durable.0.saturating_add(1));
        self.told_records = (records, now.tick);
        out.publish(Fact::LogGrown { shard: self.config.shard, records: Some(records) });
    }

    /// The same, not for each sync.
    pub(crate) fn tell_growth_sometimes(&mut self, now: Now, out: &mut Outbox) {
        let (told, at) = self.told_records;
        let has_grown = self.durable.is_some_and(|durable| durable.0 >= told);
        if has_grown && now.tick.since_us(at) >= GROWTH_GAP_MS * 1000 {
            self.tell_growth(now, out);
        }
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
        matches!(self.phase, Phase::ReadingLog | Phase::ReadBack | Phase::Serving)
    }
}
