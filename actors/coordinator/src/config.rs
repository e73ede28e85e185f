//! What a coordinator is told at its start, and the bounds and pauses that hold for all of them.

use anser_model::NodeId;
use anser_model::key::VALUE_BYTES_MAX;
use anser_model::ring::DcName;

/// Longest life of an operation: later deadlines are cut to it.
pub(crate) const OPERATION_MS_MAX: u64 = 60_000;
/// Most time before the asker's deadline that an answer is sent, so that it still arrives.
pub(crate) const MARGIN_US_MAX: u64 = 5_000;
/// Most attempts of one operation to have a version minted.
pub(crate) const MINT_ATTEMPTS_MAX: usize = 12;
/// Least patience with a minter, and the part of an operation's time that is given to one.
pub(crate) const MINT_PATIENCE_MS_MIN: u64 = 50;
/// See [`MINT_PATIENCE_MS_MIN`].
pub(crate) const MINT_PATIENCE_PARTS: u64 = 3;
/// Most times that one replica is asked the same again within an operation.
pub(crate) const TRIES_MAX: u8 = 5;
/// Most times that a put reloads its state because a partition's round moved on.
pub(crate) const RELOADS_MAX: u8 = 4;
/// Most times that a get starts over.
pub(crate) const RESTARTS_MAX: u8 = 8;
/// First pause before asking again; it doubles with each try.
pub(crate) const PAUSE_US_MIN: u64 = 4_000;
/// Longest pause before asking again.
pub(crate) const PAUSE_US_MAX: u64 = 200_000;
/// Least time before a silent replica is hedged.
pub(crate) const HEDGE_US_MIN: u64 = 3_000;
/// After this part of its time a get hedges whatever the budget says.
pub(crate) const HEDGE_FREE_PARTS: u64 = 4;
/// Most hedges saved up.
pub(crate) const HEDGE_BURST: u32 = 16;

/// What a coordinator is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node it runs on.
    pub me: NodeId,
    /// The node's data centre: what local levels mean.
    pub dc: DcName,
    /// How often it was rebuilt: answers to a predecessor are dropped.
    pub life: u32,
    /// Largest value taken.
    pub value_bytes_max: usize,
    /// Most operations at a time; their bytes are the host's admission's business.
    pub inflight_max: usize,
    /// Hedged reads among a thousand.
    pub hedge_per_mille: u32,
    /// One get among so many asks a replica that is not among the fastest, to learn whether it still is not; 0 for none.
    pub explore_one_in: u32,
    /// How far a client's clock may be ahead, in milliseconds.
    pub max_drift_ms: u64,
    /// Of its randomness.
    pub seed: u64,
}

impl Config {
    /// The usual settings.
    pub fn new(me: NodeId, dc: DcName, life: u32, seed: u64) -> Config {
        Config {
            me,
            dc,
            life,
            value_bytes_max: VALUE_BYTES_MAX,
            inflight_max: 16 * 1024,
            hedge_per_mille: 20,
            explore_one_in: 64,
            max_drift_ms: 1_000,
            seed,
        }
    }
}

/// The pause before the next try.
pub(crate) fn pause_us(tries: u8) -> u64 {
    PAUSE_US_MIN.saturating_mul(1 << tries.min(16)).min(PAUSE_US_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let pauses: [u64; 7] = core::array::from_fn(|tries| pause_us(tries as u8));
        assert_eq!(pauses, [4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 200_000]);
        assert_eq!(pause_us(u8::MAX), PAUSE_US_MAX);
    }
}
