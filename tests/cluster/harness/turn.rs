//! Turns: at most two clusters run at once, however many tests do, and one that measures runs alone.

use std::sync::{Condvar, Mutex, PoisonError};

/// Clusters at once.
const ROOM: u32 = 2;

static TAKEN: Mutex<u32> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// The right to run a cluster, given back when dropped.
pub struct Turn(u32);

impl Turn {
    /// Waits for it. The longest wait is for the tests before it, each of which has its own deadlines.
    pub fn take(alone: bool) -> Turn {
        let wanted = if alone { ROOM } else { 1 };
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken =
            FREED.wait_while(taken, |taken| *taken + wanted > ROOM).unwrap_or_else(PoisonError::into_inner);
        *taken += wanted;
        Turn(wanted)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        FREED.notify_all();
    }
}
