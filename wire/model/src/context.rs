//! What a copy or a client has seen of a key: a version vector over actors.
//!
//! Keeps: entries are sorted by actor, none is zero, none is ever truncated.

use crate::id::{Actor, Dot};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// `context[a] = n` says that all dots (a, 1..=n) of this key are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<(Actor, u64)>")]
pub struct Context(Vec<(Actor, u64)>);

/// Entries that are not sorted by actor, or have a zero counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a context's entries are sorted by actor and start at 1")]
pub struct BadContext;

impl TryFrom<Vec<(Actor, u64)>> for Context {
    type Error = BadContext;

    fn try_from(entries: Vec<(Actor, u64)>) -> Result<Context, BadContext> {
        let sorted = entries.iter().zip(entries.iter().skip(1)).all(|(a, b)| a.0 < b.0);
        if sorted && entries.iter().all(|(_, counter)| *counter > 0) {
            Ok(Context(entries))
        } else {
            Err(BadContext)
        }
    }
}

impl Context {
    /// The highest known counter of an actor; 0 if none.
    pub fn get(&self, actor: &Actor) -> u64 {
        match self.0.binary_search_by(|(a, _)| a.cmp(actor)) {
            Ok(at) => self.0.get(at).map_or(0, |(_, counter)| *counter),
            Err(_) => 0,
        }
    }

    /// Whether a dot is known.
    pub fn contains(&self, dot: &Dot) -> bool {
        self.get(&dot.actor) >= dot.counter
    }

    /// Adds all dots of an actor up to `dot.counter`.
    pub fn insert(&mut self, dot: &Dot) {
        match self.0.binary_search_by(|(a, _)| a.cmp(&dot.actor)) {
            Ok(at) => {
                if let Some((_, counter)) = self.0.get_mut(at) {
                    *counter = (*counter).max(dot.counter);
                }
            }
            Err(at) if dot.counter > 0 => self.0.insert(at, (dot.actor, dot.counter)),
            Err(_) => {}
        }
    }

    /// Takes a dot out, and with it all later ones of its actor.
    pub(crate) fn forget_from(&mut self, dot: &Dot) {
        self.0.retain_mut(|(actor, counter)| {
            if *actor == dot.actor {
                *counter = (*counter).min(dot.counter.saturating_sub(1));
            }
            *counter > 0
        });
    }

    /// Adds all that `other` knows.
    pub fn merge(&mut self, other: &Context) {
        for (actor, counter) in &other.0 {
            self.insert(&Dot { actor: *actor, counter: *counter });
        }
    }

    /// Whether everything `other` knows is known here.
    pub fn covers(&self, other: &Context) -> bool {
        other.0.iter().all(|(actor, counter)| self.get(actor) >= *counter)
    }

    /// The entries, sorted by actor.
    pub fn entries(&self) -> &[(Actor, u64)] {
        &self.0
    }

    /// How many actors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
