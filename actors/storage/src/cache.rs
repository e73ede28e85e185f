//! The cache of verified, decompressed blocks: bounded in bytes, and a scan through a table doesn't push out what is
//! read again and again.
//!
//! Source: Yang et al., "FIFO queues are all you need for cache eviction" (S3-FIFO, 2023): newcomers pass a small queue and
//! reach the main one only if they are read again there, or soon after they left it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use anser_machine::TableId;
use bytes::Bytes;

/// A block's place: its table and number.
type Place = (TableId, u32);

/// What an entry is counted beside its block.
const ENTRY_OVERHEAD_BYTES: usize = 128;
/// The small queue's share of all bytes: one in this many.
const SMALL_SHARE: usize = 10;
/// A block of more than one in this many of all bytes is not kept.
const LARGEST_SHARE: usize = 8;
/// Reads that are remembered of a block.
const HITS_MAX: u8 = 3;
/// Blocks gone from the small queue that are remembered, at least.
const GHOSTS_MIN: usize = 64;

#[derive(Debug)]
struct Slot {
    block: Bytes,
    hits: u8,
}

/// A queue of places, with the bytes that they stand for.
#[derive(Debug, Default)]
struct Queue {
    places: VecDeque<Place>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, place: Place, bytes: usize) {
        self.places.push_back(place);
        self.bytes += bytes;
    }

    fn pop(&mut self, slots: &BTreeMap<Place, Slot>) -> Option<Place> {
        let place = self.places.pop_front()?;
        self.bytes = self.bytes.saturating_sub(slots.get(&place).map_or(0, |slot| weight(&slot.block)));
        Some(place)
    }
}

/// Blocks by table and number.
#[derive(Debug)]
pub struct Cache {
    bytes_max: usize,
    slots: BTreeMap<Place, Slot>,
    small: Queue,
    main: Queue,
    ghosts: VecDeque<Place>,
    ghost_set: BTreeSet<Place>,
}

fn weight(block: &Bytes) -> usize {
    block.len() + ENTRY_OVERHEAD_BYTES
}

impl Cache {
    /// An empty one of at most `bytes_max`.
    pub fn new(bytes_max: usize) -> Cache {
        Cache {
            bytes_max,
            slots: BTreeMap::new(),
            small: Queue::default(),
            main: Queue::default(),
            ghosts: VecDeque::new(),
            ghost_set: BTreeSet::new(),
        }
    }

    /// How much it may hold.
    #[cfg(test)]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// It may hold so much from now on.
    pub fn resize(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.shrink();
    }

    /// A block, if it is here.
    pub fn get(&mut self, table: TableId, block: u32) -> Option<Bytes> {
        let slot = self.slots.get_mut(&(table, block))?;
        slot.hits = HITS_MAX.min(slot.hits + 1);
        Some(slot.block.clone())
    }

    /// The same for a scan: that it reads a block says nothing of how often it is read.
    pub fn peek(&self, table: TableId, block: u32) -> Option<&Bytes> {
        self.slots.get(&(table, block)).map(|slot| &slot.block)
    }

    /// Keeps a block for a while.
    pub fn insert(&mut self, table: TableId, number: u32, block: Bytes) {
        let place = (table, number);
        let bytes = weight(&block);
        if bytes > self.bytes_max / LARGEST_SHARE || self.slots.contains_key(&place) {
            return;
        }
        if self.ghost_set.remove(&place) {
            self.main.push(place, bytes);
        } else {
            self.small.push(place, bytes);
        }
        self.slots.insert(place, Slot { block, hits: 0 });
        self.shrink();
    }

    fn shrink(&mut self) {
        // Ends: each turn removes a block, moves one on for good, or takes one of its at most HITS_MAX hits.
        while self.bytes() > self.bytes_max {
            self.evict();
        }
    }

    /// Bytes of all blocks, and what it takes to keep them.
    pub fn bytes(&self) -> usize {
        self.small.bytes + self.main.bytes
    }

    fn evict(&mut self) {
        if self.small.bytes > self.bytes_max / SMALL_SHARE || self.main.places.is_empty() {
            let Some(place) = self.small.pop(&self.slots) else { return };
            match self.slots.get_mut(&place) {
                Some(slot) if slot.hits > 0 => {
                    slot.hits = 0;
                    self.main.push(place, weight(&slot.block));
                }
                Some(_) | None => {
                    self.slots.remove(&place);
                    self.remember(place);
                }
            }
        } else {
            let Some(place) = self.main.pop(&self.slots) else { return };
            match self.slots.get_mut(&place) {
                Some(slot) if slot.hits > 0 => {
                    slot.hits -= 1;
                    self.main.push(place, weight(&slot.block));
                }
                Some(_) | None => {
                    self.slots.remove(&place);
                }
            }
        }
    }

    fn remember(&mut self, place: Place) {
        if self.ghost_set.insert(place) {
            self.ghosts.push_back(place);
        }
        while self.ghosts.len() > GHOSTS_MIN.max(self.slots.len()) {
            let Some(oldest) = self.ghosts.pop_front() else { return };
            self.ghost_set.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: TableId = TableId(1);

    fn block() -> Bytes {
        Bytes::from(alloc::vec![0; 1000 - ENTRY_OVERHEAD_BYTES])
    }

    #[test]
    fn stays_within_its_bytes() {
        let mut cache = Cache::new(20_000);
        for number in 0..1000 {
            cache.insert(TABLE, number, block());
            assert!(cache.bytes() <= 20_000);
            if number % 3 == 0 {
                assert!(cache.get(TABLE, number).is_some());
            }
        }
        assert_eq!(cache.bytes(), 20_000);
        assert!(cache.ghosts.len() <= GHOSTS_MIN && cache.ghost_set.len() <= GHOSTS_MIN);
        cache.insert(TABLE, 5000, Bytes::from(alloc::vec![0; 10_000]));
        assert_eq!(cache.get(TABLE, 5000), None, "too large to keep");
    }

    #[test]
    fn gives_up_what_it_may_no_longer_hold() {
        let mut cache = Cache::new(20_000);
        for number in 0..20 {
            cache.insert(TABLE, number, block());
            cache.get(TABLE, number);
        }
        cache.resize(5_000);
        assert_eq!(cache.bytes(), 5_000);
        cache.resize(0);
        assert_eq!(cache.bytes(), 0);
        cache.insert(TABLE, 100, block());
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn a_scan_leaves_what_is_read_often() {
        let mut cache = Cache::new(20_000);
        for number in 0..10 {
            cache.insert(TABLE, number, block());
            cache.get(TABLE, number);
        }
        for number in 100..1000 {
            cache.insert(TABLE, number, block());
        }
        let kept = (0..10).filter(|number| cache.get(TABLE, *number).is_some()).count();
        assert_eq!(kept, 10);
    }
}
