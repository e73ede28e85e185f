//! How the memory target is shared out.
//!
//! Resident memory also holds what no part counts (code, stacks, allocator slack, QUIC's buffers): about a quarter is left
//! for that.

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
}

impl Budget {
    /// Shares `memory` bytes out among so many shards.
    pub(super) fn of(memory: u64, shards: u32) -> Budget {
        let shards = u64::from(shards.max(1));
        let part = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Budget {
            // Three memtables a shard: a quarter in all.
            memtable: part((memory / 12 / shards).clamp(4 << 20, 256 << 20)),
            cache: part(memory / 6 / shards),
            requests: part((memory / 16).clamp(32 << 20, 1 << 30)),
            sled: (memory / 16).clamp(8 << 20, 256 << 20),
        }
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
                let shard = 3 * budget.memtable as u64 + budget.cache as u64;
                let all = shard * u64::from(shards) + budget.requests as u64 + budget.sled;
                assert!(all <= memory * 3 / 4, "{memory} over {shards}: {budget:?}");
            }
        }
    }
}
