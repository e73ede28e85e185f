//! What waits: answers for the sync that covers them, under one bound with the operations that wait for a block.
//!
//! Keeps the rule "durable before said": an answer leaves by [`Pending::release`] only, once the log is synced through
//! the position of what it says.

use crate::operation::Asker;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use anser_machine::Lsn;
use anser_proto::replicate::ReplicaReply;

/// An answer that waits for a sync.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// Whom to answer.
    pub asker: Asker,
    /// What to say.
    pub reply: ReplicaReply,
}

/// How much waits, and how much may.
#[derive(Debug)]
pub(crate) struct Budget {
    count: usize,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Budget {
    /// So many requests, of so many bytes.
    pub fn new(count_max: usize, bytes_max: usize) -> Budget {
        Budget { count: 0, bytes: 0, count_max, bytes_max }
    }

    /// Whether one more of so many bytes may wait. One alone always may, however large.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.count == 0 || (self.count < self.count_max && self.bytes.saturating_add(bytes) <= self.bytes_max)
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.count
    }

    /// One more waits.
    pub fn take(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// One less waits.
    pub fn give_back(&mut self, bytes: usize) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    #[cfg(test)]
    pub fn is_unused(&self) -> bool {
        self.count == 0 && self.bytes == 0
    }
}

/// Answers that wait for syncs, by log position.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Nearly all: those that came in the order of their positions.
    in_order: VecDeque<(Lsn, Waiter)>,
    /// Those that wait for an earlier position than the last one, told apart by a count.
    earlier: BTreeMap<(Lsn, u64), Waiter>,
    next: u64,
}

impl Pending {
    /// Holds an answer until the log is synced through `lsn`. The budget has been asked.
    pub fn hold(&mut self, lsn: Lsn, waiter: Waiter, budget: &mut Budget) {
        budget.take(waiter.reply.payload_bytes());
        if self.in_order.back().is_none_or(|(last, _)| *last <= lsn) {
            self.in_order.push_back((lsn, waiter));
        } else {
            self.earlier.insert((lsn, self.next), waiter);
            self.next += 1;
        }
    }

    /// Takes out the answers to some askers, whatever they wait for.
    pub fn withdraw(&mut self, whose: impl Fn(&Asker) -> bool, budget: &mut Budget) -> Vec<Waiter> {
        let mut withdrawn = Vec::new();
        for (lsn, waiter) in core::mem::take(&mut self.in_order) {
            if whose(&waiter.asker) {
                withdrawn.push(waiter);
            } else {
                self.in_order.push_back((lsn, waiter));
            }
        }
        for (place, waiter) in core::mem::take(&mut self.earlier) {
            if whose(&waiter.asker) {
                withdrawn.push(waiter);
            } else {
                self.earlier.insert(place, waiter);
            }
        }
        for waiter in &withdrawn {
            budget.give_back(waiter.reply.payload_bytes());
        }
        withdrawn
    }

    /// Takes out one answer that a sync through `lsn` covers.
    pub fn release(&mut self, through: Lsn, budget: &mut Budget) -> Option<Waiter> {
        let waiter = match self.in_order.front() {
            Some((lsn, _)) if *lsn <= through => self.in_order.pop_front().map(|(_, waiter)| waiter),
            Some(_) | None => match self.earlier.first_key_value() {
                Some(((lsn, _), _)) if *lsn <= through => self.earlier.pop_first().map(|(_, waiter)| waiter),
                Some(_) | None => None,
            },
        }?;
        budget.give_back(waiter.reply.payload_bytes());
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_model::{NodeId, PartitionId, Step};
    use anser_proto::{Address, OpId, Role, Tick};

    fn waiter(seq: u64) -> Waiter {
        let address = Address { node: NodeId([1; 16]), role: Role::Coordinator, slot: 0 };
        let op = OpId { life: 0, seq };
        let partition = PartitionId(u16::try_from(seq).unwrap());
        let asker = Asker { from: address, to: address, op, step: Step(1), deadline: Tick(9), partition };
        Waiter { asker, reply: ReplicaReply::Durable }
    }

    #[test]
    fn each_leaves_with_the_sync_that_covers_it() {
        let (mut pending, mut budget) = (Pending::default(), Budget::new(10, 10));
        for (seq, lsn) in [(0, 5), (1, 7), (2, 6), (3, 7), (4, 6)] {
            pending.hold(Lsn(lsn), waiter(seq), &mut budget);
        }
        let mut released = |through| {
            let mut seqs = alloc::vec::Vec::new();
            while let Some(waiter) = pending.release(Lsn(through), &mut budget) {
                seqs.push(waiter.asker.op.seq);
            }
            seqs.sort_unstable();
            seqs
        };
        assert_eq!(released(4), []);
        assert_eq!(released(6), [0, 2, 4]);
        assert_eq!(released(6), []);
        assert_eq!(released(9), [1, 3]);
        assert!(budget.is_unused());
    }

    #[test]
    fn some_are_withdrawn_and_the_others_keep_their_order() {
        let (mut pending, mut budget) = (Pending::default(), Budget::new(10, 10));
        for (seq, lsn) in [(0, 5), (1, 7), (2, 6), (3, 7), (4, 6)] {
            pending.hold(Lsn(lsn), waiter(seq), &mut budget);
        }
        let withdrawn = pending.withdraw(|asker| asker.partition.0 % 2 == 0, &mut budget);
        assert_eq!(withdrawn.iter().map(|waiter| waiter.asker.op.seq).collect::<Vec<_>>(), [0, 2, 4]);
        assert!(pending.release(Lsn(6), &mut budget).is_none());
        for seq in [1, 3] {
            assert_eq!(pending.release(Lsn(7), &mut budget).unwrap().asker.op.seq, seq);
        }
        assert!(budget.is_unused());
    }

    #[test]
    fn the_budget_bounds_count_and_bytes_but_one_alone_may_wait() {
        let mut budget = Budget::new(2, 10);
        assert!(budget.has_room(1000));
        budget.take(6);
        assert!(budget.has_room(4) && !budget.has_room(5));
        budget.take(1);
        assert!(!budget.has_room(0));
        budget.give_back(6);
        assert!(budget.has_room(9));
    }
}
