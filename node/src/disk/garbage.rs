//! What sled has replaced, and what it has dropped with a tree.
//!
//! It is taken apart once nobody can be reading it any more, by whichever thread calls sled just then: hundreds of leaves at once,
//! and that was one slow read of three beside merges. So the thread that writes tables does it, as it goes; and those that read do
//! it after they have answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// For as many times all is attempted: somebody may be reading all along.
const COLLECTS_MAX: usize = 1000;

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
    // It goes in the order in which it came: once this is called, what came before is gone.
    let gone = Arc::new(AtomicBool::new(false));
    let last = gone.clone();
    sled::pin().defer(move || last.store(true, Ordering::Release));
    for _ in 0..COLLECTS_MAX {
        collect();
        if gone.load(Ordering::Acquire) {
            return;
        }
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn what_was_let_go_of_is_taken_apart_in_order() {
        let gone: [_; 2] = std::array::from_fn(|_| Arc::new(AtomicBool::new(false)));
        // More than go in one step.
        for place in 0..2000 {
            let flag = gone[usize::from(place > 0)].clone();
            sled::pin().defer(move || flag.store(place == 0 || place == 1999, Ordering::Release));
        }
        let since = Instant::now();
        while !gone.iter().all(|gone| gone.load(Ordering::Acquire)) {
            // Other tests read all along.
            assert!(since.elapsed() < Duration::from_secs(10), "it is still there: {gone:?}");
            collect_all();
        }
    }
}
