//! The end of a machine: after a panic, to be rebuilt, or for good.
//!
//! Keeps: all that the machine was handed and did not answer is answered here; what panics on the way is reported, and
//! stops nothing.

use crate::actor::Host;
use crate::admission::{Lane, lane, refusal, request_bytes};
use crate::batch::Batch;
use crate::supervision::Cause;
use crate::unwind::guard;
use actix::{ActorContext, Context};
use anser_machine::Event;
use anser_proto::Refusal;
use std::sync::atomic::Ordering::Relaxed;

impl Host {
    /// After a panic: keeps what was completed, drops the machine, answers what it was handed, and restarts the actor.
    pub(crate) fn crash(&mut self, said: &str, ctx: &mut Context<Self>) {
        let cause = self.doing;
        let config = &self.shared.config;
        tracing::error!(
            actor = config.name,
            slot = config.slot,
            life = self.life,
            cause = cause.name(),
            panic = said,
            "an actor panicked; it is rebuilt"
        );
        self.shared.running.store(false, Relaxed);
        self.out.truncate(if cause == Cause::Panic { self.done } else { 0 });
        let kept = guard(|| self.carry_out());
        self.out.truncate(0);
        let now = guard(|| self.shared.shell.now());
        self.drop_machine();
        self.life = self.life.wrapping_add(1);
        self.shared.life.store(self.life, Relaxed);
        *self.shared.last_panic() = Some(said.to_owned());
        self.shared.restarts.fetch_add(1, Relaxed);
        self.meter.restarted(cause);
        for again in [kept.err(), now.as_ref().err().cloned()].into_iter().flatten() {
            tracing::error!(panic = again, "the node's shell panicked");
        }
        let now = now.unwrap_or_default().tick;
        let verdict = self.book.crashed(&self.shared.config.restart, now);
        if let Some(until) = verdict.down_until {
            self.shared.down_until(until);
        }
        self.pause_ms = verdict.pause_ms.max(1);
        // The rest of a batch is kept; only feedback was for the machine that is gone.
        if matches!(self.batch, Batch::Feedback(_)) {
            self.taken += self.batch.len() as u64;
            self.batch = Batch::empty();
        }
        self.settle();
        ctx.stop();
    }

    /// Drops the machine and answers what it was handed: it may or may not have happened.
    fn drop_machine(&mut self) {
        let machine = self.machine.take();
        let dropped = guard(move || drop(machine));
        let answers = self.inflight.crash(&mut self.freed);
        let sent = guard(|| {
            if !answers.is_empty() {
                self.shared.shell.send(answers)
            }
        });
        for said in [dropped.err(), sent.err()].into_iter().flatten() {
            tracing::error!(panic = said, "dropping a machine panicked");
        }
    }

    /// Stopped for good: no machine any more, and what waits is refused.
    pub(crate) fn halt(&mut self) {
        self.shared.running.store(false, Relaxed);
        self.drop_machine();
        let mut refused = Vec::new();
        while let Some(event) = self.batch.next() {
            self.taken += 1;
            let Event::Message(envelope) = event else { continue };
            match lane(&envelope.body) {
                Lane::Gossip => self.freed.gossip += 1,
                Lane::Reply => self.freed.replies += 1,
                Lane::Request => {
                    self.freed.requests += 1;
                    self.freed.request_bytes += request_bytes(&envelope);
                    refused.push(refusal(&envelope, Refusal::NotServing));
                }
            }
        }
        if let Err(said) = guard(|| {
            if !refused.is_empty() {
                self.shared.shell.send(refused)
            }
        }) {
            tracing::error!(panic = said, "the node's shell panicked");
        }
        self.settle();
    }
}
