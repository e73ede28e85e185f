//! What copies lose, and what that does to promises that rested on them.

use super::{Fate, Folder, Stored, Truth};
use anser_machine::Lsn;
use anser_model::{KeyState, PartitionId};
use bytes::Bytes;

/// What is left of a stored key, and where the log has it.
pub(crate) type Left<'a> = &'a dyn Fn(&Bytes) -> Option<(Bytes, Lsn)>;

/// A partition of a node that lost what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// How many saves of its shard's cell must be done for the loss to be durable; 0 once they are.
    pub saves: u64,
}

impl Truth {
    /// A node's partition loses what it held, but for what `left` knows of a stored key; while its log is not read back, but
    /// for what that has (`left` is none).
    pub fn lose(
        &mut self,
        node: usize,
        partition: PartitionId,
        shard: u32,
        saves: u64,
        left: Option<Left<'_>>,
    ) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].partition() != partition || !self.slots[slot].nodes.contains(&node) {
                continue;
            }
            let store_key = self.slots[slot].store_key.clone();
            let left: Stored = match left {
                Some(left) => left(&store_key).map(|(state, lsn)| (lsn, self.slots[slot].decode(&state))),
                None => self.copies[node].in_log(slot),
            };
            let undoable = self.lost[node].get(&partition).is_some_and(|loss| loss.saves > 0);
            self.copies[node].lose(shard, slot, left, undoable);
            self.break_promises(node, slot);
        }
        self.lost[node].insert(partition, Loss { saves });
    }

    /// A node's shard will read its log back anew: what it had of these partitions may be in tables by now.
    pub fn read_log_anew(&mut self, node: usize, of_shard: impl Fn(PartitionId) -> bool) {
        for slot in 0..self.slots.len() {
            if of_shard(self.slots[slot].partition()) {
                self.copies[node].read_log_anew(slot);
            }
        }
    }

    /// A node's folder is gone.
    pub fn lose_folder(&mut self, node: usize) {
        self.copies[node].lose_all();
        for slot in 0..self.slots.len() {
            if self.slots[slot].nodes.contains(&node) {
                self.break_promises(node, slot);
            }
        }
        let held = self.held(node);
        self.lost[node].extend(held.into_iter().map(|partition| (partition, Loss { saves: 0 })));
    }

    /// A loss that was not durable when the process ended is none; but an earlier one may be, and the partition still `joining`.
    pub fn find_again(&mut self, node: usize, partition: PartitionId, joining: bool, flushed: Lsn) {
        if joining {
            self.lost[node].insert(partition, Loss { saves: 0 });
        } else {
            self.lost[node].remove(&partition);
        }
        for slot in 0..self.slots.len() {
            if self.slots[slot].partition() == partition && self.slots[slot].nodes.contains(&node) {
                self.copies[node].find_again(slot, flushed);
                self.renew_promises(node, slot);
            }
        }
    }

    /// A node's partition says that it is refilled. Gives the writes that it had acknowledged with a majority, and does not
    /// know.
    pub fn refilled(&mut self, node: usize, partition: PartitionId) -> Vec<usize> {
        self.lost[node].remove(&partition);
        let mut unknown = Vec::new();
        for slot in 0..self.slots.len() {
            if self.slots[slot].partition() != partition || !self.slots[slot].nodes.contains(&node) {
                continue;
            }
            self.renew_promises(node, slot);
            let replicas = self.slots[slot].nodes.len();
            unknown.extend(self.slots[slot].writes.iter().copied().filter(|write| {
                let written = &self.writes[*write];
                let majority = matches!(written.fate, Fate::Acked { needed, .. } if 2 * needed > replicas);
                let promised = majority && written.held_by.contains(&node);
                promised && !self.knows_of(self.copies[node].durable(slot), *write)
            }));
        }
        unknown
    }

    /// Whether a node's copy answers, and knows neither a write nor one that settled it.
    pub fn answers_without(&self, node: usize, write: usize) -> bool {
        let slot = self.writes[write].slot;
        let is_lost = self.lost[node].contains_key(&self.slots[slot].partition());
        let answers = !is_lost && self.folders[node] != Folder::Old;
        answers && !self.knows_of(self.copies[node].durable(slot), write)
    }

    /// Whether a state knows of a write, or of one that settled it.
    fn knows_of(&self, state: &KeyState, write: usize) -> bool {
        let mut stack = vec![write];
        let mut visited = Vec::new();
        while let Some(next) = stack.pop() {
            if self.knows(state, next) {
                return true;
            }
            if !visited.contains(&next) {
                visited.push(next);
                stack.extend(self.settlers(next));
            }
        }
        false
    }

    /// A node's copy of a key does not hold what was acknowledged any more. With fewer acknowledgements than a majority that
    /// may have been all; then no read need meet it.
    fn break_promises(&mut self, node: usize, slot: usize) {
        let replicas = self.slots[slot].nodes.len();
        for write in &self.slots[slot].writes {
            let written = &mut self.writes[*write];
            if let Fate::Acked { needed, .. } = &mut written.fate
                && written.kept_by.contains(&node)
            {
                written.kept_by.retain(|keeper| *keeper != node);
                if 2 * *needed <= replicas {
                    *needed = written.kept_by.len().min(*needed);
                }
            }
        }
    }

    /// A node's copy of a key holds what it knows of.
    fn renew_promises(&mut self, node: usize, slot: usize) {
        let known: Vec<usize> = self.slots[slot]
            .writes
            .iter()
            .copied()
            .filter(|write| self.writes[*write].held_by.contains(&node))
            .filter(|write| self.knows(self.copies[node].durable(slot), *write))
            .collect();
        for write in known {
            let kept_by = &mut self.writes[write].kept_by;
            if !kept_by.contains(&node) {
                kept_by.push(node);
            }
        }
    }
}
