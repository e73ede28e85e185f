//! How long replicas take to answer reads, and how many reads may be hedged.
//!
//! Source of the estimate: Jacobson, "Congestion Avoidance and Control" (1988): a mean and a mean deviation, both moving.

use crate::config::HEDGE_BURST;
use alloc::collections::BTreeMap;
use anser_model::NodeId;

/// What is assumed of a replica that was never measured.
const UNMEASURED: Estimate = Estimate { mean_us: 500, deviation_us: 500 };
/// Weight of a new sample in the mean: one part of so many.
const MEAN_PARTS: i64 = 8;
/// Weight of a new sample in the deviation.
const DEVIATION_PARTS: i64 = 4;
/// Mean deviations above the mean that about one answer in twenty takes.
const P95_DEVIATIONS: i64 = 3;
/// Longest time that a sample counts as.
const SAMPLE_US_MAX: u64 = 10_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Estimate {
    mean_us: i64,
    deviation_us: i64,
}

/// How long each replica takes. Holds no more than the roster's nodes.
#[derive(Debug, Default)]
pub(crate) struct Latency(BTreeMap<NodeId, Estimate>);

impl Latency {
    /// Takes a sample: an answer's time, or how long one was waited for in vain.
    pub fn sample(&mut self, node: NodeId, us: u64) {
        let us = i64::try_from(us.min(SAMPLE_US_MAX)).unwrap_or(i64::MAX);
        let first = Estimate { mean_us: us, deviation_us: us / 2 };
        self.0
            .entry(node)
            .and_modify(|estimate| {
                let off = us - estimate.mean_us;
                estimate.mean_us += off / MEAN_PARTS;
                estimate.deviation_us += (off.abs() - estimate.deviation_us) / DEVIATION_PARTS;
            })
            .or_insert(first);
    }

    /// What a replica takes on average, in microseconds.
    pub fn mean_us(&self, node: &NodeId) -> u64 {
        u64::try_from(self.estimate(node).mean_us).unwrap_or(0)
    }

    /// What nearly all its answers take at most, in microseconds.
    pub fn p95_us(&self, node: &NodeId) -> u64 {
        let Estimate { mean_us, deviation_us } = self.estimate(node);
        u64::try_from(mean_us + P95_DEVIATIONS * deviation_us).unwrap_or(0)
    }

    /// Forgets all nodes but these.
    pub fn retain(&mut self, keep: impl Fn(&NodeId) -> bool) {
        self.0.retain(|node, _| keep(node));
    }

    fn estimate(&self, node: &NodeId) -> Estimate {
        self.0.get(node).copied().unwrap_or(UNMEASURED)
    }
}

/// What one hedge costs, in the budget's own units.
const HEDGE_COST: u32 = 1000;

/// How many reads may be hedged: a share of all, saved up to a bound, so that hedging never doubles an overload.
#[derive(Debug)]
pub(crate) struct HedgeBudget {
    per_mille: u32,
    saved: u32,
}

impl HedgeBudget {
    /// A full one.
    pub fn new(per_mille: u32) -> HedgeBudget {
        HedgeBudget { per_mille, saved: HEDGE_BURST * HEDGE_COST }
    }

    /// A read began.
    pub fn earn(&mut self) {
        self.saved = self.saved.saturating_add(self.per_mille).min(HEDGE_BURST * HEDGE_COST);
    }

    /// Takes one hedge, if there is one.
    pub fn spend(&mut self) -> bool {
        match self.saved.checked_sub(HEDGE_COST) {
            Some(left) => {
                self.saved = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_the_samples() {
        let (a, b) = (NodeId([1; 16]), NodeId([2; 16]));
        let mut latency = Latency::default();
        for _ in 0..100 {
            latency.sample(a, 1_000);
            latency.sample(b, 30_000);
        }
        assert!((900..1_100).contains(&latency.mean_us(&a)), "{}", latency.mean_us(&a));
        assert!(latency.p95_us(&a) < 1_500, "{}", latency.p95_us(&a));
        assert!(latency.mean_us(&b) > latency.mean_us(&a));
        assert!(latency.p95_us(&b) >= 30_000, "{}", latency.p95_us(&b));
        latency.retain(|node| *node == a);
        assert_eq!(latency.mean_us(&b), 500);
    }

    #[test]
    fn the_budget_is_a_share_with_a_bounded_burst() {
        let mut budget = HedgeBudget::new(20);
        let burst = (0..100).filter(|_| budget.spend()).count();
        assert_eq!(burst, 16);
        let hedged = (0..10_000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(hedged.count(), 200);
    }
}
