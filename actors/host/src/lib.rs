//! The one crate that names actix: a supervised actor that hosts any [`anser_machine::Machine`].
//!
//! What it adds to a machine: a mailbox with admission by count and bytes, one timer, one message per drain and target,
//! a yield after so many events, healing from panics with address and mailbox kept, and metrics.
//! Keeps: a request is answered once it is admitted, by the machine or by the host (`Busy`, `NotServing` and `Crashed`
//! tell "nothing happened" from "unknown"); the effects of a step that panicked are never carried out.
//! Deliberately absent: routing and I/O, which are the [`Shell`]'s, and anything that a machine could wait for.

mod actor;
mod admission;
mod batch;
mod config;
mod drain;
mod facts;
mod handle;
mod healing;
mod inflight;
mod meter;
mod shared;
mod shell;
mod supervision;
#[cfg(test)]
mod tests;
mod unwind;
mod watchdog;

pub use actor::{Factory, spawn};
pub use config::{HostConfig, RestartPolicy};
pub use handle::{ActorStatus, Handle};
pub use shell::Shell;
pub use watchdog::Watchdog;

/// The runtime that actors live on, for whoever assembles a node.
pub mod runtime {
    pub use actix_rt::{Arbiter, System};
}
