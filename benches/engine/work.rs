//! The work: which keys, which states, in which order. The same for all stores, from one seed.

use anser_model::ring::place_of;
use anser_model::state::{Seen, Write};
use anser_model::{Actor, Body, Hlc, Key, KeyState, KeyspaceId, Life, NodeId, Rid};
use anser_storage::StoreKey;
use bytes::Bytes;

/// Partitions that keys are spread over.
pub const PARTITIONS: u16 = 256;
/// The seed of the ring that they are placed by.
const SEED: u64 = 1;
/// The exponent of the skewed choice, as YCSB has it.
const SKEW: f64 = 0.99;

/// SplitMix64: spreads a number over all of 64 bits.
pub fn spread(number: u64) -> u64 {
    let word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The key of a number, as a ring would place it.
pub fn key(number: u64) -> StoreKey {
    let key = Key::new(format!("user:{number:011}").into_bytes()).unwrap();
    let (partition, within) = place_of(SEED, PARTITIONS, KeyspaceId(1), &key);
    StoreKey::new(partition, KeyspaceId(1), within, &key)
}

/// A whole state with a value of so many bytes, of which about a half can be compressed away.
pub fn state(number: u64, version: u64, length: usize) -> Bytes {
    let write = Write {
        rid: Rid { writer: 1, seq: number },
        issued: Hlc(1),
        expires: None,
        body: Body::Value(value(number, version, length)),
        seen: Seen::Present,
    };
    let mut state = KeyState::default();
    state.mint(Actor { node: NodeId([7; 16]), life: Life(1) }, version + 1, &write).unwrap();
    state.encode()
}

fn value(number: u64, version: u64, length: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut word = spread(number ^ (version << 40));
    while bytes.len() < length / 2 {
        word = spread(word);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    while bytes.len() < length {
        bytes.extend_from_slice(b"a leaderless store ");
    }
    bytes.truncate(length);
    bytes.into()
}

/// How keys are chosen.
pub enum Choice {
    /// All alike.
    Uniform,
    /// Few very often. (Gray et al., "Quickly generating billion-record synthetic databases", 1994.)
    Zipfian { zeta: f64, eta: f64 },
}

impl Choice {
    /// The skewed one over so many keys.
    pub fn zipfian(keys: u64) -> Choice {
        let zeta_of = |count: u64| (1..=count).map(|rank| (rank as f64).powf(-SKEW)).sum::<f64>();
        let zeta = zeta_of(keys);
        let eta = (1.0 - (2.0 / keys as f64).powf(1.0 - SKEW)) / (1.0 - zeta_of(2) / zeta);
        Choice::Zipfian { zeta, eta }
    }

    /// The key that the `draw`-th choice falls on.
    pub fn draw(&self, draw: u64, keys: u64) -> u64 {
        let random = spread(draw ^ 0x5eed);
        match self {
            Choice::Uniform => random % keys,
            Choice::Zipfian { zeta, eta } => {
                let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
                let rank = if unit * zeta < 1.0 {
                    0
                } else if unit * zeta < 1.0 + 0.5_f64.powf(SKEW) {
                    1
                } else {
                    (keys as f64 * (eta * unit - eta + 1.0).powf(1.0 / (1.0 - SKEW))) as u64
                };
                // The favourites lie apart from each other.
                spread(rank) % keys
            }
        }
    }
}
