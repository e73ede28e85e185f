//! Virtual time: what happens next is what is due first, and of two at once the one that was planned first.
//!
//! Half of all is planned for the next microsecond (mailboxes), and so in its order already: it waits in a queue beside the
//! heap.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Microseconds of virtual time in a millisecond.
pub(crate) const MS: u64 = 1000;
/// Microseconds of virtual time in a second.
pub(crate) const SECOND: u64 = 1_000_000;

/// What is planned for no later than so many microseconds from now may join the queue: what comes late would keep all
/// after it out.
const SOON_US: u64 = 1;

/// All that is planned.
#[derive(Debug)]
pub(crate) struct Schedule<J> {
    /// When, in which order, and where its job lies.
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// What was planned in the order in which it comes: when, and in which order of all.
    queue: VecDeque<(u64, u64, J)>,
    jobs: Vec<Option<J>>,
    free: Vec<u32>,
    planned: u64,
    now: u64,
}

impl<J> Schedule<J> {
    /// Nothing yet, at time 1: 0 is before everything.
    pub fn new() -> Schedule<J> {
        Schedule {
            heap: BinaryHeap::new(),
            queue: VecDeque::new(),
            jobs: Vec::new(),
            free: Vec::new(),
            planned: 0,
            now: 1,
        }
    }

    /// Microseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Plans a job so many microseconds from now.
    pub fn after(&mut self, us: u64, job: J) {
        self.at(self.now.saturating_add(us), job);
    }

    /// Plans a job; one for the past happens now.
    pub fn at(&mut self, at: u64, job: J) {
        let at = at.max(self.now);
        self.planned += 1;
        let soon = at <= self.now.saturating_add(SOON_US);
        if soon && self.queue.back().is_none_or(|(last, ..)| *last <= at) {
            return self.queue.push_back((at, self.planned, job));
        }
        let place = match self.free.pop() {
            Some(place) => {
                self.jobs[place as usize] = Some(job);
                place
            }
            None => {
                self.jobs.push(Some(job));
                u32::try_from(self.jobs.len() - 1).expect("that many jobs at once are a leak")
            }
        };
        self.heap.push(Reverse((at, self.planned, place)));
    }

    /// The next job that is due by `until`; the time moves on to it, or to `until` if there is none.
    pub fn next(&mut self, until: u64) -> Option<J> {
        let queued = self.queue.front().map(|(at, order, _)| (*at, *order));
        let heaped = self.heap.peek().map(|Reverse((at, order, _))| (*at, *order));
        let from_queue = queued.is_some_and(|queued| heaped.is_none_or(|heaped| queued < heaped));
        match if from_queue { queued } else { heaped } {
            Some((at, _)) if at <= until => {
                self.now = at;
                if from_queue {
                    return self.queue.pop_front().map(|(.., job)| job);
                }
                let Reverse((.., place)) = self.heap.pop()?;
                self.free.push(place);
                self.jobs[place as usize].take()
            }
            Some(_) | None => {
                self.now = self.now.max(until);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_come_by_time_and_then_in_the_order_of_planning() {
        let mut schedule = Schedule::new();
        for (us, job) in [(5, 'a'), (3, 'b'), (5, 'c'), (0, 'd'), (9, 'e')] {
            schedule.after(us, job);
        }
        let jobs: Vec<_> = std::iter::from_fn(|| schedule.next(8)).collect();
        assert_eq!(jobs, ['d', 'b', 'a', 'c']);
        assert_eq!((schedule.now(), schedule.next(20), schedule.now()), (8, Some('e'), 10));
    }

    #[test]
    fn what_comes_soon_takes_its_turn_with_the_rest() {
        let mut schedule = Schedule::new();
        for (us, job) in [(2, 'c'), (1, 'a'), (1, 'b'), (0, '0'), (9, 'z')] {
            schedule.after(us, job);
        }
        let mut seen = Vec::new();
        while let Some(job) = schedule.next(20) {
            if job == 'b' {
                // Due with `c`, which was planned before them.
                schedule.after(1, 'd');
                schedule.after(1, 'e');
            }
            seen.push((schedule.now(), job));
        }
        assert_eq!(seen, [(1, '0'), (2, 'a'), (2, 'b'), (3, 'c'), (3, 'd'), (3, 'e'), (10, 'z')]);
    }
}
