//! A queue for short work that somebody waits for. Its readers sit each at a processor: what is put in goes to the reader at
//! the processor that it was put in from.
//!
//! Whoever put it in sleeps until there is an answer, and so leaves its processor to the reader beside it. A reader at another
//! processor comes later: that one sleeps and must wake first, or computes something else, and the scheduler lets it go on for
//! milliseconds.

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Readers: one may be held up.
const READERS_MIN: usize = 2;
/// And with more processors than so, several share one.
const READERS_MAX: usize = 16;

/// From any thread to the readers.
pub(super) struct NearQueue<T> {
    state: Mutex<State<T>>,
    /// One for each reader, to wake it.
    bells: Vec<Condvar>,
    /// The processors that this process may use; none if that is not known.
    processors: Vec<usize>,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
    readers: Vec<Reader>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// At what it took.
    Works,
    /// For items.
    Waits,
    /// It has been woken, and is not here yet.
    Comes,
}

impl<T> State<T> {
    /// The reader to wake, if one waits: this one, or the next.
    fn wakes(&mut self, nearest: usize) -> Option<usize> {
        let mut places = (nearest..self.readers.len()).chain(0..nearest);
        let woken = places.find(|place| self.readers.get(*place) == Some(&Reader::Waits))?;
        self.set(woken, Reader::Comes);
        Some(woken)
    }

    fn set(&mut self, place: usize, now: Reader) {
        if let Some(reader) = self.readers.get_mut(place) {
            *reader = now;
        }
    }
}

fn processors_allowed() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor)).collect()
}

impl<T> NearQueue<T> {
    /// An empty one.
    pub fn new() -> NearQueue<T> {
        let processors = processors_allowed();
        let readers = processors.len().clamp(READERS_MIN, READERS_MAX);
        let state = State { items: VecDeque::new(), closed: false, readers: vec![Reader::Works; readers] };
        let bells = (0..readers).map(|_| Condvar::new()).collect();
        NearQueue { state: Mutex::new(state), bells, processors }
    }

    /// How many readers it is for.
    pub fn readers(&self) -> usize {
        self.bells.len()
    }

    /// Has this thread, which is a reader, run at its processor only.
    pub fn sit_down(&self, reader: usize) {
        let mut seat = CpuSet::new();
        self.processors
            .iter()
            .skip(reader)
            .step_by(self.readers())
            .for_each(|processor| seat.set(*processor));
        // A reader more than there are processors runs anywhere, and so does one that the system doesn't let choose. A thread that
        // sled starts from here is kept to it too: it rarely starts one more.
        if seat.count() > 0 {
            let _ = sched_setaffinity(None, &seat);
        }
    }

    /// The reader at the processor that this thread runs at.
    fn nearest(&self) -> usize {
        let here = sched_getcpu();
        self.processors.iter().position(|processor| *processor == here).unwrap_or(0) % self.readers()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a reader, if one waits: this one, or the next.
    fn wake(&self, mut state: MutexGuard<'_, State<T>>, nearest: usize) {
        let woken = state.wakes(nearest);
        drop(state);
        if let Some(bell) = woken.and_then(|reader| self.bells.get(reader)) {
            bell.notify_one();
        }
    }

    /// Puts items in, in order. After the close they are gone, and it says `false`.
    pub fn push(&self, items: impl IntoIterator<Item = T>) -> bool {
        let nearest = self.nearest();
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.items.extend(items);
        self.wake(state, nearest);
        true
    }

    /// As this reader, waits for items and takes the first ones, at most `count`, and no more than its share while other readers
    /// wait or come. None after the close, once it is empty.
    pub fn take(&self, reader: usize, count: usize) -> Option<Vec<T>> {
        let bell = self.bells.get(reader)?;
        let mut state = self.lock();
        while state.items.is_empty() && !state.closed {
            state.set(reader, Reader::Waits);
            state = bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.set(reader, Reader::Works);
        let others = state.readers.iter().filter(|reader| **reader != Reader::Works).count();
        let count = count.min(state.items.len().div_ceil(1 + others));
        let taken: Vec<T> = state.items.drain(..count).collect();
        if !state.items.is_empty() {
            self.wake(state, reader);
        }
        (!taken.is_empty()).then_some(taken)
    }

    /// Takes nothing more in; what is in it is still taken out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.bells.iter().for_each(Condvar::notify_all);
    }
}

impl<T> fmt::Debug for NearQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NearQueue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// With so many readers, each of which takes once; what each has got.
    fn taken_by_each(queue: &NearQueue<u32>, put_in: impl FnOnce()) -> Vec<Option<Vec<u32>>> {
        std::thread::scope(|scope| {
            let take = |reader| scope.spawn(move || queue.take(reader, 16));
            let readers: Vec<_> = (0..queue.readers()).map(take).collect();
            let since = Instant::now();
            while queue.lock().readers.iter().any(|reader| *reader != Reader::Waits) {
                assert!(since.elapsed() < Duration::from_secs(10), "the readers don't come to wait");
                std::thread::yield_now();
            }
            put_in();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        })
    }

    #[test]
    fn readers_that_wait_share_what_comes() {
        let queue = NearQueue::new();
        let readers = u32::try_from(queue.readers()).unwrap();
        let shares = taken_by_each(&queue, || assert!(queue.push(0..readers * 5)));
        assert!(
            shares.iter().all(|share| share.as_ref().is_some_and(|share| share.len() == 5)),
            "{shares:?}"
        );
        assert!(queue.push(0..10));
        assert_eq!(queue.take(0, 16).map(|taken| taken.len()), Some(10), "nobody else waits");
    }

    #[test]
    fn readers_that_are_on_their_way_share_too() {
        let queue = NearQueue::new();
        let shares = taken_by_each(&queue, || {
            let mut state = queue.lock();
            state.items.extend(0..10);
            // As after two that were put in one after the other.
            let woken = [state.wakes(0), state.wakes(0)];
            drop(state);
            woken.into_iter().flatten().for_each(|reader| queue.bells[reader].notify_one());
            let since = Instant::now();
            while !queue.lock().items.is_empty() {
                assert!(since.elapsed() < Duration::from_secs(10), "nobody takes them");
                std::thread::yield_now();
            }
            queue.close();
        });
        assert!(shares[..2].iter().all(Option::is_some), "{shares:?}");
    }

    #[test]
    fn an_item_goes_to_the_reader_at_the_processor_of_whoever_put_it_in() {
        for place in 0..NearQueue::<u32>::new().readers() {
            let queue = NearQueue::new();
            let got = taken_by_each(&queue, || {
                // As the reader itself, so that it is at that processor.
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        queue.sit_down(place);
                        assert!(queue.push([7]));
                    });
                });
                let since = Instant::now();
                while !queue.lock().items.is_empty() {
                    assert!(since.elapsed() < Duration::from_secs(10), "nobody takes it");
                    std::thread::yield_now();
                }
                queue.close();
            });
            let expected = place.min(queue.processors.len().saturating_sub(1));
            for (reader, got) in got.into_iter().enumerate() {
                assert_eq!(got, (reader == expected).then(|| vec![7]), "reader {reader}, put in at {place}");
            }
        }
    }

    #[test]
    fn who_waits_takes_what_comes_while_the_nearest_does_not() {
        let queue = NearQueue::new();
        let far = queue.readers() - 1;
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| queue.take(far, 16));
            let since = Instant::now();
            while !queue.lock().readers.contains(&Reader::Waits) {
                assert!(since.elapsed() < Duration::from_secs(10), "the reader doesn't come to wait");
                std::thread::yield_now();
            }
            queue.sit_down(0);
            assert!(queue.push([7]));
            assert_eq!(reader.join().unwrap(), Some(vec![7]));
        });
        assert_eq!(queue.lock().readers, vec![Reader::Works; queue.readers()]);
        queue.close();
        assert!(!queue.push([8]));
        assert_eq!(queue.take(0, 16), None);
    }
}
