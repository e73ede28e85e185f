//! What a bench does next: which operation, on which key.
//!
//! Sources: Cooper et al., "Benchmarking Cloud Serving Systems with YCSB" (2010) for the mixes; Gray et al., "Quickly
//! Generating Billion-Record Synthetic Databases" (1994) for the Zipfian numbers.

use fastrand::Rng;
use std::sync::atomic::{AtomicU64, Ordering};

/// The skew of the Zipfian distribution, as YCSB has it.
const ZIPFIAN_THETA: f64 = 0.99;

/// A mix of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// Only puts
    Put,
    /// Only gets
    Get,
    /// YCSB A: half gets, half puts
    A,
    /// YCSB B: 95 % gets, 5 % puts
    B,
    /// YCSB C: only gets
    C,
    /// YCSB D: 95 % gets of the latest keys, 5 % new keys
    D,
    /// YCSB E: scans (not available yet)
    E,
    /// YCSB F: half gets, half reads followed by a write with their context
    F,
}

/// How often each key is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Distribution {
    /// Each alike
    Uniform,
    /// A few very often, most seldom
    Zipfian,
    /// The newest most often
    Latest,
}

/// One kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// Writes a key that is there.
    Put,
    /// Reads a key.
    Get,
    /// Writes a key that was not there.
    Insert,
    /// Reads a key, then writes it with the context.
    ReadModifyWrite,
}

impl Op {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Op::Put => "put",
            Op::Get => "get",
            Op::Insert => "insert",
            Op::ReadModifyWrite => "read_modify_write",
        }
    }
}

impl Workload {
    /// The distribution of a mix that is told none.
    pub fn distribution(self) -> Distribution {
        match self {
            Workload::Put | Workload::Get => Distribution::Uniform,
            Workload::A | Workload::B | Workload::C | Workload::E | Workload::F => Distribution::Zipfian,
            Workload::D => Distribution::Latest,
        }
    }

    /// The operation that a number from 0 to 99 stands for.
    pub fn op(self, percent: u8) -> Op {
        let (gets, other) = match self {
            Workload::Put => (0, Op::Put),
            Workload::Get | Workload::C | Workload::E => (100, Op::Get),
            Workload::A => (50, Op::Put),
            Workload::B => (95, Op::Put),
            Workload::D => (95, Op::Insert),
            Workload::F => (50, Op::ReadModifyWrite),
        };
        if percent < gets { Op::Get } else { other }
    }
}

/// Chooses keys, by their numbers from 0.
#[derive(Debug)]
pub struct Chooser {
    distribution: Distribution,
    keys: AtomicU64,
    zipfian: Zipfian,
}

impl Chooser {
    /// Over the keys below `keys`.
    pub fn new(distribution: Distribution, keys: u64) -> Chooser {
        Chooser { distribution, keys: AtomicU64::new(keys), zipfian: Zipfian::new(keys) }
    }

    /// The next operation's key.
    pub fn choose(&self, random: &mut Rng) -> u64 {
        let keys = self.keys.load(Ordering::Relaxed).max(1);
        match self.distribution {
            Distribution::Uniform => random.u64(..keys),
            Distribution::Zipfian => scramble(self.zipfian.rank(random.f64())) % keys,
            Distribution::Latest => keys - 1 - self.zipfian.rank(random.f64()).min(keys - 1),
        }
    }

    /// A key after the last one.
    pub fn insert(&self) -> u64 {
        self.keys.fetch_add(1, Ordering::Relaxed)
    }
}

/// Ranks from 0: the lower the likelier.
#[derive(Clone, Copy, Debug)]
struct Zipfian {
    ranks: f64,
    zeta: f64,
    eta: f64,
    alpha: f64,
}

impl Zipfian {
    fn new(ranks: u64) -> Zipfian {
        let zeta_of = |count: u64| (1..=count).map(|rank| (rank as f64).powf(-ZIPFIAN_THETA)).sum::<f64>();
        let zeta = zeta_of(ranks);
        let ranks = ranks.max(2) as f64;
        let eta = (1.0 - (2.0 / ranks).powf(1.0 - ZIPFIAN_THETA)) / (1.0 - zeta_of(2) / zeta);
        Zipfian { ranks, zeta, eta, alpha: 1.0 / (1.0 - ZIPFIAN_THETA) }
    }

    /// The rank that a number from 0 to 1 stands for.
    fn rank(&self, uniform: f64) -> u64 {
        let scaled = uniform * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(ZIPFIAN_THETA) {
            return 1;
        }
        let rank = self.ranks * (self.eta * uniform - self.eta + 1.0).powf(self.alpha);
        rank.min(self.ranks - 1.0) as u64
    }
}

/// Spreads ranks over the keys, so that the likely ones are not neighbours (FNV-1a of the rank's bytes).
fn scramble(rank: u64) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    rank.to_le_bytes().into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(workload: Workload, op: Op) -> usize {
        (0..100).filter(|percent| workload.op(*percent) == op).count()
    }

    #[test]
    fn mixes_are_those_of_ycsb() {
        assert_eq!(share(Workload::Put, Op::Put), 100);
        assert_eq!(share(Workload::Get, Op::Get), 100);
        assert_eq!((share(Workload::A, Op::Get), share(Workload::A, Op::Put)), (50, 50));
        assert_eq!((share(Workload::B, Op::Get), share(Workload::B, Op::Put)), (95, 5));
        assert_eq!(share(Workload::C, Op::Get), 100);
        assert_eq!((share(Workload::D, Op::Get), share(Workload::D, Op::Insert)), (95, 5));
        assert_eq!(share(Workload::F, Op::ReadModifyWrite), 50);
    }

    fn counts(distribution: Distribution, keys: u64, draws: u64) -> Vec<u64> {
        let chooser = Chooser::new(distribution, keys);
        let mut random = Rng::with_seed(7);
        let mut counts = vec![0; keys as usize];
        for _ in 0..draws {
            counts[chooser.choose(&mut random) as usize] += 1;
        }
        counts
    }

    #[test]
    fn uniform_choices_are_even() {
        let counts = counts(Distribution::Uniform, 100, 100_000);
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn zipfian_choices_are_skewed_and_latest_ones_are_new() {
        let mut zipfian = counts(Distribution::Zipfian, 1000, 100_000);
        zipfian.sort_unstable();
        assert!(zipfian[999] > 10_000, "{}", zipfian[999]);
        let latest = counts(Distribution::Latest, 1000, 100_000);
        assert!(latest[999] > 10_000 && latest[999] > 10 * latest[900], "{latest:?}");
    }

    #[test]
    fn few_keys_are_no_trouble() {
        for distribution in [Distribution::Uniform, Distribution::Zipfian, Distribution::Latest] {
            for keys in [1, 2, 3] {
                assert_eq!(counts(distribution, keys, 1000).iter().sum::<u64>(), 1000);
            }
        }
    }

    #[test]
    fn inserted_keys_are_chosen() {
        let chooser = Chooser::new(Distribution::Latest, 10);
        assert_eq!(chooser.insert(), 10);
        let mut random = Rng::with_seed(1);
        assert!((0..100).any(|_| chooser.choose(&mut random) == 10));
    }
}
