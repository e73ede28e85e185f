//! Virtual time: what happens next is what is due first, and of two at once the one that was planned first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Microseconds of virtual time in a millisecond.
pub(crate) const MS: u64 = 1000;
/// Microseconds of virtual time in a second.
pub(crate) const SECOND: u64 = 1_000_000;

/// All that is planned.
#[derive(Debug)]
pub(crate) struct Schedule<J> {
    /// When, in which order, and where its job lies.
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    jobs: Vec<Option<J>>,
    free: Vec<u32>,
    planned: u64,
    now: u64,
}

impl<J> Schedule<J> {
    /// Nothing yet, at time 1: 0 is before everything.
    pub fn new() -> Schedule<J> {
        Schedule { heap: BinaryHeap::new(), jobs: Vec::new(), free: Vec::new(), planned: 0, now: 1 }
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
        self.planned += 1;
        self.heap.push(Reverse((at.max(self.now), self.planned, place)));
    }

    /// The next job that is due by `until`; the time moves on to it, or to `until` if there is none.
    pub fn next(&mut self, until: u64) -> Option<J> {
        match self.heap.peek() {
            Some(Reverse((at, ..))) if *at <= until => {
                let Reverse((at, _, place)) = self.heap.pop()?;
                self.now = at;
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
}
