//! The node's clocks: the one place where machines' time comes from.

use anser_machine::Now;
use anser_proto::Tick;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Monotonic ticks since its making, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now, at tick 1: tick 0 is "before everything".
    pub(super) fn new() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Monotonic microseconds.
    pub(super) fn tick(&self) -> Tick {
        Tick(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_add(1))
    }

    /// Both clocks.
    pub(super) fn now(&self) -> Now {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { tick: self.tick(), wall_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX) }
    }
}
