//! A Bloom filter: 10 bits and 7 probes a key, about one false answer in 120.
//!
//! Source: Kirsch and Mitzenmacher, "Less hashing, same performance" (2006): all probes from two halves of one hash.

use bytes::Bytes;

/// Bits for each key.
const BITS_PER_KEY: usize = 10;
/// Fewest bytes of a filter.
const BYTES_MIN: usize = 8;
/// Bits that each key sets.
const PROBES: u64 = 7;

/// Tells for most keys that they are not in a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bloom(Bytes);

/// The hash that filters are made of. Persisted, so it never changes.
pub fn hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

impl Bloom {
    /// The filter over keys with these hashes.
    pub fn over(hashes: &[u64]) -> Bloom {
        let mut bits = alloc::vec![0_u8; (hashes.len() * BITS_PER_KEY).div_ceil(8).max(BYTES_MIN)];
        let count = bit_count(&bits);
        for (byte, mask) in hashes.iter().flat_map(|hash| probes(*hash, count)) {
            if let Some(byte) = bits.get_mut(byte) {
                *byte |= mask;
            }
        }
        Bloom(bits.into())
    }

    /// The filter with these bits; none if there are none.
    pub fn from_bits(bits: Bytes) -> Option<Bloom> {
        (bits.len() >= BYTES_MIN).then_some(Bloom(bits))
    }

    /// Its bits.
    pub fn bits(&self) -> &Bytes {
        &self.0
    }

    /// Whether the set might hold a key with this hash.
    pub fn might_hold(&self, hash: u64) -> bool {
        probes(hash, bit_count(&self.0))
            .all(|(byte, mask)| self.0.get(byte).is_none_or(|byte| byte & mask != 0))
    }
}

fn bit_count(bits: &[u8]) -> u64 {
    u64::try_from(bits.len()).unwrap_or(u64::MAX).saturating_mul(8).max(1)
}

/// The byte and the bit in it of each probe.
fn probes(hash: u64, count: u64) -> impl Iterator<Item = (usize, u8)> {
    let (low, high) = (hash & 0xffff_ffff, (hash >> 32) | 1);
    (0..PROBES).map(move |probe| {
        let bit = (low + probe * high) % count;
        (usize::try_from(bit / 8).unwrap_or(usize::MAX), 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_all_and_little_else() {
        let hashes: Vec<u64> = (0..1000_u32).map(|key| hash(&key.to_le_bytes())).collect();
        let bloom = Bloom::over(&hashes);
        assert_eq!(bloom.bits().len(), 1250);
        assert!(hashes.iter().all(|hash| bloom.might_hold(*hash)));
        let wrong = (1000..11_000_u32).filter(|key| bloom.might_hold(hash(&key.to_le_bytes()))).count();
        assert!(wrong < 200, "{wrong} of 10,000");
    }

    #[test]
    fn has_its_golden_bits() {
        assert_eq!(hash(b"anser"), 7_701_252_865_237_710_735);
        let bloom = Bloom::over(&[hash(b"a"), hash(b"b"), hash(b"c")]);
        assert_eq!(bloom.bits().as_ref(), [144, 32, 67, 152, 4, 50, 76, 170]);
    }
}
