//! Walks through tables of one group, key by key: of each key the newest state.
//!
//! Deliberately absent: what is done with it.

use crate::leaves::Leaves;
use crate::store::recovery::{damaged, meta_of, read_block_of};
use crate::store::row::Rows;
use crate::store::{StoreError, TableEntry, Trees};
use crate::table::Table;
use crate::table::block::{Entries, StateIn};
use alloc::vec::Vec;
use anser_machine::TableId;
use bytes::Bytes;

/// Tables of one group.
#[derive(Debug)]
pub(crate) struct Newest {
    /// The newest the first.
    inputs: Vec<Input>,
}

/// A key.
#[derive(Debug)]
pub(crate) struct Popped {
    pub key: Vec<u8>,
    /// Its newest state.
    pub state: Bytes,
    /// How many tables hold one.
    pub holders: u64,
}

/// One of the tables.
#[derive(Debug)]
struct Input {
    table: Table,
    rows: Rows,
    /// The place of the next block.
    next: usize,
    /// The walk through the present block; none at the table's end.
    walk: Option<Entries>,
}

impl Newest {
    /// Opens tables, the newest the first; and what they change of hash trees together.
    pub fn open(trees: &impl Trees, entries: &[TableEntry]) -> Result<(Newest, Leaves), StoreError> {
        let mut inputs = Vec::with_capacity(entries.len());
        let mut sum = Leaves::default();
        for entry in entries {
            let mut input = Input::open(trees, entry)?;
            input.table.take_leaves().iter().for_each(|(tree, delta)| sum.add(tree, delta.clone()));
            inputs.push(input);
        }
        Ok((Newest { inputs }, sum))
    }

    /// The tables.
    pub fn tables(&self) -> impl Iterator<Item = TableId> + '_ {
        self.inputs.iter().map(|input| input.table.id())
    }

    /// The smallest key with its newest state; older ones are passed over.
    pub fn pop(&mut self, trees: &impl Trees) -> Result<Option<Popped>, StoreError> {
        let mut smallest: Option<(&[u8], StateIn<'_>)> = None;
        for (key, state) in self.inputs.iter().filter_map(Input::entry) {
            // Of equal keys the first one stays, which is the newest.
            if smallest.is_none_or(|(other, _)| key < other) {
                smallest = Some((key, state));
            }
        }
        let Some((key, state)) = smallest.map(|(key, state)| (key.to_vec(), state.share())) else {
            return Ok(None);
        };
        let mut holders = 0_u64;
        for input in &mut self.inputs {
            if input.entry().is_some_and(|(other, _)| other == key) {
                input.advance(trees)?;
                holders += 1;
            }
        }
        Ok(Some(Popped { key, state, holders }))
    }
}

impl Input {
    fn open(trees: &impl Trees, entry: &TableEntry) -> Result<Input, StoreError> {
        let meta = meta_of(trees, entry)?;
        let table = Table::open(TableId(entry.id), meta).map_err(|error| damaged(entry.id, &error))?;
        let rows = Rows::of(table.id());
        let mut input = Input { table, rows, next: 0, walk: None };
        input.next_block(trees)?;
        Ok(input)
    }

    fn entry(&self) -> Option<(&[u8], StateIn<'_>)> {
        self.walk.as_ref().and_then(Entries::entry)
    }

    fn next_block(&mut self, trees: &impl Trees) -> Result<(), StoreError> {
        self.walk = None;
        if let Some(block) = self.table.block_at(self.next) {
            self.next += 1;
            let (content, _) = read_block_of(trees, &mut self.rows, block)?;
            let walk = Entries::of(content).map_err(|error| self.damaged(&error))?;
            self.walk = Some(walk);
        }
        Ok(())
    }

    fn advance(&mut self, trees: &impl Trees) -> Result<(), StoreError> {
        let Some(walk) = &mut self.walk else { return Ok(()) };
        if let Err(error) = walk.advance() {
            return Err(self.damaged(&error));
        }
        if walk.entry().is_none() {
            return self.next_block(trees);
        }
        Ok(())
    }

    fn damaged(&self, error: &dyn core::fmt::Display) -> StoreError {
        damaged(self.table.id().0, error)
    }
}
