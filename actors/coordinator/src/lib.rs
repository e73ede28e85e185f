//! The coordinator: quorums of puts, gets and deletes over the replicas of a key.
//!
//! One pure machine, [`Coordinator`]. Any node's coordinator takes any request of a client. Keeps I-7 ("failed" is never
//! answered for a write that any copy holds or will hold), I-8 (a read meets every write acknowledged before it), I-10 (an
//! acknowledged write is durable on as many copies as its level says) and I-11 (a receipt claims no replica that did not
//! acknowledge). Deliberately absent: minting and merging on disk (the replica's), who is alive (membership's), and
//! fallbacks: where no replica is left to ask, the orders of minters and of readers end, and hinted copies will join there.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod config;
mod coordinator;
mod copies;
mod failure;
mod get;
mod latency;
mod put;
mod route;
mod timers;
mod validate;
mod view;

pub use config::Config;
pub use coordinator::Coordinator;
