//! Calls outstanding on a client's connection.
//!
//! Keeps: every call ends exactly once: answered, known not to have been sent, or lost.

use crate::client::{CallError, OUTSTANDING_MAX, tick_since};
use crate::lane::Port;
use crate::queue::Queue;
use anser_model::{NodeId, Step};
use anser_proto::frame::{self, FrameError};
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Role, Tick};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How a call ended.
pub(crate) enum Outcome {
    Answered(Box<Body>),
    /// It never left this process.
    Unsent,
    /// The connection is gone.
    Lost,
}

/// The calls of one connection.
pub(crate) struct Calls {
    me: NodeId,
    node: NodeId,
    born: Instant,
    large: Arc<Queue>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    ended: bool,
    calls: HashMap<u64, oneshot::Sender<Outcome>>,
}

/// One call; dropping it gives up waiting.
pub(crate) struct Call {
    pub seq: u64,
    pub answer: oneshot::Receiver<Outcome>,
    calls: Arc<Calls>,
}

impl Calls {
    pub fn new(me: NodeId, node: NodeId, born: Instant, large: Arc<Queue>) -> Calls {
        Calls { me, node, born, large, waiting: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for a call.
    pub fn begin(self: &Arc<Calls>) -> Result<Call, CallError> {
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.ended {
            return Err(CallError::NotSent);
        }
        if waiting.calls.len() >= OUTSTANDING_MAX {
            return Err(CallError::Busy);
        }
        waiting.last += 1;
        let seq = waiting.last;
        waiting.calls.insert(seq, sender);
        Ok(Call { seq, answer, calls: Arc::clone(self) })
    }

    /// The message that asks.
    pub fn envelope(&self, seq: u64, to: Role, body: Body, deadline: Tick) -> Envelope {
        Envelope {
            from: Address { node: self.me, role: Role::Session, slot: 0 },
            to: Address { node: self.node, role: to, slot: 0 },
            op: OpId { life: 0, seq },
            step: Step(0),
            deadline,
            body,
        }
    }

    pub fn outstanding(&self) -> usize {
        self.lock().calls.len()
    }

    fn finish(&self, seq: u64, outcome: Outcome) {
        if let Some(sender) = self.lock().calls.remove(&seq) {
            // Whoever gave up waiting does not care.
            let _ = sender.send(outcome);
        }
    }

    /// The connection is gone: these were not sent, all others are lost.
    pub fn end(&self, unsent: Vec<Envelope>) {
        let mut waiting = self.lock();
        waiting.ended = true;
        let mut calls = std::mem::take(&mut waiting.calls);
        drop(waiting);
        for envelope in unsent {
            if let Some(sender) = calls.remove(&envelope.op.seq) {
                let _ = sender.send(Outcome::Unsent);
            }
        }
        for (_, sender) in calls {
            let _ = sender.send(Outcome::Lost);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.lock().calls.remove(&self.seq);
    }
}

impl Port for Calls {
    fn now(&self) -> Tick {
        tick_since(self.born)
    }

    fn decode(&self, content: &[u8], now: Tick) -> Result<Envelope, FrameError> {
        frame::decode(content, self.node, self.me, now)
    }

    fn deliver(&self, batch: Vec<Envelope>, _bytes: usize) {
        let mut waiting = self.lock();
        for envelope in batch {
            if let Some(sender) = waiting.calls.remove(&envelope.op.seq) {
                let _ = sender.send(Outcome::Answered(Box::new(envelope.body)));
            }
        }
    }

    fn large(&self, envelope: Envelope) {
        match self.large.push(envelope, self.now()) {
            Ok(()) => self.large.wake(),
            Err(envelope) => self.finish(envelope.op.seq, Outcome::Unsent),
        }
    }

    fn unsent(&self, batch: Vec<Envelope>, _why: Refusal) {
        for envelope in batch {
            self.finish(envelope.op.seq, Outcome::Unsent);
        }
    }

    fn wrote(&self, _messages: usize, _bytes: usize) {}
}
