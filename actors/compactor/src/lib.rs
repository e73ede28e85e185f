//! Decides which tables of a node's shards are merged, when, and how fast. A pure state machine; what is worth merging is
//! [`choose`]'s to say, and the disk does the work.
//!
//! One merge at a time for the whole node: shards that need it most come first. Keeps: nothing of its own. A merge changes
//! no answer, so a compactor that is rebuilt begins anew with the newest facts. Deliberately absent: the reading and
//! writing of tables, and the forgetting of deletes.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_machine::{
    Count, DiskRequest, Event, Fact, Feedback, Machine, Now, Outbox, Room, TableId, TableSummary,
};
use anser_proto::Tick;
use anser_storage::compaction::choice::runs;
use anser_storage::compaction::{Choice, Run, choose};
use core::cmp::Reverse;

/// Between two merges, so that what the first one changed is known.
const PAUSE_MS: u64 = 20;
/// After one that could not be done: its tables had changed, or the disk was busy with another.
const PAUSE_AFTER_NOTHING_MS: u64 = 500;
/// A shard to which nothing was written for so long is idle: what could wait is merged now.
const IDLE_AFTER_MS: u64 = 10_000;
/// How often it is looked whether a shard has become idle.
const LOOK_EVERY_MS: u64 = 5_000;
/// In how many of a hundred moments the disk works on a merge beside other work.
const DUTY: u8 = 50;
/// And when look-ups already suffer.
const DUTY_URGENT: u8 = 100;

/// A merge takes at most one in this many of the free bytes beyond the reserve.
const ROOM_SHARE: u64 = 2;

/// What is known of a shard.
#[derive(Debug)]
struct Shard {
    tables: Arc<[TableSummary]>,
    /// When tables were last written that no merge made.
    written: Tick,
}

/// A merge that could be begun.
struct Candidate {
    shard: u32,
    inputs: Vec<TableId>,
    urgent: bool,
    /// How much it does for look-ups: urgent ones first, then by runs that become one, then the small ones.
    rank: (bool, usize, Reverse<u64>),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Compactor {
    shards: BTreeMap<u32, Shard>,
    room: Room,
    /// Whether a merge is under way.
    busy: bool,
    /// Nothing is begun before.
    not_before: Tick,
    /// When to look again; none while there is nothing to look at.
    look: Option<Tick>,
}

/// The age of a shard's newest table. Only what is written out of memory makes it grow.
fn newest(tables: &[TableSummary]) -> Option<u64> {
    tables.iter().map(|table| table.age).max()
}

impl Compactor {
    /// One that knows of no tables yet.
    pub fn new() -> Compactor {
        Compactor::default()
    }

    fn learn(&mut self, now: Now, shard: u32, tables: Arc<[TableSummary]>) {
        let before = self.shards.get(&shard);
        let written = match before {
            Some(before) if newest(&before.tables) >= newest(&tables) => before.written,
            Some(_) | None => now.tick,
        };
        self.shards.insert(shard, Shard { tables, written });
        self.look = Some(self.not_before.max(now.tick));
    }

    fn ended(&mut self, now: Now, bytes: u64, out: &mut Outbox) {
        self.busy = false;
        let pause_ms = if bytes == 0 { PAUSE_AFTER_NOTHING_MS } else { PAUSE_MS };
        self.not_before = now.tick.plus_ms(pause_ms);
        self.look = Some(self.not_before);
        if bytes > 0 {
            out.count(Count::Compacted { bytes });
        }
    }

    /// Begins the best merge that there is, unless one is under way.
    fn look(&mut self, now: Now, out: &mut Outbox) {
        self.look = None;
        if self.busy {
            return;
        }
        if let Some(Candidate { shard, inputs, urgent, .. }) = self.best(now) {
            self.busy = true;
            let duty = if urgent { DUTY_URGENT } else { DUTY };
            out.disk(DiskRequest::Merge { shard, inputs, duty });
        } else if !self.shards.is_empty() {
            self.look = Some(now.tick.plus_ms(LOOK_EVERY_MS));
        }
    }

    /// The merge of the highest rank in all groups.
    fn best(&self, now: Now) -> Option<Candidate> {
        let of_shard = |(&number, shard): (&u32, &Shard)| -> Vec<Candidate> {
            let idle = now.tick.since_us(shard.written) >= IDLE_AFTER_MS * 1000;
            let candidate = |group: Vec<Run>| match choose(&group, idle, self.room.free_bytes / ROOM_SHARE) {
                Choice::Nothing => None,
                Choice::Merge { inputs, bytes, runs, urgent } => {
                    Some(Candidate { shard: number, inputs, urgent, rank: (urgent, runs, Reverse(bytes)) })
                }
            };
            runs(&shard.tables).into_values().filter_map(candidate).collect()
        };
        self.shards.iter().flat_map(of_shard).max_by_key(|candidate| candidate.rank)
    }
}

impl Machine for Compactor {
    fn handle(&mut self, now: Now, event: Event, out: &mut Outbox) {
        match event {
            Event::Fact(Fact::TablesChanged { shard, tables }) => self.learn(now, shard, tables),
            Event::Fact(Fact::RoomChanged(room)) => self.room = room,
            Event::Own(Feedback::Merged { bytes, .. }) => self.ended(now, bytes, out),
            // Nobody writes to it, nothing else is asked of the disk, and the rest of the node is nothing to it.
            Event::Message(_) | Event::Own(_) | Event::Fact(_) => {}
        }
    }

    fn next_timeout(&self) -> Option<(Tick, &'static str)> {
        self.look.map(|at| (at, "look"))
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Outbox) {
        if self.look.is_some_and(|at| at <= now.tick) {
            self.look(now, out);
        }
    }
}
