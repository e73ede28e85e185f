//! Whether a history of one register is linearizable: a memoised search after Wing, Gong and Lowe, split by key.
//!
//! Sources: Wing, Gong, "Testing and verifying concurrent objects" (1993); Lowe, "Testing for linearizability" (2017).
//! Keeps: a search whose budget ends is `Unknown`, never a pass. An operation whose end nobody saw may take effect at any
//! time after its beginning, or never. Ready for keyspaces that promise it; the others promise less.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

/// What an operation did to a register. A value is told by its number; none is "nothing there".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It read this.
    Read(Option<u64>),
    /// It wrote this.
    Write(Option<u64>),
    /// It found the first and wrote the second.
    CompareAndSet(Option<u64>, Option<u64>),
}

/// One operation of a history.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// On which register.
    pub key: u64,
    /// What.
    pub action: Action,
    /// When it began.
    pub begun: u64,
    /// When its answer was seen; none if it never was.
    pub ended: Option<u64>,
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order that explains every answer.
    Linearizable,
    /// There is none, for this key.
    Broken(u64),
    /// The budget ended first, at this key.
    Unknown(u64),
}

/// Judges a history, within so many steps of the search for each key.
pub fn check(history: &[Event], budget: usize) -> Verdict {
    let mut keys: BTreeMap<u64, Vec<Event>> = BTreeMap::new();
    for event in history {
        // A read that nobody saw the answer of says nothing.
        let silent = event.ended.is_none() && matches!(event.action, Action::Read(_));
        if !silent {
            keys.entry(event.key).or_default().push(*event);
        }
    }
    let mut unknown = None;
    for (key, mut events) in keys {
        events.sort_by_key(|event| (event.begun, event.ended));
        match Search::new(&events, budget).run() {
            Some(true) => {}
            Some(false) => return Verdict::Broken(key),
            None => unknown = Some(key),
        }
    }
    unknown.map_or(Verdict::Linearizable, Verdict::Unknown)
}

/// What a register holds after an action, if that can happen to what it holds now.
fn apply(held: Option<u64>, action: Action) -> Option<Option<u64>> {
    match action {
        Action::Read(seen) => (seen == held).then_some(held),
        Action::Write(value) => Some(value),
        Action::CompareAndSet(expected, value) => (expected == held).then_some(value),
    }
}

/// The set of operations that took effect, as bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Taken(Vec<u64>);

impl Taken {
    fn has(&self, at: usize) -> bool {
        self.0[at / 64] & (1 << (at % 64)) != 0
    }

    fn set(&mut self, at: usize, taken: bool) {
        let bit = 1 << (at % 64);
        if taken { self.0[at / 64] |= bit } else { self.0[at / 64] &= !bit }
    }
}

struct Search<'a> {
    events: &'a [Event],
    taken: Taken,
    held: Option<u64>,
    /// How many with an answer have not taken effect.
    answered: usize,
    seen: HashSet<(Taken, Option<u64>)>,
    budget: usize,
}

impl<'a> Search<'a> {
    fn new(events: &'a [Event], budget: usize) -> Search<'a> {
        Search {
            taken: Taken(vec![0; events.len() / 64 + 1]),
            held: None,
            answered: events.iter().filter(|event| event.ended.is_some()).count(),
            seen: HashSet::new(),
            events,
            budget,
        }
    }

    /// Whether there is an order; none if the budget ends first.
    fn run(mut self) -> Option<bool> {
        // Each entry: the operation that took effect, and what was held before; then the next to try at that depth.
        let mut path: Vec<(usize, Option<u64>)> = Vec::new();
        let mut from = 0;
        loop {
            if self.answered == 0 {
                return Some(true);
            }
            match self.next(from) {
                Some((at, held)) => {
                    self.budget = self.budget.checked_sub(1)?;
                    let before = self.held;
                    self.take(at, true);
                    self.held = held;
                    if self.seen.insert((self.taken.clone(), held)) {
                        path.push((at, before));
                        from = 0;
                    } else {
                        self.take(at, false);
                        self.held = before;
                        from = at + 1;
                    }
                }
                None => {
                    let Some((at, before)) = path.pop() else { return Some(false) };
                    self.take(at, false);
                    self.held = before;
                    from = at + 1;
                }
            }
        }
    }

    fn take(&mut self, at: usize, taken: bool) {
        self.taken.set(at, taken);
        if self.events[at].ended.is_some() {
            self.answered = if taken { self.answered - 1 } else { self.answered + 1 };
        }
    }

    /// The next operation, from a place on, that may be the first of those left, and what is held after it.
    fn next(&self, from: usize) -> Option<(usize, Option<u64>)> {
        // Whatever ended before another began comes before it.
        let left = || self.events.iter().enumerate().filter(|(at, _)| !self.taken.has(*at));
        let first_end = left().filter_map(|(_, event)| event.ended).min().unwrap_or(u64::MAX);
        let mut candidates = left().take_while(|(_, event)| event.begun <= first_end);
        candidates.find_map(|(at, event)| {
            let held = apply(self.held, event.action).filter(|_| at >= from)?;
            Some((at, held))
        })
    }
}
