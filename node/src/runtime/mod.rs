//! One node, running: its actors on their threads, the switchboard between them, and the way up and down.
//!
//! Threads: `control` (membership: nothing slow may run beside its timers), `network` (QUIC, client sessions, the
//! coordinator: they talk once a request), one `shard` thread for each replica, the disk's own, and the main thread for
//! HTTP and signals.

mod awaited;
mod boot;
mod budget;
mod clock;
mod peers;
mod restart;
mod room;
mod roster;
mod switchboard;
mod threads;
mod view;

pub use boot::{NodeArgs, run};
