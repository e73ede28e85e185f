//! A disk in memory: what was not synced is gone after a crash.

use anser_machine::{DiskRequest, Feedback, LogRecord, Lsn, SlotName, StoredTable, TableId};
use anser_storage::table::{self, block, chunk};
use bytes::Bytes;
use std::collections::VecDeque;

/// A table: its metadata and chunks.
#[derive(Clone)]
struct Table {
    listed: StoredTable,
    chunks: Vec<Bytes>,
}

#[derive(Clone, Default)]
pub struct FakeDisk {
    /// Synced log records that no table holds.
    pub synced: Vec<LogRecord>,
    /// Records a crash loses.
    pub unsynced: Vec<LogRecord>,
    /// Everything else that was asked and not answered.
    pub asked: VecDeque<DiskRequest>,
    tables: Vec<Table>,
    tables_ever: u64,
    /// The cell of copies.
    pub copies: Option<Bytes>,
    /// Tables whose metadata can't be read.
    pub unreadable: bool,
    /// Blocks that can't be.
    pub bad_blocks: bool,
    /// The log through here was dropped.
    dropped: Option<Lsn>,
}

impl FakeDisk {
    pub fn ask(&mut self, request: DiskRequest) {
        match request {
            DiskRequest::Append(record) => {
                let last = self.unsynced.last().or(self.synced.last()).map(|record| record.lsn);
                assert!(last.max(self.dropped) < Some(record.lsn), "positions grow");
                self.unsynced.push(record);
            }
            other => self.asked.push_back(other),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.unsynced.is_empty() && self.asked.is_empty()
    }

    /// Answers everything that was asked for before, by forgetting it, then reads back in two pieces.
    pub fn recover(&mut self) -> Vec<Feedback> {
        let asked = self.asked.pop_back();
        assert!(matches!(asked, None | Some(DiskRequest::Recover)), "{asked:?}");
        let tables: Vec<StoredTable> = self.tables.iter().map(|table| table.listed.clone()).collect();
        let damaged = if self.unreadable && !tables.is_empty() { vec![0] } else { vec![] };
        let tables = if self.unreadable { vec![] } else { tables };
        let (first, second) = self.synced.split_at(self.synced.len() / 2);
        let last = self.synced.last().map(|record| record.lsn).max(self.dropped);
        let next = Lsn(last.map_or(1, |lsn| lsn.0 + 1));
        vec![
            Feedback::RecoveredTables { tables, damaged },
            Feedback::RecoveredLog { records: first.to_vec(), next: None },
            Feedback::RecoveredLog { records: second.to_vec(), next: Some(next) },
        ]
    }

    /// One group.
    pub fn sync(&mut self) -> Option<Feedback> {
        let through = self.unsynced.last()?.lsn;
        self.synced.append(&mut self.unsynced);
        Some(Feedback::Durable { through })
    }

    /// Carries out what was asked for first.
    pub fn serve_one(&mut self) -> Option<Feedback> {
        Some(match self.asked.pop_front()? {
            DiskRequest::Flush { frozen, through } => {
                assert!(!frozen.entries.is_empty());
                self.tables_ever += 1;
                let id = TableId(self.tables_ever);
                let entries = frozen
                    .entries
                    .iter()
                    .map(|(key, stored)| (key.as_bytes().as_ref(), stored.state.as_ref()));
                let finished = table::write(id, entries);
                let chunks = finished.chunks.into_iter().map(Bytes::from).collect();
                // The test's ring is so small that all partitions are of one group.
                let listed = StoredTable { id, group: 0, age: id.0, bytes: 1, voids: 0, meta: finished.meta };
                self.tables.push(Table { listed: listed.clone(), chunks });
                self.synced.retain(|record| record.lsn > through);
                self.dropped = self.dropped.max(Some(through));
                Feedback::Flushed { tables: vec![listed], through }
            }
            DiskRequest::Fetch { ticket, .. } if self.bad_blocks => Feedback::FetchFailed { ticket },
            DiskRequest::Fetch { ticket, table, .. }
                if !self.tables.iter().any(|held| held.listed.id == table) =>
            {
                Feedback::TableGone { ticket }
            }
            DiskRequest::Save { slot: SlotName::Copies, bytes } => {
                self.copies = Some(bytes);
                Feedback::Saved { slot: SlotName::Copies }
            }
            DiskRequest::Load { slot: SlotName::Copies } => {
                Feedback::Loaded { slot: SlotName::Copies, bytes: self.copies.clone() }
            }
            DiskRequest::Wipe { group } => {
                self.tables.retain(|held| held.listed.group != group);
                Feedback::Wiped { group }
            }
            DiskRequest::Fetch { ticket, table, block, count } => {
                let table = self.tables.iter().find(|held| held.listed.id == table).unwrap();
                let get = |number: u32| -> Result<_, chunk::BadChunk> {
                    Ok(table.chunks.get(usize::try_from(number).unwrap()).cloned())
                };
                let mut next = block;
                let blocks = (0..count).map(|_| {
                    let (packed, chunks) = chunk::join(table.listed.id, next, get).unwrap();
                    next += chunks;
                    block::unpack(&packed).unwrap()
                });
                Feedback::Fetched { ticket, blocks: blocks.collect() }
            }
            other => panic!("{other:?}"),
        })
    }

    /// What a power cut leaves.
    pub fn crash(&mut self) {
        self.unsynced.clear();
        self.asked.clear();
    }

    pub fn tables(&self) -> usize {
        self.tables.len()
    }
}
