//! Who is there: failure detection, gossip, and this node's end of the ring chain, as one pure machine.
//!
//! Liveness is gossip's business, placement is the chain's: rumours move no data and guard nothing. Keeps: a node's step
//! grows only, and a step or incarnation is durable before it is said (I-13); a forgotten node is never believed in again.
//! Deliberately absent: dialling (seeds are the node's job, which tells of an answer by `Fact::PeerSeen`), sockets, clocks,
//! and any decision to move data.
//!
//! Sources: Das et al., "SWIM" (2002); Dadgar et al., "Lifeguard" (2017).
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod answers;
mod chatter;
mod claim;
mod config;
mod detector;
mod folders;
mod founding;
mod membership;
mod peers;
mod probing;
mod ring_keeper;
mod rumours;
mod slots;

pub use config::{Config, Probing};
pub use membership::Membership;

#[cfg(test)]
mod tests;
