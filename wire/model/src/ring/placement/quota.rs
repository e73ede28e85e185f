//! How many partitions each member of a data centre shall hold: its weight's share, in whole partitions.
//!
//! Keeps: nobody holds a partition twice, and no zone holds more of a partition than an even spread over the zones asks
//! for; what these limits take from the heavy goes to the others. No floating point: the same everywhere.

use alloc::vec::Vec;

/// Shares are counted in 65,536ths of a partition.
const SHARE_BITS: u32 = 16;
/// Shares that differ by less than 2 to this many of these are as good as equal.
const SHARE_NOISE_BITS: u32 = 8;
/// The rate at which the weight 1 alone is worth all 32,768 partitions.
const RATE_MAX: u64 = 1 << (15 + 2 * SHARE_BITS);

/// Who gets a share.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Candidate {
    pub weight: u16,
    pub zone: usize,
    /// How many partitions it holds now.
    pub held: u32,
}

/// The most replicas of a partition in one zone: the least that lets `replicas` fit into zones of these sizes.
pub(super) fn zone_limit(replicas: u32, zone_sizes: &[u32]) -> u32 {
    let fits = |limit: &u32| zone_sizes.iter().map(|size| *size.min(limit)).sum::<u32>() >= replicas;
    (1..=replicas).find(fits).unwrap_or(replicas)
}

/// Whole shares that add up to `partitions * replicas`. `zone_sizes` are the members in each zone.
pub(super) fn quotas(
    partitions: u32,
    replicas: u32,
    candidates: &[Candidate],
    zone_sizes: &[u32],
) -> Vec<u32> {
    let limit = zone_limit(replicas, zone_sizes);
    let zone_caps: Vec<u64> =
        zone_sizes.iter().map(|size| u64::from(partitions * *size.min(&limit))).collect();
    let shares = fair_shares(u64::from(partitions), u64::from(replicas), candidates, &zone_caps);
    let mut quotas: Vec<u32> =
        shares.iter().map(|share| u32::try_from(share >> SHARE_BITS).unwrap_or(partitions)).collect();
    let mut zone_left = zone_caps;
    for (candidate, quota) in candidates.iter().zip(&quotas) {
        if let Some(left) = zone_left.get_mut(candidate.zone) {
            *left = left.saturating_sub(u64::from(*quota));
        }
    }
    let given: u32 = quotas.iter().sum();
    let mut missing = (partitions * replicas).saturating_sub(given);
    // The greatest remainders first; among equals, who holds more than the quota already.
    let mut turn: Vec<usize> = (0..candidates.len()).collect();
    turn.sort_by_key(|at| {
        let remainder = shares.get(*at).map_or(0, |share| (share & 0xffff) >> SHARE_NOISE_BITS);
        let holds_more = candidates.get(*at).zip(quotas.get(*at)).is_some_and(|(c, quota)| c.held > *quota);
        (core::cmp::Reverse((remainder, holds_more)), *at)
    });
    let mut progress = true;
    while missing > 0 && progress {
        progress = false;
        for at in &turn {
            let Some((candidate, quota)) = candidates.get(*at).zip(quotas.get_mut(*at)) else { continue };
            let Some(left) = zone_left.get_mut(candidate.zone) else { continue };
            if missing > 0 && *left > 0 && *quota < partitions {
                (*quota, *left, missing, progress) = (*quota + 1, *left - 1, missing - 1, true);
            }
        }
    }
    quotas
}

/// Each candidate's share in 65,536ths: in proportion to its weight where the limits allow it.
fn fair_shares(partitions: u64, replicas: u64, candidates: &[Candidate], zone_caps: &[u64]) -> Vec<u64> {
    let share = |weight: u16, rate: u64| {
        (rate.saturating_mul(u64::from(weight)) >> SHARE_BITS).min(partitions << SHARE_BITS)
    };
    let mut zones: Vec<Vec<u16>> = alloc::vec![Vec::new(); zone_caps.len()];
    for candidate in candidates {
        if let Some(zone) = zones.get_mut(candidate.zone) {
            zone.push(candidate.weight);
        }
    }
    let in_zone = |zone: &[u16], rate: u64| zone.iter().map(|weight| share(*weight, rate)).sum::<u64>();
    let in_all = |rate: u64| -> u64 {
        zones.iter().zip(zone_caps).map(|(zone, cap)| in_zone(zone, rate).min(cap << SHARE_BITS)).sum()
    };
    let rate = greatest(|rate| in_all(rate) <= (partitions * replicas) << SHARE_BITS);
    let zone_rate =
        |(zone, cap): (&Vec<u16>, &u64)| greatest(|rate| in_zone(zone, rate) <= cap << SHARE_BITS).min(rate);
    let rates: Vec<u64> = zones.iter().zip(zone_caps).map(zone_rate).collect();
    candidates.iter().map(|c| share(c.weight, rates.get(c.zone).copied().unwrap_or(rate))).collect()
}

/// The greatest rate for which something holds that holds for 0 and, once it doesn't, not again.
fn greatest(holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, RATE_MAX);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(partitions: u32, replicas: u32, nodes: &[(u16, usize)]) -> Vec<u32> {
        let zones = nodes.iter().map(|(_, zone)| zone + 1).max().unwrap_or(0);
        let mut sizes = vec![0; zones];
        nodes.iter().for_each(|(_, zone)| sizes[*zone] += 1);
        let candidates: Vec<Candidate> =
            nodes.iter().map(|(weight, zone)| Candidate { weight: *weight, zone: *zone, held: 0 }).collect();
        quotas(partitions, replicas, &candidates, &sizes)
    }

    #[test]
    fn shares_follow_weights_within_the_limits() {
        assert_eq!(of(256, 1, &[(100, 0)]), [256]);
        assert_eq!(of(256, 3, &[(100, 0), (100, 0), (100, 0)]), [256, 256, 256]);
        assert_eq!(of(256, 1, &[(100, 0), (300, 0)]), [64, 192]);
        assert_eq!(of(8, 1, &[(1, 0), (1, 0), (1, 0)]), [3, 3, 2]);
        // 1000 of 1200 would be more than a node can hold: the rest goes to the others.
        assert_eq!(of(256, 2, &[(1000, 0), (100, 0), (100, 0)]), [256, 128, 128]);
        // Three zones, three replicas: each zone holds each partition once, whatever its weight.
        assert_eq!(of(64, 3, &[(100, 0), (100, 0), (100, 1), (100, 2)]), [32, 32, 64, 64]);
        // Two zones, three replicas: at most two of each partition in a zone.
        assert_eq!(of(64, 3, &[(100, 0), (100, 0), (100, 0), (100, 0), (100, 1)]), [32, 32, 32, 32, 64]);
    }

    #[test]
    fn what_is_left_over_stays_with_who_holds_more_already() {
        let candidate = |held| Candidate { weight: 100, zone: 0, held };
        for most in 0..3 {
            let candidates = [0, 1, 2].map(|at| candidate(if at == most { 3 } else { 2 }));
            let shares = quotas(7, 1, &candidates, &[3]);
            assert_eq!(shares, [0, 1, 2].map(|at| if at == most { 3 } else { 2 }));
        }
    }

    #[test]
    fn zones_are_filled_evenly() {
        let limits: &[(u32, &[u32], u32)] = &[
            (3, &[5], 3),
            (3, &[1, 1, 1], 1),
            (3, &[9, 9], 2),
            (5, &[2, 2, 2], 2),
            (5, &[1, 1, 9], 3),
            (2, &[4, 4, 4], 1),
        ];
        for (replicas, sizes, limit) in limits {
            assert_eq!(zone_limit(*replicas, sizes), *limit, "{replicas} in {sizes:?}");
        }
    }
}
