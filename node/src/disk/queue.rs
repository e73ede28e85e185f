//! A queue that whoever puts something in never waits for, and whose reader takes many at once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// From any thread to the threads that take from it.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
    /// Readers that wait for items: waking nobody is a system call too.
    waiting: usize,
    /// How many items there must be for a reader to be woken.
    wakes_at: usize,
}

impl<T> Queue<T> {
    /// An empty one.
    pub fn new() -> Queue<T> {
        let state = State { items: VecDeque::new(), closed: false, waiting: 0, wakes_at: 1 };
        Queue { state: Mutex::new(state), filled: Condvar::new() }
    }

    /// Puts items in, in order. After the close they are gone, and it says `false`.
    pub fn push(&self, items: impl IntoIterator<Item = T>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return false;
        }
        state.items.extend(items);
        let wakes = state.waiting > 0 && state.items.len() >= state.wakes_at;
        drop(state);
        if wakes {
            self.filled.notify_one();
        }
        true
    }

    /// Waits for items and takes the first ones, at most `count`, and no more than its share while other readers wait. None
    /// after the close, once it is empty.
    pub fn take(&self, count: usize) -> Option<Vec<T>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting += 1;
        let mut state = self
            .filled
            .wait_while(state, |state| state.items.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        // Who else waits gets a share.
        let count = count.min(state.items.len().div_ceil(1 + state.waiting));
        let taken: Vec<T> = state.items.drain(..count).collect();
        if !state.items.is_empty() && state.waiting > 0 {
            self.filled.notify_one();
        }
        (!taken.is_empty()).then_some(taken)
    }

    /// Waits until so many items are in it, or for so long, or for the close. It takes none, and is for one reader.
    pub fn let_grow(&self, count: usize, within: Duration) {
        if within.is_zero() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.wakes_at = count.max(1);
        state.waiting += 1;
        let waited =
            self.filled.wait_timeout_while(state, within, |state| state.items.len() < count && !state.closed);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.wakes_at = 1;
    }

    /// As [`Queue::take`], but waits no longer than so: no items then.
    pub fn take_within(&self, count: usize, within: Duration) -> Option<Vec<T>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting += 1;
        let waited =
            self.filled.wait_timeout_while(state, within, |state| state.items.is_empty() && !state.closed);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        let count = count.min(state.items.len());
        let ended = state.closed && count == 0;
        (!ended).then(|| state.items.drain(..count).collect())
    }

    /// How many items are in it now.
    pub fn len(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).items.len()
    }

    /// Takes nothing more in; what is in it is still taken out.
    pub fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.filled.notify_all();
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn readers_that_wait_share_what_comes() {
        let queue = Queue::new();
        std::thread::scope(|scope| {
            let readers = [(); 2].map(|()| scope.spawn(|| queue.take(16).map_or(0, |taken| taken.len())));
            let since = Instant::now();
            while queue.state.lock().unwrap().waiting < 2 {
                assert!(since.elapsed() < Duration::from_secs(10), "the readers don't come to wait");
                std::thread::yield_now();
            }
            assert!(queue.push(0..10));
            assert_eq!(readers.map(|reader| reader.join().unwrap()), [5, 5]);
        });
        assert!(queue.push(0..10));
        assert_eq!(queue.take(16).map(|taken| taken.len()), Some(10), "nobody else waits");
        queue.close();
        assert_eq!(queue.take(16), None);
    }

    fn until_somebody_waits<T>(queue: &Queue<T>) {
        let since = Instant::now();
        while queue.state.lock().unwrap().waiting == 0 {
            assert!(since.elapsed() < Duration::from_secs(10), "nobody comes to wait");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_queue_is_let_grow_until_it_is_large_and_no_longer() {
        let (long, large) = (Duration::from_secs(60), 4);
        let queue = Queue::new();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let grown = scope.spawn(|| queue.let_grow(large, long));
            until_somebody_waits(&queue);
            (1..large).for_each(|item| assert!(queue.push([item])));
            assert!(!grown.is_finished() && queue.state.lock().unwrap().waiting == 1, "too few wake nobody");
            assert!(queue.push([0]));
            grown.join().unwrap();
        });
        queue.let_grow(large, long);
        assert_eq!(
            queue.take(16).map(|taken| taken.len()),
            Some(large),
            "it took none, and nothing is left behind"
        );
        queue.let_grow(large, Duration::from_millis(1));
        queue.close();
        queue.let_grow(large, long);
        assert!(begun.elapsed() < long / 2, "it waits for what is there");
    }

    #[test]
    fn whoever_waits_after_a_growth_is_woken_by_one_item() {
        let queue = Queue::new();
        queue.let_grow(64, Duration::from_millis(1));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| queue.take(16));
            until_somebody_waits(&queue);
            assert!(queue.push([7]));
            assert_eq!(reader.join().unwrap(), Some(vec![7]));
        });
    }
}
