//! When a machine that panicked is rebuilt, and when that is too often. Plain decisions; the actor carries them out.

use crate::config::RestartPolicy;
use anser_proto::Tick;
use std::collections::VecDeque;

/// Panics remembered at most; a policy can't allow more in its window.
const RECENT_MAX: usize = 64;

/// Why a machine was rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A step panicked.
    Panic,
    /// The factory panicked.
    Build,
    /// Carrying out the effects panicked.
    Effects,
}

impl Cause {
    /// Every cause, in order.
    pub(crate) const ALL: [Cause; 3] = [Cause::Panic, Cause::Build, Cause::Effects];

    /// The name, as metrics and logs have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Cause::Panic => "panic",
            Cause::Build => "build",
            Cause::Effects => "effects",
        }
    }
}

/// What follows a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Pause before the rebuild.
    pub(crate) pause_ms: u64,
    /// Until when the actor counts as down, if it panics too often.
    pub(crate) down_until: Option<Tick>,
}

/// The panics of late.
#[derive(Debug, Default)]
pub(crate) struct RestartBook {
    recent: VecDeque<Tick>,
}

impl RestartBook {
    /// Notes a panic and decides what follows.
    pub(crate) fn crashed(&mut self, policy: &RestartPolicy, now: Tick) -> Verdict {
        let window_us = policy.window_ms.saturating_mul(1000);
        self.recent.push_back(now);
        while self.recent.len() > RECENT_MAX
            || self.recent.front().is_some_and(|first| now.since_us(*first) > window_us)
        {
            self.recent.pop_front();
        }
        let crashes = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        let factor = 1u64.checked_shl(crashes.saturating_sub(1)).unwrap_or(u64::MAX);
        let limit = policy.restarts_max.min(RECENT_MAX as u32 - 1);
        Verdict {
            pause_ms: policy.backoff_min_ms.saturating_mul(factor).min(policy.backoff_max_ms),
            down_until: (crashes > limit).then(|| now.plus_us(window_us)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy =
        RestartPolicy { backoff_min_ms: 50, backoff_max_ms: 1000, restarts_max: 3, window_ms: 10_000 };

    #[test]
    fn pauses_double_up_to_the_longest_and_too_many_panics_count_as_down() {
        let mut book = RestartBook::default();
        let verdicts: Vec<(u64, bool)> = (0..7)
            .map(|nth| {
                let verdict = book.crashed(&POLICY, Tick::default().plus_ms(nth));
                (verdict.pause_ms, verdict.down_until.is_some())
            })
            .collect();
        let expected =
            [(50, false), (100, false), (200, false), (400, true), (800, true), (1000, true), (1000, true)];
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn panics_older_than_the_window_are_forgotten() {
        let mut book = RestartBook::default();
        for nth in 0..100 {
            let verdict = book.crashed(&POLICY, Tick::default().plus_ms(nth * 10_001));
            assert_eq!(verdict, Verdict { pause_ms: 50, down_until: None });
        }
    }

    #[test]
    fn memory_of_panics_is_bounded() {
        let mut book = RestartBook::default();
        for _ in 0..1000 {
            let verdict = book.crashed(&POLICY, Tick(5));
            assert!(verdict.pause_ms <= POLICY.backoff_max_ms);
        }
        assert_eq!(book.recent.len(), RECENT_MAX);
    }
}
