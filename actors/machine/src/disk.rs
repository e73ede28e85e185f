//! What machines ask of the disk, and what it answers. The disk is reached by effects only, so nobody waits for it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use anser_model::merkle::{Fingerprint, Tally, TreeId};
use bytes::Bytes;

/// A position in one shard's commit log; grows by one with each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// A table of one node. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u64);

/// The tables of neighbouring partitions lie apart from others: a group of them is merged, dropped or moved alone.
pub type Group = u16;

/// A table of a shard, as the disk lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTable {
    /// Its id.
    pub id: TableId,
    /// The partitions that it holds.
    pub group: Group,
    /// Of two tables of a group that hold one key, the one with the greater age is the newer. Those of one age share no
    /// key.
    pub age: u64,
    /// Bytes of it on disk.
    pub bytes: u64,
    /// About how many entries of older tables of its group it makes void.
    pub voids: u64,
    /// Its encoded index, filter, and changes of hash trees.
    pub meta: Bytes,
}

/// With the block that takes it to so many bytes, a fetch ends.
pub const FETCH_BYTES_MAX: usize = 256 << 10;

/// Pairs a fetch with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A small durable cell of one actor, replaced as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlotName {
    /// The ring chain as far as this node knows it.
    Ring,
    /// This node's incarnation.
    Incarnation,
    /// Known peers and their addresses.
    Peers,
    /// Which of a shard's copies are being refilled. Each shard has its own.
    Copies,
}

/// What a memtable holds for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The key's whole encoded state.
    pub state: Bytes,
    /// The log position that last changed it.
    pub lsn: Lsn,
    /// What the state counts as in its hash tree.
    pub counts: Fingerprint,
    /// What tables, and memtables on their way into one, hold of the key counts as.
    pub replaces: Fingerprint,
}

impl Stored {
    /// Whether it makes an older state void that is in a table, or in a memtable on its way into one.
    pub fn voids(&self) -> bool {
        self.replaces != Fingerprint::NONE
    }

    /// What changes in the key's hash tree when this is in a table.
    pub fn change(&self) -> Tally {
        Tally::change(self.replaces, self.counts)
    }
}

/// Words of a key that lie beside it.
const HEAD_WORDS: usize = 4;
const WORD_BYTES: usize = size_of::<u64>();

/// A key in a map, ordered as its bytes are. Its first ones lie beside it, so that comparing two keys seldom follows a
/// pointer: a look-up compares some twenty times, and each pointer's memory is a cache line of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Headed {
    /// Big endian, the missing bytes zero. Compared first, since it is the first field.
    head: [u64; HEAD_WORDS],
    bytes: Bytes,
}

impl Headed {
    /// Its bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl From<Bytes> for Headed {
    fn from(bytes: Bytes) -> Headed {
        let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
        let mut last = [0; WORD_BYTES];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let mut head = [0; HEAD_WORDS];
        for (to, from) in head.iter_mut().zip(words.iter().chain([&last])) {
            *to = u64::from_be_bytes(*from);
        }
        Headed { head, bytes }
    }
}

/// Store keys with what a memtable holds for them, in order.
pub type Entries = BTreeMap<Headed, Stored>;

/// How deep hash trees are.
pub type Depths = BTreeMap<TreeId, u8>;

/// A memtable that takes no more writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frozen {
    /// What it holds.
    pub entries: Entries,
    /// How deep the trees are to be whose changes its tables tell; those that are not in it are leaves.
    pub depths: Depths,
}

impl FromIterator<(Headed, Stored)> for Frozen {
    fn from_iter<I: IntoIterator<Item = (Headed, Stored)>>(entries: I) -> Frozen {
        Frozen { entries: entries.into_iter().collect(), depths: Depths::new() }
    }
}

/// One record of a shard's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it is.
    pub lsn: Lsn,
    /// What it says.
    pub bytes: Bytes,
}

/// What a machine asks of the disk. The host adds which shard asks.
#[derive(Clone, Debug)]
pub enum DiskRequest {
    /// Read this shard's tables and log back. Answers: `RecoveredTables`, `RecoveredLog` once or more, all after everything
    /// that the shard asked for before.
    Recover,
    /// Append to this shard's log. Answer: `Durable`, once for a whole group.
    Append(LogRecord),
    /// Read neighbouring blocks of a table. Answer: `Fetched`, `TableGone`, or `FetchFailed` when the first can't be trusted.
    Fetch {
        /// Pairs it with its answer.
        ticket: Ticket,
        /// The table.
        table: TableId,
        /// The first block's number.
        block: u32,
        /// How many, if they come to less than [`FETCH_BYTES_MAX`].
        count: u32,
    },
    /// Write a frozen memtable as tables, one for each group, and install them at once; then the log through `through`
    /// is no longer needed. Answer: `Flushed`.
    Flush {
        /// What to write; never empty.
        frozen: Arc<Frozen>,
        /// The last log position whose content is in these tables or older ones.
        through: Lsn,
    },
    /// Merge tables of one group of a shard, neighbours in age, into new ones that take their place at once. Answer:
    /// `Merged`, and to the shard `TablesReplaced`.
    Merge {
        /// Whose they are.
        shard: u32,
        /// The tables. When one of them is gone by then, nothing is done.
        inputs: Vec<TableId>,
        /// In how many of a hundred moments the disk may work on it.
        duty: u8,
    },
    /// Drop all tables of one group of this shard, at once: they can't be trusted. Answer: `Wiped`.
    Wipe {
        /// Whose partitions' tables.
        group: Group,
    },
    /// Replace a slot. Answer: `Saved`.
    Save {
        /// Which.
        slot: SlotName,
        /// Its content.
        bytes: Bytes,
    },
    /// Read a slot. Answer: `Loaded`.
    Load {
        /// Which.
        slot: SlotName,
    },
}

/// What the disk answers.
#[derive(Clone, Debug)]
pub enum Feedback {
    /// All of this shard's log through here is synced.
    Durable {
        /// The last synced position.
        through: Lsn,
    },
    /// This shard's tables.
    RecoveredTables {
        /// All of them that can be read, in any order.
        tables: Vec<StoredTable>,
        /// The groups of those that can't be.
        damaged: Vec<Group>,
    },
    /// Log records that no table holds, in order; they may repeat what a table holds.
    RecoveredLog {
        /// Some of them.
        records: Vec<LogRecord>,
        /// With the last ones, the position of the next append.
        next: Option<Lsn>,
    },
    /// Blocks, verified and decompressed.
    Fetched {
        /// The fetch.
        ticket: Ticket,
        /// The first of those that were asked for: at least one, perhaps not all.
        blocks: Vec<Bytes>,
    },
    /// A block that can't be read or trusted.
    FetchFailed {
        /// The fetch.
        ticket: Ticket,
    },
    /// The block's table was merged into others, of which the shard was told before.
    TableGone {
        /// The fetch.
        ticket: Ticket,
    },
    /// The tables are installed.
    Flushed {
        /// What was written.
        tables: Vec<StoredTable>,
        /// As asked.
        through: Lsn,
    },
    /// Some of this shard's tables were merged into others: somebody else asked for it, this shard is told.
    TablesReplaced {
        /// They are no more.
        removed: Vec<TableId>,
        /// They hold what those held.
        added: Vec<StoredTable>,
    },
    /// A table of the group can't be read or trusted, as a merge found: this shard is told.
    GroupDamaged {
        /// The group.
        group: Group,
    },
    /// A group's tables are no more; tables that were written before are gone too.
    Wiped {
        /// The group.
        group: Group,
    },
    /// A merge is done, or was none.
    Merged {
        /// Whose tables they were.
        shard: u32,
        /// Bytes that were written.
        bytes: u64,
    },
    /// The slot is durable.
    Saved {
        /// Which.
        slot: SlotName,
    },
    /// A slot's content.
    Loaded {
        /// Which.
        slot: SlotName,
        /// Its content, if it was ever saved.
        bytes: Option<Bytes>,
    },
    /// The disk failed; the store has stopped and nothing more becomes durable.
    DiskFailed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headed_keys_are_ordered_as_their_bytes() {
        let long = [7; HEAD_WORDS * WORD_BYTES];
        let longer = |last: &[u8]| [&long[..], last].concat();
        let keys =
            [vec![], vec![0], vec![0, 0], vec![0, 1], vec![1], b"ab".to_vec(), b"b".to_vec(), vec![255]];
        let mut keys = keys.to_vec();
        keys.extend([long[1..].to_vec(), longer(&[]), longer(&[0]), longer(&[1]), longer(&[1, 0])]);
        for a in &keys {
            for b in &keys {
                let headed = |key: &Vec<u8>| Headed::from(Bytes::from(key.clone()));
                assert_eq!(headed(a).cmp(&headed(b)), a.cmp(b), "{a:?} {b:?}");
            }
        }
    }
}
