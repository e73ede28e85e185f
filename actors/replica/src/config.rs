//! What a shard's machine is built with: who it is, and the bounds of all that it holds.

use anser_model::{Actor, Life, Member};

/// Most requests waiting for a sync or a block, unless configured.
const PENDING_MAX: usize = 16 * 1024;
/// Most bytes that waiting requests and their answers hold, unless configured.
const PENDING_BYTES_MAX: usize = 64 << 20;
/// How far a write's clock may be ahead of this node's.
const MAX_DRIFT_MS: u64 = 1000;
/// Bytes of a page, unless configured.
const PAGE_BYTES: usize = 128 << 10;

/// What a [`crate::Replica`] is built with.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// The node and folder whose copies these are.
    pub member: Member,
    /// Which shard: it has the partitions p with `p % shards == shard`.
    pub shard: u32,
    /// How many shards the node has; at least 1.
    pub shards: u32,
    /// How often the machine was rebuilt: answers to a predecessor's fetches are told apart by it.
    pub life: u32,
    /// The copies' Life, drawn at random for each shard, at every process start *and* every rebuild: dots are unique because
    /// no two machines ever share one.
    pub copy_life: Life,
    /// The bounds.
    pub limits: Limits,
}

/// The bounds of what one shard holds in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most requests that wait for a sync or a block.
    pub pending_max: usize,
    /// Most bytes that they and their answers hold.
    pub pending_bytes_max: usize,
    /// How far a write's clock may be ahead of this node's, in milliseconds.
    pub max_drift_ms: u64,
    /// A page that is shown to a copy that is being refilled ends with so many bytes.
    pub page_bytes: usize,
    /// Memtables and block cache.
    pub engine: anser_storage::Limits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            pending_max: PENDING_MAX,
            pending_bytes_max: PENDING_BYTES_MAX,
            max_drift_ms: MAX_DRIFT_MS,
            page_bytes: PAGE_BYTES,
            engine: anser_storage::Limits::default(),
        }
    }
}

impl ReplicaConfig {
    /// Who mints here.
    pub(crate) fn actor(&self) -> Actor {
        Actor { node: self.member.node, life: self.copy_life }
    }
}
