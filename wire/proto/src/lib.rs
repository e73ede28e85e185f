//! What nodes, clients and operators say to each other: addresses, the envelope, one file per conversation, and the frame.
//!
//! Decoding is total: any bytes give a value or an error, in memory bounded by the input's length. Deliberately absent:
//! sockets, certificates and time (a deadline on the wire is time left).
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod address;
pub mod admin;
pub mod client;
pub mod envelope;
pub mod frame;
pub mod gossip;
pub mod hello;
pub mod replicate;
#[cfg(test)]
mod tests;

pub use address::{Address, Role};
pub use envelope::{Body, Class, Envelope, OpId, Refusal, Tick};
