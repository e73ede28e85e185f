//! The client's hybrid clock: later than every stamp it gave or saw, and near the nodes' clocks even where this
//! machine's is wrong. No safety rests on it.

use anser_model::Hlc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Gives the stamps of one client.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: AtomicU64,
    offset_ms: AtomicI64,
}

impl Clock {
    /// A stamp later than all before.
    pub fn stamp(&self) -> Hlc {
        self.stamp_at(wall_ms())
    }

    /// Follows a node's clock, if that is ahead.
    pub fn follow(&self, seen: Hlc) {
        self.last.fetch_max(seen.0, Ordering::Relaxed);
    }

    /// Takes a node's clock for the truth, after it refused a stamp of this one's.
    pub fn correct(&self, node_ms: u64) {
        self.correct_at(node_ms, wall_ms());
    }

    fn stamp_at(&self, wall_ms: u64) -> Hlc {
        let now_ms = wall_ms.saturating_add_signed(self.offset_ms.load(Ordering::Relaxed));
        let next = |last| Hlc(last).tick(now_ms);
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last).0));
        next(last.unwrap_or_else(|last| last))
    }

    fn correct_at(&self, node_ms: u64, wall_ms: u64) {
        let difference = i128::from(node_ms) - i128::from(wall_ms);
        self.offset_ms.store(i64::try_from(difference).unwrap_or(0), Ordering::Relaxed);
        self.last.store(Hlc::from_ms(node_ms).0, Ordering::Relaxed);
    }
}

/// Milliseconds since 1970, by this machine.
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_even_if_the_wall_clock_does_not() {
        let clock = Clock::default();
        let first = clock.stamp_at(1000);
        assert_eq!(first, Hlc::from_ms(1000));
        assert!(clock.stamp_at(1000) > first);
        assert!(clock.stamp_at(500) > first);
    }

    #[test]
    fn stamps_follow_a_node_that_is_ahead() {
        let clock = Clock::default();
        clock.follow(Hlc::from_ms(5000));
        assert!(clock.stamp_at(1000) > Hlc::from_ms(5000));
    }

    #[test]
    fn a_clock_that_runs_ahead_is_corrected() {
        let clock = Clock::default();
        assert_eq!(clock.stamp_at(100_000).ms(), 100_000);
        clock.correct_at(50_000, 100_000);
        assert_eq!(clock.stamp_at(100_010).ms(), 50_010);
    }
}
