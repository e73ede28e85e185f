//! One shard's copies: they mint versions, merge what other copies send, keep it in log, memtable and tables, and answer
//! reads; those that have lost what they held are refilled from the others. A pure state machine; time, messages and the disk come in as events, and go out as effects.
//!
//! Deliberately absent: quorums (a coordinator's business), hints, anti-entropy and compaction.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod admit;
mod config;
mod copies;
mod damage;
mod fetches;
mod holdings;
mod log;
mod mint;
mod operation;
mod pages;
mod pending;
mod read;
mod recovery;
mod refill;
mod replica;
mod service;
mod sources;
mod store;
#[cfg(test)]
mod tests;

pub use anser_storage::Limits as EngineLimits;
pub use config::{Limits, ReplicaConfig};
pub use replica::Replica;
