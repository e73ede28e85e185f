//! A queue that whoever puts something in never waits for, and whose only reader takes many at once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// From any thread to one that takes from it.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
    /// Whether the reader waits, and has not been woken: waking nobody is a system call too.
    waits: bool,
    /// How many items there must be for the reader to be woken.
    wakes_at: usize,
}

impl<T> State<T> {
    /// Whether to wake the reader now.
    fn wakes(&mut self) -> bool {
        let wakes = self.waits && self.items.len() >= self.wakes_at;
        self.waits &= !wakes;
        wakes
    }
}

impl<T> Queue<T> {
    /// An empty one.
    pub fn new() -> Queue<T> {
        let state = State { items: VecDeque::new(), closed: false, waits: false, wakes_at: 1 };
        Queue { state: Mutex::new(state), filled: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts items in, in order. After the close they are gone, and it says `false`.
    pub fn push(&self, items: impl IntoIterator<Item = T>) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.items.extend(items);
        let wakes = state.wakes();
        drop(state);
        if wakes {
            self.filled.notify_one();
        }
        true
    }

    /// Waits until so many items are in it, for the close, or until then.
    fn wait_for<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
        count: usize,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State<T>> {
        while state.items.len() < count && !state.closed {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            state.waits = true;
            state = match left {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.waits = false;
        }
        state
    }

    /// Waits for items and takes the first ones, at most `count`. None after the close, once it is empty.
    pub fn take(&self, count: usize) -> Option<Vec<T>> {
        self.take_grown(count, 1, Duration::ZERO)
    }

    /// As [`Queue::take`], but waits no longer than so: no items then.
    pub fn take_within(&self, count: usize, within: Duration) -> Option<Vec<T>> {
        let mut state = self.wait_for(self.lock(), 1, Some(Instant::now() + within));
        let count = count.min(state.items.len());
        let ended = state.closed && count == 0;
        (!ended).then(|| state.items.drain(..count).collect())
    }

    /// As [`Queue::take`]. What is in it is let grow before: until there is `enough`, or for so long.
    pub fn take_grown(&self, count: usize, enough: usize, within: Duration) -> Option<Vec<T>> {
        let mut state = self.lock();
        if !within.is_zero() {
            state.wakes_at = enough.max(1);
            state = self.wait_for(state, enough, Some(Instant::now() + within));
            state.wakes_at = 1;
        }
        let mut state = self.wait_for(state, 1, None);
        let count = count.min(state.items.len());
        let taken: Vec<T> = state.items.drain(..count).collect();
        (!taken.is_empty()).then_some(taken)
    }

    /// How many items are in it now.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Takes nothing more in; what is in it is still taken out.
    pub fn close(&self) {
        self.lock().closed = true;
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

    fn until<T>(queue: &Queue<T>, comes: impl Fn(&State<T>) -> bool) {
        let since = Instant::now();
        while !comes(&queue.lock()) {
            assert!(since.elapsed() < Duration::from_secs(10), "the reader doesn't come to wait");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_queue_is_let_grow_until_it_is_large_and_no_longer() {
        let (long, large) = (Duration::from_secs(60), 4);
        let queue = Queue::new();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let grown = scope.spawn(|| queue.take_grown(16, large, long));
            until(&queue, |state| state.waits);
            (1..large).for_each(|item| assert!(queue.push([item])));
            assert!(!grown.is_finished() && queue.lock().waits, "too few wake nobody");
            assert!(queue.push([0]));
            assert_eq!(grown.join().unwrap().map(|items| items.len()), Some(large));
        });
        assert!(queue.push(0..large));
        assert_eq!(queue.take_grown(16, large, long), Some((0..large).collect()), "it is large already");
        assert!(queue.push([7]));
        assert_eq!(queue.take_grown(16, large, Duration::from_millis(1)), Some(vec![7]));
        queue.close();
        assert_eq!(queue.take_grown(16, large, long), None);
        assert!(begun.elapsed() < long / 2, "it waits for what is there");
    }

    #[test]
    fn whoever_waits_after_a_growth_in_vain_is_woken_by_one_item() {
        let queue = Queue::new();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| queue.take_grown(16, 64, Duration::from_millis(1)));
            until(&queue, |state| state.waits && state.wakes_at == 1);
            assert!(queue.push([7]));
            assert_eq!(reader.join().unwrap(), Some(vec![7]));
        });
    }

    #[test]
    fn a_reader_that_is_on_its_way_is_not_woken_again() {
        let queue = Queue::new();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| queue.take(16));
            until(&queue, |state| state.waits);
            let mut state = queue.lock();
            state.items.push_back(1);
            assert!(state.wakes() && !state.wakes());
            drop(state);
            queue.filled.notify_one();
            assert_eq!(reader.join().unwrap(), Some(vec![1]));
        });
        assert!(!queue.lock().waits);
    }
}
