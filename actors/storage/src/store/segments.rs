//! What each segment of the log holds, and so when it is no longer needed.

use super::manifest::Manifest;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use anser_machine::Lsn;

/// One segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The last position of each shard in it.
    pub last: BTreeMap<u32, Lsn>,
    /// Bytes of its pieces.
    pub bytes: u64,
    /// Whether it takes no more groups.
    pub sealed: bool,
}

/// All segments, by number.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    live: BTreeMap<u64, Segment>,
}

impl Segments {
    /// A segment, made if it is new.
    pub fn entry(&mut self, segment: u64) -> &mut Segment {
        self.live.entry(segment).or_default()
    }

    /// What a segment held is synced elsewhere by now. It may have been dropped meanwhile, and must not come back: a
    /// segment that is never sealed would stand before all others for ever.
    pub fn carried(&mut self, segment: u64) {
        if let Some(known) = self.live.get_mut(&segment) {
            known.last.clear();
        }
    }

    /// It is dropped.
    pub fn remove(&mut self, segment: u64) {
        self.live.remove(&segment);
    }

    /// Bytes of all.
    pub fn bytes(&self) -> u64 {
        self.live.values().map(|segment| segment.bytes).sum()
    }

    /// Sealed ones of which tables hold everything.
    pub fn needless(&self, manifest: &Manifest) -> Vec<u64> {
        let needless = |segment: &Segment| {
            segment.sealed && segment.last.iter().all(|(shard, last)| *last <= manifest.flushed(*shard))
        };
        self.live.iter().filter(|(_, segment)| needless(segment)).map(|(number, _)| *number).collect()
    }

    /// The oldest segment, if the log has outgrown `bytes_max` and it is sealed: what it still holds is to be written
    /// again at the log's end, so that a shard that writes little doesn't keep the whole log.
    pub fn overdue(&self, bytes_max: u64) -> Option<u64> {
        let (number, oldest) = self.live.first_key_value()?;
        (oldest.sealed && self.bytes() > bytes_max).then_some(*number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_goes_when_every_shard_has_passed_it() {
        let mut segments = Segments::default();
        for (number, last) in [(1, [(0, 5), (1, 3)]), (2, [(0, 9), (1, 4)])] {
            let segment = segments.entry(number);
            segment.last = last.into_iter().map(|(shard, lsn)| (shard, Lsn(lsn))).collect();
            segment.bytes = 100;
            segment.sealed = true;
        }
        segments.entry(3).bytes = 1;
        let needless = |flushed: &[(u32, u64)]| {
            segments.needless(&Manifest { flushed: flushed.iter().copied().collect(), ..Manifest::default() })
        };
        assert!(needless(&[]).is_empty());
        assert!(needless(&[(0, 9)]).is_empty());
        assert!(needless(&[(0, 4), (1, 9)]).is_empty());
        assert_eq!(needless(&[(0, 5), (1, 3)]), [1]);
        assert_eq!(needless(&[(0, 9), (1, 4)]), [1, 2], "the third is open");
        assert_eq!(segments.overdue(201), None);
        assert_eq!(segments.overdue(200), Some(1));
    }

    #[test]
    fn a_segment_that_was_dropped_while_it_was_carried_stays_gone() {
        let mut segments = Segments::default();
        for number in 1..=2 {
            *segments.entry(number) = Segment { last: [(0, Lsn(number))].into(), bytes: 100, sealed: true };
        }
        segments.remove(1);
        segments.carried(1);
        assert_eq!(segments.overdue(50), Some(2), "the next one is carried in its turn");
        segments.carried(2);
        assert_eq!(segments.needless(&Manifest::default()), [2]);
    }
}
