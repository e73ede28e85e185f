//! What sled has replaced, and what it has dropped with a tree.
//!
//! It is taken apart once nobody can be reading it any more, by whichever thread calls sled just then: hundreds of leaves at once,
//! and that was one slow read of three beside merges. So the thread that writes tables does it, as it goes; and those that read do
//! it after they have answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// For so long all is attempted: somebody may be reading all along.
const WITHIN: Duration = Duration::from_millis(20);

/// As long as this is held, what this thread does takes nothing apart (but once in 128 times); and of what is replaced
/// meanwhile, nobody does.
pub(super) fn put_off() -> impl Sized {
    sled::pin()
}

/// Takes apart some of it.
pub(super) fn collect() {
    sled::pin().flush();
}

/// Takes apart all that this thread has replaced so far, unless somebody reads for long.
pub(super) fn collect_all() {
    // It goes in the order in which it came: once this is called, what came before is gone, or on its way.
    let gone = Arc::new(AtomicBool::new(false));
    let last = gone.clone();
    sled::pin().defer(move || last.store(true, Ordering::Release));
    let begun = Instant::now();
    while !gone.load(Ordering::Acquire) && begun.elapsed() < WITHIN {
        collect();
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn all_that_was_let_go_of_is_taken_apart() {
        // More than go in one step.
        const ITEMS: usize = 2000;
        let gone = Arc::new(AtomicUsize::new(0));
        for _ in 0..ITEMS {
            let gone = gone.clone();
            sled::pin().defer(move || gone.fetch_add(1, Ordering::Release));
        }
        let since = Instant::now();
        while gone.load(Ordering::Acquire) < ITEMS {
            // Other tests read all along.
            assert!(since.elapsed() < Duration::from_secs(10), "only {gone:?} are gone");
            collect_all();
        }
    }
}
