//! All chance of a run, from its seed. Each part of the world has dice of its own, so that leaving one fault out changes
//! as little as possible of the rest.

/// A seeded source of chance.
#[derive(Clone, Debug)]
pub struct Dice(fastrand::Rng);

impl Dice {
    /// The dice of one part of the world.
    pub fn new(seed: u64, part: &str) -> Dice {
        Dice(fastrand::Rng::with_seed(xxhash_rust::xxh3::xxh3_64_with_seed(part.as_bytes(), seed)))
    }

    /// Any number.
    pub fn u64(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// Any number.
    pub fn u128(&mut self) -> u128 {
        self.0.u128(..)
    }

    /// A number under `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.u64(..bound) }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// A place in a list of `len`.
    pub fn index(&mut self, len: usize) -> usize {
        self.0.usize(..len.max(1))
    }

    /// Whether something happens that does so in `per_million` of a million cases.
    pub fn chance(&mut self, per_million: u64) -> bool {
        per_million > 0 && self.0.u64(..1_000_000) < per_million
    }

    /// A wait of `mean` on average, exponentially distributed, at least 1.
    pub fn wait(&mut self, mean: u64) -> u64 {
        let drawn = -(1.0 - self.0.f64()).ln() * mean as f64;
        (drawn as u64).max(1)
    }

    /// Mixes a list's order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }
}
