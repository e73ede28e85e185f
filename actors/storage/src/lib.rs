//! The engine's pure core: memtable, log format, table format, block cache, recovery. It keeps whole key states: who
//! writes has read and merged before, so the newest holder of a key has all of it.
//!
//! Deliberately absent: the disk itself (reached by effects of the machine that owns an [`Engine`]), threads, merging of
//! states, and the choice of what to write.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod cache;
pub mod compaction;
mod cursor;
mod engine;
mod leaves;
mod memtable;
pub mod record;
pub mod store;
mod store_key;
pub mod table;

pub use cache::Cache;
pub use engine::{
    BATCH_KEYS_MAX, Batch, Batched, Engine, Found, LOG_PER_MEMTABLE, Limits, Lookup, Page, Run, Scan,
    Scanned, Search,
};
pub use leaves::{Leaves, fingerprint_of};
pub use memtable::Memtable;
pub use store_key::{StoreKey, group_of, partitions_of};
