//! How the memory target is shared out.
//!
//! Resident memory also holds what no part counts (code, stacks, allocator slack, QUIC's buffers): about a quarter is left
//! for that. The log's live bytes count, too: sled keeps most of what was written lately.

use anser_storage::LOG_PER_MEMTABLE;

/// A shard's memtables: the active one, and two that wait to be written.
const MEMTABLES: u64 = 3;
/// The commit log is not kept shorter than this, in bytes.
const LOG_BYTES_MIN: u64 = 512 << 20;

/// More would only keep the log in memory, which nobody reads: hot blocks have a cache of their own.
const SLED_BYTES_MAX: u64 = 64 << 20;

/// What each part of a node may hold, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// A shard's active memtable; two more may be waiting to be written.
    pub(super) memtable: usize,
    /// A shard's block cache.
    pub(super) cache: usize,
    /// What requests hold in one actor's mailbox and machine.
    pub(super) requests: usize,
    /// sled's cache.
    pub(super) sled: u64,
    /// The commit log, on disk: twice what the memtables of all shards keep of it, so that only what a shard that
    /// writes little left in it is ever written anew.
    pub(super) log: u64,
}

impl Budget {
    /// Shares `memory` bytes out among so many shards.
    pub(super) fn of(memory: u64, shards: u32) -> Budget {
        let shards = u64::from(shards.max(1));
        let part = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let memtable = (memory / 20 / shards).clamp(4 << 20, 256 << 20);
        let kept = memtable * MEMTABLES * LOG_PER_MEMTABLE as u64 * shards;
        Budget {
            memtable: part(memtable),
            cache: part(memory / 8 / shards),
            requests: part((memory / 16).clamp(32 << 20, 1 << 30)),
            sled: (memory / 32).clamp(8 << 20, SLED_BYTES_MAX),
            log: kept.saturating_mul(2).max(LOG_BYTES_MIN),
        }
    }
}

impl Budget {
    /// What memtables, full as they may be, come to on disk: once as tables, and as much again while they are written.
    pub(super) fn owed(&self, shards: u32) -> u64 {
        self.memtable as u64 * MEMTABLES * u64::from(shards) * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_leave_room_for_what_no_part_counts() {
        for memory in [512 << 20, 4 << 30, 64_u64 << 30] {
            for shards in [1, 2, 8] {
                let budget = Budget::of(memory, shards);
                // Writers that are not faster than the disk leave one memtable waiting, for a moment.
                let kept = (2 + LOG_PER_MEMTABLE as u64) * budget.memtable as u64;
                let shard = kept + budget.cache as u64;
                let all = shard * u64::from(shards) + budget.requests as u64 + budget.sled;
                assert!(all <= memory * 3 / 4, "{memory} over {shards}: {budget:?}");
            }
        }
    }
}
