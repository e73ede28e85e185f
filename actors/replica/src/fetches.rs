//! Keys whose state is being fetched from a table: the operations on each wait behind the fetch, in their order.
//!
//! While a key is in here nothing else touches it, so that what the fetch gives is still its state when it comes.

use crate::operation::Operation;
use crate::pending::Budget;
use alloc::collections::{BTreeMap, VecDeque};
use anser_machine::{Outbox, TableId, Ticket};
use anser_storage::{Search, StoreKey};

/// All keys that wait.
pub(crate) struct Fetches {
    tickets: BTreeMap<Ticket, Search>,
    queues: BTreeMap<StoreKey, VecDeque<Operation>>,
    /// The host rebuilds the machine with another `life`: a predecessor's tickets are none of this one's.
    life: u32,
    next: u32,
}

impl Fetches {
    /// None, in the machine's so many-th life.
    pub fn new(life: u32) -> Fetches {
        Fetches { tickets: BTreeMap::new(), queues: BTreeMap::new(), life, next: 0 }
    }

    /// Whether operations on a key wait.
    pub fn is_waiting(&self, key: &StoreKey) -> bool {
        !self.queues.is_empty() && self.queues.contains_key(key)
    }

    /// Puts an operation behind those that wait for the key. The budget has been asked.
    pub fn queue(&mut self, key: StoreKey, operation: Operation, budget: &mut Budget) {
        budget.take(operation.payload_bytes());
        self.queues.entry(key).or_default().push_back(operation);
    }

    /// Asks for the block that a look-up needs to go on.
    pub fn fetch(&mut self, search: Search, out: &mut Outbox) {
        let ticket = self.next_ticket();
        out.disk(search.request(ticket));
        self.tickets.insert(ticket, search);
    }

    /// A ticket of this life.
    pub fn next_ticket(&mut self) -> Ticket {
        let ticket = Ticket(u64::from(self.life) << 32 | u64::from(self.next));
        self.next = self.next.wrapping_add(1);
        ticket
    }

    /// The table that a fetch is of.
    pub fn table_of(&self, ticket: Ticket) -> Option<TableId> {
        self.tickets.get(&ticket).map(Search::table)
    }

    /// The look-up that an answer is for; none if it was a predecessor's.
    pub fn answered(&mut self, ticket: Ticket) -> Option<Search> {
        self.tickets.remove(&ticket)
    }

    /// The look-up is done: the operations that waited for it, the first one first.
    pub fn finish(&mut self, key: &StoreKey, budget: &mut Budget) -> VecDeque<Operation> {
        let operations = self.queues.remove(key).unwrap_or_default();
        for operation in &operations {
            budget.give_back(operation.payload_bytes());
        }
        operations
    }

    /// Nothing is fetched any more: all operations that waited.
    pub fn abandon(&mut self, budget: &mut Budget) -> impl Iterator<Item = Operation> + use<> {
        self.tickets.clear();
        let queues = core::mem::take(&mut self.queues);
        for operation in queues.values().flatten() {
            budget.give_back(operation.payload_bytes());
        }
        queues.into_values().flatten()
    }
}
