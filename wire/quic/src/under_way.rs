//! The requests of one session that were handed in and not answered yet.
//!
//! Keeps: their count and bytes are bounded, and one whose answer got lost does not take room for ever.

use crate::network::Limits;
use anser_proto::{OpId, Tick};
use std::collections::HashMap;

/// How long past its deadline a request without an answer keeps its place.
const GRACE_MS: u64 = 5000;

/// Which, and how much.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    requests: HashMap<OpId, (usize, Tick)>,
    bytes: usize,
}

impl UnderWay {
    /// Takes a request in, if there is room.
    pub fn admit(&mut self, op: OpId, bytes: usize, deadline: Tick, now: Tick, limits: &Limits) -> bool {
        if !self.has_room(bytes, limits) {
            // Answers may have got lost: a request far past its deadline makes room.
            self.requests.retain(|_, (_, deadline)| deadline.plus_ms(GRACE_MS) > now);
            self.bytes = self.requests.values().map(|(bytes, _)| bytes).sum();
            if !self.has_room(bytes, limits) {
                return false;
            }
        }
        self.bytes += bytes;
        if let Some((before, _)) = self.requests.insert(op, (bytes, deadline)) {
            self.bytes = self.bytes.saturating_sub(before);
        }
        true
    }

    fn has_room(&self, bytes: usize, limits: &Limits) -> bool {
        self.requests.len() < limits.session_requests_max
            && (self.requests.is_empty() || self.bytes + bytes <= limits.session_bytes_max)
    }

    /// Its answer is on its way.
    pub fn finish(&mut self, op: OpId) {
        if let Some((bytes, _)) = self.requests.remove(&op) {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_under_way_are_bounded_and_the_lost_ones_make_room() {
        let limits = Limits { session_requests_max: 2, session_bytes_max: 100, ..Limits::default() };
        let op = |seq| OpId { life: 0, seq };
        let mut under_way = UnderWay::default();
        assert!(under_way.admit(op(1), 60, Tick(10), Tick(0), &limits));
        assert!(!under_way.admit(op(2), 60, Tick(10), Tick(0), &limits), "bytes");
        assert!(under_way.admit(op(2), 40, Tick(10), Tick(0), &limits));
        assert!(!under_way.admit(op(3), 0, Tick(10), Tick(0), &limits), "count");
        under_way.finish(op(1));
        under_way.finish(op(1));
        assert!(under_way.admit(op(3), 60, Tick(10), Tick(0), &limits));
        assert_eq!(under_way.bytes, 100);
        assert!(under_way.admit(op(4), 500, Tick(10), Tick(10).plus_ms(GRACE_MS), &limits), "all too late");
        assert_eq!((under_way.requests.len(), under_way.bytes), (1, 500));
    }
}
