//! When which operation wants to be woken: one entry each, so that the next is found without a scan.
//!
//! An entry may be earlier than its operation needs by now: it is woken in vain, and enters its next time.

use alloc::collections::BTreeSet;
use anser_proto::Tick;

/// An operation of this coordinator.
pub(crate) type OpNumber = u64;

/// The wake-ups of all operations.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Tick, OpNumber)>);

impl Timers {
    /// Adds an operation's wake-up.
    pub fn add(&mut self, at: Tick, op: OpNumber) {
        self.0.insert((at, op));
    }

    /// Takes it out.
    pub fn remove(&mut self, at: Tick, op: OpNumber) {
        self.0.remove(&(at, op));
    }

    /// The first of all.
    pub fn next(&self) -> Option<Tick> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes out the first one that is due.
    pub fn pop_due(&mut self, now: Tick) -> Option<OpNumber> {
        let (at, _) = self.0.first()?;
        if *at > now {
            return None;
        }
        self.0.pop_first().map(|(_, op)| op)
    }

    /// How many.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The earlier of two times that may be none.
pub(crate) fn earlier(a: Option<Tick>, b: Option<Tick>) -> Option<Tick> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (at, None) | (None, at) => at,
    }
}

/// Whether a time is set and has come; if so, it is unset.
pub(crate) fn take_due(at: &mut Option<Tick>, now: Tick) -> bool {
    at.take_if(|at| *at <= now).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_ones_come_out_in_order_and_once() {
        let mut timers = Timers::default();
        timers.add(Tick(20), 1);
        timers.add(Tick(10), 2);
        timers.add(Tick(30), 3);
        timers.remove(Tick(20), 1);
        assert_eq!(timers.next(), Some(Tick(10)));
        assert_eq!(timers.pop_due(Tick(9)), None);
        assert_eq!(timers.pop_due(Tick(30)), Some(2));
        assert_eq!(timers.pop_due(Tick(30)), Some(3));
        assert_eq!((timers.pop_due(Tick(99)), timers.len()), (None, 0));
    }

    #[test]
    fn a_time_is_due_once() {
        let mut at = Some(Tick(5));
        assert!(!take_due(&mut at, Tick(4)));
        assert!(take_due(&mut at, Tick(5)));
        assert!(!take_due(&mut at, Tick(6)));
        assert_eq!(earlier(Some(Tick(2)), Some(Tick(1))), Some(Tick(1)));
        assert_eq!(earlier(None, Some(Tick(1))), Some(Tick(1)));
    }
}
