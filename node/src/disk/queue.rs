//! A queue that whoever puts something in never waits for, and whose reader takes many at once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// From any thread to the threads that take from it.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
    /// Readers that wait for items, and how many of them have been woken and are not here yet: waking nobody is a system call
    /// too.
    waiting: usize,
    woken: usize,
    /// How many items there must be for a reader to be woken.
    wakes_at: usize,
}

impl<T> State<T> {
    /// Whether to wake a reader now.
    fn wakes(&mut self) -> bool {
        let wakes = self.items.len() >= self.wakes_at && self.waiting > self.woken;
        self.woken += usize::from(wakes);
        wakes
    }
}

impl<T> Queue<T> {
    /// An empty one.
    pub fn new() -> Queue<T> {
        let state = State { items: VecDeque::new(), closed: false, waiting: 0, woken: 0, wakes_at: 1 };
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
            state.waiting += 1;
            state = match left {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.waiting -= 1;
            state.woken = state.woken.saturating_sub(1);
        }
        state
    }

    /// Waits for items and takes the first ones, at most `count`, and no more than its share while other readers wait. None
    /// after the close, once it is empty.
    pub fn take(&self, count: usize) -> Option<Vec<T>> {
        let mut state = self.wait_for(self.lock(), 1, None);
        // Who else waits gets a share.
        let count = count.min(state.items.len().div_ceil(1 + state.waiting));
        let taken: Vec<T> = state.items.drain(..count).collect();
        let wakes = !state.items.is_empty() && state.wakes();
        drop(state);
        if wakes {
            self.filled.notify_one();
        }
        (!taken.is_empty()).then_some(taken)
    }

    /// As [`Queue::take`], but waits no longer than so: no items then.
    pub fn take_within(&self, count: usize, within: Duration) -> Option<Vec<T>> {
        let mut state = self.wait_for(self.lock(), 1, Some(Instant::now() + within));
        let count = count.min(state.items.len());
        let ended = state.closed && count == 0;
        (!ended).then(|| state.items.drain(..count).collect())
    }

    /// As [`Queue::take`], for the only reader. What is in it is let grow before: until there is `enough`, or for so long.
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

    #[test]
    fn readers_that_wait_share_what_comes() {
        let queue = Queue::new();
        std::thread::scope(|scope| {
            let readers = [(); 2].map(|()| scope.spawn(|| queue.take(16).map_or(0, |taken| taken.len())));
            let since = Instant::now();
            while queue.lock().waiting < 2 {
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
        while queue.lock().waiting == 0 {
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
            let grown = scope.spawn(|| queue.take_grown(16, large, long));
            until_somebody_waits(&queue);
            (1..large).for_each(|item| assert!(queue.push([item])));
            assert!(!grown.is_finished() && queue.lock().woken == 0, "too few wake nobody");
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
            let since = Instant::now();
            let waits_for_one = |state: &State<i32>| state.waiting == 1 && state.wakes_at == 1;
            while !waits_for_one(&queue.lock()) {
                assert!(since.elapsed() < Duration::from_secs(10), "nobody comes to wait for one item");
                std::thread::yield_now();
            }
            assert!(queue.push([7]));
            assert_eq!(reader.join().unwrap(), Some(vec![7]));
        });
    }

    #[test]
    fn a_reader_that_is_on_its_way_is_not_woken_again() {
        let queue = Queue::new();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| queue.take(16));
            until_somebody_waits(&queue);
            let mut state = queue.lock();
            state.items.push_back(1);
            assert!(state.wakes() && !state.wakes());
            drop(state);
            queue.filled.notify_one();
            assert_eq!(reader.join().unwrap(), Some(vec![1]));
        });
        let state = queue.lock();
        assert_eq!((state.waiting, state.woken), (0, 0));
    }
}
