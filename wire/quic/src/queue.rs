//! A bounded queue of messages for one lane or more, filled from any thread.
//!
//! Keeps: it never grows past its bounds. Requests are refused once it is full; answers and gossip, whose room their
//! requests have paid for, have several times that room before they are dropped. Deliberately absent: order between lanes
//! that share a queue.

use anser_proto::{Envelope, Tick};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// How many times a full queue's bounds what is no request may still take.
const ANSWERS_ROOM: usize = 4;
/// What a message is counted as beside its payload, in bytes.
const ENVELOPE_BYTES: usize = 128;
/// Most messages taken at once.
const TAKEN_MAX: usize = 1024;

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    ready: Notify,
    messages_max: usize,
    bytes_max: usize,
    taken: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    envelope: Envelope,
    since: Tick,
}

/// What a message counts as, in bytes.
pub(crate) fn weight(envelope: &Envelope) -> usize {
    ENVELOPE_BYTES + envelope.body.payload_bytes()
}

impl Queue {
    pub fn new(messages_max: usize, bytes_max: usize) -> Queue {
        Queue {
            inner: Mutex::default(),
            ready: Notify::new(),
            messages_max,
            bytes_max,
            taken: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message in, or gives it back when full. Wakes nobody: `wake` does, once for many.
    pub fn push(&self, envelope: Envelope, now: Tick) -> Result<(), Box<Envelope>> {
        let room = if envelope.body.is_request() { 1 } else { ANSWERS_ROOM };
        let weight = weight(&envelope);
        let mut inner = self.lock();
        // A lone message always has room, however large: its size is bounded by the frame's.
        let fits = inner.waiting.len() < self.messages_max * room
            && (inner.waiting.is_empty() || inner.bytes + weight <= self.bytes_max * room);
        if !fits {
            return Err(Box::new(envelope));
        }
        inner.bytes += weight;
        inner.waiting.push_back(Waiting { envelope, since: now });
        Ok(())
    }

    /// Wakes a writer.
    pub fn wake(&self) {
        self.ready.notify_one();
    }

    /// Wakes every writer that waits, to look whether it is still wanted.
    pub fn wake_all(&self) {
        self.ready.notify_waiters();
    }

    /// To be made before the queue is looked at, and awaited when it is empty.
    pub fn ready(&self) -> Notified<'_> {
        self.ready.notified()
    }

    /// Takes messages out, the oldest first, at least one if there is one, of about `bytes_max`. Another writer is woken if
    /// some are left.
    pub fn take(&self, bytes_max: usize, into: &mut Vec<Envelope>) -> usize {
        let mut inner = self.lock();
        let mut bytes = 0;
        while let Some(next) = inner.waiting.front() {
            let weight = weight(&next.envelope);
            if !into.is_empty() && (bytes + weight > bytes_max || into.len() >= TAKEN_MAX) {
                break;
            }
            let Some(next) = inner.waiting.pop_front() else { break };
            bytes += weight;
            self.taken.fetch_max(next.envelope.op.seq, Ordering::Relaxed);
            into.push(next.envelope);
        }
        inner.bytes = inner.bytes.saturating_sub(bytes);
        let left = !inner.waiting.is_empty();
        drop(inner);
        if left {
            self.wake();
        }
        bytes
    }

    /// The highest operation's number that was ever taken: an operation above it is still in here, or was refused.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes out what has waited since before `before`, and requests whose deadline is past.
    pub fn expire(&self, before: Tick, now: Tick) -> Vec<Envelope> {
        let mut inner = self.lock();
        let stale = |waiting: &Waiting| {
            waiting.since <= before
                || (waiting.envelope.body.is_request() && waiting.envelope.deadline <= now)
        };
        if !inner.waiting.iter().any(stale) {
            return Vec::new();
        }
        let (expired, kept): (VecDeque<_>, VecDeque<_>) = inner.waiting.drain(..).partition(stale);
        inner.bytes = kept.iter().map(|waiting| weight(&waiting.envelope)).sum();
        inner.waiting = kept;
        expired.into_iter().map(|waiting| waiting.envelope).collect()
    }

    /// Takes everything out.
    pub fn drain(&self) -> Vec<Envelope> {
        let mut inner = self.lock();
        inner.bytes = 0;
        std::mem::take(&mut inner.waiting).into_iter().map(|waiting| waiting.envelope).collect()
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    pub fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{gossip, request};

    #[test]
    fn a_full_queue_refuses_requests_and_leaves_room_for_answers() {
        let queue = Queue::new(4, 1024 * 1024);
        for seq in 0..4 {
            queue.push(request(seq, 10), Tick(0)).unwrap();
        }
        let back = queue.push(request(4, 10), Tick(0)).unwrap_err();
        assert_eq!(back.op.seq, 4);
        for _ in 0..12 {
            queue.push(gossip(), Tick(0)).unwrap();
        }
        assert!(queue.push(gossip(), Tick(0)).is_err(), "never past its bound");
    }

    #[test]
    fn bytes_are_bounded_too_but_a_lone_message_always_fits() {
        let queue = Queue::new(100, 1000);
        queue.push(request(1, 5000), Tick(0)).unwrap();
        assert!(queue.push(request(2, 1), Tick(0)).is_err());
        let mut out = Vec::new();
        assert_eq!(queue.take(10, &mut out), 5000 + ENVELOPE_BYTES);
        queue.push(request(2, 1), Tick(0)).unwrap();
        assert_eq!(queue.taken(), 1);
    }

    #[test]
    fn takes_in_order_about_as_much_as_asked() {
        let queue = Queue::new(100, 1_000_000);
        for seq in 1..=10 {
            queue.push(request(seq, 1), Tick(0)).unwrap();
        }
        let mut out = Vec::new();
        queue.take(3 * weight(&request(1, 1)), &mut out);
        assert_eq!(out.iter().map(|envelope| envelope.op.seq).collect::<Vec<_>>(), [1, 2, 3]);
        out.clear();
        queue.take(usize::MAX, &mut out);
        assert_eq!(out.len(), 7);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_waited_too_long_or_is_too_late_comes_out() {
        let queue = Queue::new(100, 1_000_000);
        let late = Envelope { deadline: Tick(50), ..request(2, 0) };
        queue.push(request(1, 0), Tick(10)).unwrap();
        queue.push(late, Tick(90)).unwrap();
        queue.push(request(3, 0), Tick(90)).unwrap();
        let gone: Vec<u64> =
            queue.expire(Tick(20), Tick(100)).iter().map(|envelope| envelope.op.seq).collect();
        assert_eq!(gone, [1, 2]);
        assert_eq!(queue.drain().len(), 1);
        assert!(queue.expire(Tick(1000), Tick(1000)).is_empty());
    }
}
