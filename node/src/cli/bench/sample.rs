//! The values that a bench writes, and the check that what it reads back is among what may be there.
//!
//! For a sample of the keys it remembers the newest acknowledged write and those that overlap it. A read-back must show
//! one of these and nothing else: an older value means that an acknowledged write was lost, another one that it was altered.

use std::collections::BTreeMap;
use std::time::Instant;

/// Keys are sampled until there are so many.
const KEYS_MAX: usize = 256;
/// One key in so many is in the sample, while keys last.
const ONE_KEY_IN: u64 = 4;
/// Writes remembered of each sampled key.
const WRITES_MAX: usize = 256;
/// Bytes at a value's start that say which write it is.
const HEAD_BYTES: usize = 16;

/// The value of write number `write` to key number `key`: both numbers, then bytes that follow from them.
pub fn value(key: u64, write: u64, bytes: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(bytes + 8);
    value.extend_from_slice(&key.to_le_bytes());
    value.extend_from_slice(&write.to_le_bytes());
    let mut random = fastrand::Rng::with_seed(key.rotate_left(32) ^ write);
    while value.len() < bytes {
        value.extend_from_slice(&random.u64(..).to_le_bytes());
    }
    value.truncate(bytes);
    value
}

/// Whether a value is one that a bench wrote to this key. Too short ones can't tell.
pub fn is_sound(key: u64, shown: &[u8]) -> bool {
    let write = shown.get(8..HEAD_BYTES).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    write.is_none_or(|write| value(key, write, shown.len()) == shown)
}

/// What is remembered of one write.
#[derive(Clone, Copy, Debug)]
struct Noted {
    begun: Instant,
    /// None while it is under way, or if its end is not known: it may still come.
    ended: Option<Instant>,
    acknowledged: bool,
}

/// What a read-back showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What may be there, and nothing else.
    Sound,
    /// An acknowledged write is not there, nor one that may have superseded it.
    Lost,
    /// A value that was never written to this key.
    Altered,
}

/// The writes to the sampled keys.
#[derive(Debug, Default)]
pub struct Sample {
    keys: BTreeMap<u64, BTreeMap<u64, Noted>>,
}

impl Sample {
    /// A write begins.
    pub fn begin(&mut self, key: u64, write: u64) {
        let full = self.keys.len() >= KEYS_MAX;
        let chosen = key.is_multiple_of(ONE_KEY_IN) && !full;
        if !chosen && !self.keys.contains_key(&key) {
            return;
        }
        let writes = self.keys.entry(key).or_default();
        writes.insert(write, Noted { begun: Instant::now(), ended: None, acknowledged: false });
        if writes.len() > WRITES_MAX {
            writes.pop_first();
        }
    }

    /// A write ended: acknowledged, or certainly not done, or neither (then it may still come).
    pub fn end(&mut self, key: u64, write: u64, acknowledged: bool, failed: bool) {
        let Some(writes) = self.keys.get_mut(&key) else { return };
        if failed {
            writes.remove(&write);
        } else if let Some(noted) = writes.get_mut(&write) {
            noted.acknowledged = acknowledged;
            noted.ended = acknowledged.then(Instant::now);
        }
    }

    /// The sampled keys with an acknowledged write.
    pub fn keys(&self) -> Vec<u64> {
        let written = |writes: &BTreeMap<u64, Noted>| writes.values().any(|noted| noted.acknowledged);
        self.keys.iter().filter(|(_, writes)| written(writes)).map(|(key, _)| *key).collect()
    }

    /// Judges what was read back of a key, once no write to it is under way.
    pub fn judge(&self, key: u64, shown: &[impl AsRef<[u8]>]) -> Verdict {
        if shown.iter().any(|value| !is_sound(key, value.as_ref())) {
            return Verdict::Altered;
        }
        let Some(writes) = self.keys.get(&key) else { return Verdict::Sound };
        let newest = writes.values().filter(|noted| noted.acknowledged).map(|noted| noted.begun).max();
        let Some(newest) = newest else { return Verdict::Sound };
        let may_stand = |noted: &Noted| noted.ended.is_none_or(|ended| ended >= newest);
        let stands = |value: &[u8]| {
            let mut candidates = writes.iter().filter(|(_, noted)| may_stand(noted));
            candidates.any(|(write, _)| self::value(key, *write, value.len()) == value)
        };
        if shown.iter().any(|value| stands(value.as_ref())) { Verdict::Sound } else { Verdict::Lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(sample: &mut Sample, write: u64) {
        sample.begin(4, write);
        sample.end(4, write, true, false);
    }

    #[test]
    fn the_newest_write_must_be_shown() {
        let mut sample = Sample::default();
        write(&mut sample, 1);
        std::thread::sleep(std::time::Duration::from_millis(2));
        write(&mut sample, 2);
        assert_eq!(sample.keys(), [4]);
        assert_eq!(sample.judge(4, &[value(4, 2, 100)]), Verdict::Sound);
        assert_eq!(sample.judge(4, &[value(4, 1, 100)]), Verdict::Lost);
        assert_eq!(sample.judge(4, &[] as &[Vec<u8>]), Verdict::Lost);
        assert_eq!(sample.judge(4, &[value(8, 2, 100)]), Verdict::Altered);
    }

    #[test]
    fn overlapping_and_unknown_writes_may_stand_in_its_place() {
        let mut sample = Sample::default();
        sample.begin(4, 1);
        sample.begin(4, 2);
        sample.end(4, 2, true, false);
        sample.end(4, 1, true, false);
        sample.begin(4, 3);
        sample.end(4, 3, false, false);
        for shown in 1..=3 {
            assert_eq!(sample.judge(4, &[value(4, shown, 100)]), Verdict::Sound);
        }
        sample.begin(4, 5);
        sample.end(4, 5, false, true);
        assert_eq!(sample.judge(4, &[value(4, 5, 100)]), Verdict::Lost);
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let mut shown = value(4, 1, 100);
        assert!(is_sound(4, &shown));
        shown[50] ^= 1;
        assert!(!is_sound(4, &shown));
        assert_eq!(value(1, 2, 3).len(), 3);
        assert!(is_sound(1, &value(1, 2, 3)));
    }

    #[test]
    fn the_sample_is_bounded() {
        let mut sample = Sample::default();
        for key in 0..10_000 {
            sample.begin(key, key);
        }
        assert_eq!(sample.keys.len(), KEYS_MAX);
        for write in 0..10_000 {
            sample.begin(0, write);
        }
        assert_eq!(sample.keys[&0].len(), WRITES_MAX);
    }
}
