//! Memtables that are in tables now.
//!
//! Their shards let go of them when they hear of it. Whoever is the last to let go takes tens of thousands of entries apart, for
//! milliseconds, and every read of the shard would wait for that: so the thread that wrote the tables holds them a little longer.

use super::background::Turn;
use anser_machine::Frozen;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it looks whether a shard has let go.
const LOOKS_EVERY: Duration = Duration::from_millis(10);
/// For so long it waits for that: a shard that has stopped never does.
const HELD_MAX: Duration = Duration::from_secs(1);
/// For so long another memtable waits for that, so that there is not one more of them in memory.
const WAITS_MAX: Duration = Duration::from_millis(20);
/// How often it looks meanwhile.
const WAITS_EVERY: Duration = Duration::from_micros(500);

/// See the module.
#[derive(Default)]
pub(super) struct Spent(Vec<(Instant, Arc<Frozen>)>);

impl Spent {
    /// Takes one that is in tables.
    pub fn hold(&mut self, frozen: Arc<Frozen>) {
        self.0.push((Instant::now(), frozen));
    }

    /// When to let go next, if there is anything to let go of.
    pub fn looks_within(&self) -> Option<Duration> {
        (!self.0.is_empty()).then_some(LOOKS_EVERY)
    }

    /// Gives the shards a moment to let go, and takes apart what they let go of.
    pub fn wait(&mut self) {
        let begun = Instant::now();
        self.let_go();
        while !self.0.is_empty() && begun.elapsed() < WAITS_MAX {
            std::thread::park_timeout(WAITS_EVERY);
            self.let_go();
        }
    }

    /// Takes apart what nobody else holds, and lets go of what has been held for long.
    pub fn let_go(&mut self) {
        let due = |(since, frozen): &mut (Instant, Arc<Frozen>)| {
            Arc::strong_count(frozen) == 1 || since.elapsed() >= HELD_MAX
        };
        for (_, frozen) in self.0.extract_if(.., due) {
            let Some(Frozen { entries, .. }) = Arc::into_inner(frozen) else { continue };
            let turn = Turn::begin();
            entries.into_iter().for_each(|entry| {
                drop(entry);
                turn.give_way();
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_hold_is_held_and_not_for_ever() {
        let mut spent = Spent::default();
        assert_eq!(spent.looks_within(), None);
        let frozen = Arc::new(Frozen::default());
        let others = Arc::downgrade(&frozen);
        spent.hold(frozen.clone());
        spent.let_go();
        assert_eq!((others.strong_count(), spent.looks_within()), (2, Some(LOOKS_EVERY)), "a shard reads it");
        drop(frozen);
        spent.let_go();
        assert_eq!((others.strong_count(), spent.looks_within()), (0, None));
        let kept = Arc::new(Frozen::default());
        spent.0.push((Instant::now().checked_sub(HELD_MAX).unwrap(), kept.clone()));
        spent.let_go();
        assert_eq!(
            (Arc::strong_count(&kept), spent.looks_within()),
            (1, None),
            "whoever still holds it keeps it"
        );
    }
}
