//! What clients want: gets, puts with and without context, siblings, deletes, at all levels, on a few keys.

use super::{Client, Given, What, Wish};
use crate::schedule::MS;
use anser_model::Level;

/// What follows in a value after its write's number.
pub(crate) const FILL: u8 = b'.';

impl Client {
    /// What it wants to do next; none if it is to stop.
    pub fn next_wish(&mut self, slots: usize, dcs: usize) -> Option<Wish> {
        if let Some(wish) = self.script.pop_front() {
            return Some(wish);
        }
        if self.stopping {
            return None;
        }
        let hot = self.hot.filter(|_| self.dice.below(10) < 8);
        let slot = hot.unwrap_or_else(|| self.dice.index(slots));
        let given = match self.dice.below(10) {
            0..5 => Given::Token,
            5..9 => Given::Blind,
            _ => Given::Sibling,
        };
        let what = match self.dice.below(100) {
            0..45 => What::Get,
            45..90 => What::Put(given),
            _ => What::Delete(given),
        };
        let timeout_us = self.dice.between(300, 3000) * MS;
        Some(Wish {
            slot,
            what,
            level: self.level(dcs),
            timeout_us,
            must: false,
            once: self.dice.below(5) < 2,
            corrected: false,
            again: false,
        })
    }

    fn level(&mut self, dcs: usize) -> Option<Level> {
        match self.dice.below(if dcs > 1 { 24 } else { 20 }) {
            0 => Some(Level::Count(1)),
            1 => Some(Level::Count(2)),
            2 => Some(Level::Count(3)),
            3 => Some(Level::All),
            4 => Some(Level::Quorum),
            20 => Some(Level::LocalOne),
            21 | 22 => Some(Level::LocalQuorum),
            23 => Some(Level::EachQuorum),
            _ => None,
        }
    }

    /// The bytes of a value: the write's number, and something more.
    pub fn value(&mut self, number: usize) -> Vec<u8> {
        let more =
            if self.dice.below(600) == 0 { self.dice.between(60_000, 150_000) } else { self.dice.below(120) };
        let mut value = vec![FILL; 8 + usize::try_from(more).unwrap_or(0)];
        value[..8].copy_from_slice(&(number as u64).to_le_bytes());
        value
    }

    /// How long it waits before it does something more.
    pub fn think_us(&mut self) -> u64 {
        self.dice.wait(self.think_ms * MS)
    }
}
