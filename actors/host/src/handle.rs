//! What others hold of an actor: a way in, and a look at how it is.
//!
//! Keeps: each call queues at most one actix message, and only what was let in; nothing here waits.

use crate::actor::Host;
use crate::admission::{Entry, refusal};
use crate::batch::Delivery;
use crate::shared::Shared;
use actix::Addr;
use anser_machine::{Fact, Feedback};
use anser_proto::{Envelope, Refusal, Role};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The way to one actor. Cheap to clone; its arbiter's thread need not be the caller's.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    addr: Addr<Host>,
}

/// How an actor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorStatus {
    /// Whether it serves: a machine is there, and it did not panic too often of late.
    pub up: bool,
    /// Events that wait in its mailbox.
    pub mailbox_depth: u64,
    /// How often its machine was rebuilt.
    pub restarts: u64,
    /// What its last panic said, and where.
    pub last_panic: Option<String>,
    /// Whether its drain takes longer than the watchdog allows.
    pub stuck: bool,
}

impl Handle {
    /// A handle to an actor that was just made.
    pub(crate) fn new(shared: Arc<Shared>, addr: Addr<Host>) -> Handle {
        Handle { inner: Arc::new(Inner { shared, addr }) }
    }

    /// What it does.
    pub fn role(&self) -> Role {
        self.inner.shared.config.role
    }

    /// Which one of its role.
    pub fn slot(&self) -> u32 {
        self.inner.shared.config.slot
    }

    /// Its name in logs and metrics.
    pub fn name(&self) -> &str {
        &self.inner.shared.config.name
    }

    /// Delivers messages, in order. Requests without room are answered `Busy` (if the actor was stopped, `NotServing`)
    /// through the shell; nothing happened to them. Hand over many at once: this costs one wake-up.
    pub fn deliver(&self, mut batch: Vec<Envelope>) {
        let shared = &*self.inner.shared;
        let open = self.is_open();
        let mut refused: Vec<Envelope> = Vec::new();
        let turned_away =
            batch.extract_if(.., |envelope| !open || shared.door.enter(envelope) != Entry::Admitted);
        for envelope in turned_away {
            if envelope.body.is_request() {
                let leaving = !open || shared.door.is_closed();
                let why = if leaving { Refusal::NotServing } else { Refusal::Busy };
                refused.push(refusal(&envelope, why));
            } else {
                tracing::debug!(
                    actor = shared.config.name,
                    message = envelope.body.name(),
                    "dropped for want of room"
                );
            }
        }
        if !batch.is_empty() {
            self.push(batch.len(), Delivery::Envelopes(batch));
        }
        if !refused.is_empty() {
            shared.shell.send(refused);
        }
    }

    /// Feeds back what the disk answered to the machine of this life. Dropped if that is gone.
    pub fn feed(&self, life: u32, batch: Vec<Feedback>) {
        if !batch.is_empty() && life == self.inner.shared.life.load(Relaxed) && self.is_open() {
            self.push(batch.len(), Delivery::Feedback { life, batch });
        }
    }

    /// Tells it a fact. A newer fact takes the place of one of its kind that still waits.
    pub fn tell(&self, fact: Fact) {
        let mut bulletin = self.inner.shared.bulletin();
        let first = bulletin.is_empty();
        bulletin.learn(fact);
        drop(bulletin);
        if first {
            self.push(1, Delivery::Facts);
        }
    }

    /// How it is.
    pub fn status(&self) -> ActorStatus {
        let shared = &*self.inner.shared;
        let now = shared.shell.now().tick;
        let stuck_after_us = shared.config.watchdog_after_ms.saturating_mul(1000);
        ActorStatus {
            up: self.is_open() && shared.running.load(Relaxed) && !shared.is_down(now),
            mailbox_depth: shared.depth.load(Relaxed),
            restarts: shared.restarts.load(Relaxed),
            last_panic: shared.last_panic().clone(),
            stuck: shared.busy_us(now).is_some_and(|busy| busy > stuck_after_us),
        }
    }

    /// The life of its machine now.
    pub fn life(&self) -> u32 {
        self.inner.shared.life.load(Relaxed)
    }

    /// From now on requests are answered `NotServing`; those inside are finished.
    pub fn refuse_requests(&self) {
        self.inner.shared.door.close();
    }

    /// Requests inside: in the mailbox, and unanswered in the machine.
    pub fn requests(&self) -> usize {
        self.inner.shared.door.requests().0
    }

    /// Stops it for good. What it was handed and has not answered ends as `Crashed`, what still waits as `NotServing`.
    pub fn stop(&self) {
        self.inner.shared.stopped.store(true, Relaxed);
        self.inner.shared.bell.notify_one();
        self.push(0, Delivery::Stop);
    }

    /// Makes the machine's next step panic; an idle machine is nudged into one.
    #[cfg(feature = "faults")]
    pub fn inject_panic(&self) {
        self.inner.shared.panic_next.store(true, Relaxed);
        self.push(0, Delivery::Nudge);
    }

    /// Requests inside, and their bytes.
    #[cfg(test)]
    pub(crate) fn requests_inside(&self) -> (usize, usize) {
        self.inner.shared.door.requests()
    }

    /// Whether anything delivered is taken in.
    fn is_open(&self) -> bool {
        !self.inner.shared.stopped.load(Relaxed) && self.inner.addr.connected()
    }

    /// Queues one actix message. `do_send` ignores actix's own bound, on purpose: the door has counted already.
    fn push(&self, events: usize, delivery: Delivery) {
        self.inner.shared.depth.fetch_add(events as u64, Relaxed);
        self.inner.addr.do_send(delivery);
    }
}
