//! What machines count. A closed set: the host turns it into metrics, the simulator into coverage.

use anser_model::KeyspaceId;

/// An operation of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// A put.
    Put,
    /// A get.
    Get,
    /// A delete.
    Delete,
}

impl Op {
    /// Every operation.
    pub const ALL: [Op; 3] = [Op::Put, Op::Get, Op::Delete];

    /// The name, as metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Op::Put => "put",
            Op::Get => "get",
            Op::Delete => "delete",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutcomeKind {
    /// It met its level.
    Ok,
    /// It was wrong, or not allowed. Nothing happened.
    Invalid,
    /// It was refused. Nothing happened.
    Refused,
    /// Its level was not met.
    Unknown,
}

impl OutcomeKind {
    /// Every outcome.
    pub const ALL: [OutcomeKind; 4] =
        [OutcomeKind::Ok, OutcomeKind::Invalid, OutcomeKind::Refused, OutcomeKind::Unknown];

    /// The name, as metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            OutcomeKind::Ok => "ok",
            OutcomeKind::Invalid => "invalid",
            OutcomeKind::Refused => "refused",
            OutcomeKind::Unknown => "unknown",
        }
    }
}

/// Something that happened, or a level that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A client's request was answered.
    Request {
        /// What it was.
        op: Op,
        /// Its keyspace; none if unknown.
        keyspace: Option<KeyspaceId>,
        /// How it ended.
        outcome: OutcomeKind,
        /// Microseconds from its arrival.
        us: u64,
    },
    /// A level was not met.
    QuorumShortfall(Op),
    /// A read showed this many versions.
    Siblings(u32),
    /// A stale replica was sent the merged state.
    ReadRepair,
    /// A retry was found minted already.
    RetryKnown,
    /// Bodies that differ under one request id: a client's bug.
    BodyClash,
    /// A Bloom filter was asked: whether it could rule the table out.
    Bloom {
        /// Whether it ruled it out.
        ruled_out: bool,
    },
    /// The block cache was asked.
    Cache {
        /// Whether it had the block.
        hit: bool,
    },
    /// Bytes in this shard's memtables now.
    MemtableBytes {
        /// Which shard.
        shard: u32,
        /// How many.
        bytes: u64,
    },
    /// Bytes of this shard's hash trees, as its tables changed.
    TreeBytes {
        /// Which shard.
        shard: u32,
        /// How many.
        bytes: u64,
    },
    /// A merge of tables wrote so many bytes.
    Compacted {
        /// How many.
        bytes: u64,
    },
    /// This shard's tables now.
    Tables {
        /// Which shard.
        shard: u32,
        /// How many.
        tables: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn each_label_has_a_name_of_its_own() {
        let ops: BTreeSet<&str> = Op::ALL.map(Op::name).into();
        let outcomes: BTreeSet<&str> = OutcomeKind::ALL.map(OutcomeKind::name).into();
        assert_eq!((ops.len(), outcomes.len()), (Op::ALL.len(), OutcomeKind::ALL.len()));
    }
}
