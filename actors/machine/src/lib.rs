//! The contract of every actor: a pure state machine that takes events and answers with effects.
//!
//! Effects are data: pushed into an [`Outbox`] during a step, carried out after it, all of them or (when the step
//! panics) none. Time is a value, randomness is seeded. Deliberately absent: everything a machine could wait for.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod count;
mod disk;
mod event;
mod outbox;
mod random;

pub use count::{Count, Op, OutcomeKind};
pub use disk::{
    Depths, DiskRequest, Entries, FETCH_BYTES_MAX, Feedback, Frozen, Group, Headed, LogRecord, Lsn, SlotName,
    Stored, StoredTable, TableId, Ticket,
};
pub use event::{CopiesSummary, Event, Fact, FolderTrust, PeerView, Peers, Room, RoomLevel, TableSummary};
pub use outbox::{Effect, Outbox};
pub use random::Random;

use anser_proto::Tick;

/// What time it is, as the host hands it in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: what deadlines and timers go by.
    pub tick: Tick,
    /// The wall clock, in milliseconds since 1970; it may jump, and no safety rests on it.
    pub wall_ms: u64,
}

/// A pure state machine, hosted by an actor, by the simulator or by a bench.
///
/// A machine begins with `next_timeout` at tick 0: its first `handle_timeout` is where it asks for what it needs.
pub trait Machine: Send {
    /// Takes one event.
    fn handle(&mut self, now: Now, event: Event, out: &mut Outbox);

    /// When `handle_timeout` wants to be called next, and why.
    fn next_timeout(&self) -> Option<(Tick, &'static str)>;

    /// Time has passed. Calls that come early or twice are harmless.
    fn handle_timeout(&mut self, now: Now, out: &mut Outbox);
}
