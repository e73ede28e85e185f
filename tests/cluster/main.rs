//! Real clusters on this machine: processes that are killed, stopped and refused, sockets, disks, the command line and the SDK.
//!
//! One module a promise; what they share is in `harness` (clusters, processes, pages) and `ledger` (what was written, and
//! what must be there after). Every wait is for a condition with a deadline. Deliberately absent: what the simulator can
//! show in virtual time.

// A test says what went wrong by panicking, also outside of the functions that are tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod command_line;
mod demo;
mod detection;
mod dev;
mod disk_room;
mod drain;
#[cfg(feature = "faults")]
mod faults;
mod flat;
mod garbage;
mod harness;
mod killed_node;
mod ledger;
mod pages;
mod power_cut;
mod refill;
mod refused_nodes;
mod refused_requests;
mod samples;
mod siblings;
mod store_check;
