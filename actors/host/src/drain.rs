//! A drain: steps of the machine up to the budget, then their effects, each kind handed over at once.
//!
//! Keeps: `done` is where the effects of completed steps end, at every moment at which a step may panic.

use crate::actor::Host;
use crate::admission::{Lane, lane, refusal, request_bytes};
use crate::meter;
use crate::shared::Shared;
use crate::supervision::Cause;
use anser_machine::{DiskRequest, Effect, Event, Fact, Now};
use anser_proto::{Envelope, Refusal, Tick};
use std::sync::atomic::Ordering::Relaxed;

/// How often requests past their deadlines are looked for.
const EXPIRE_EVERY_MS: u64 = 1000;

impl Host {
    /// Steps up to the budget, timeouts at both ends. Gives when the host wants to be woken.
    pub(crate) fn slice(&mut self, now: Now, replay: Vec<Fact>) -> Option<Tick> {
        self.doing = Cause::Panic;
        for fact in replay {
            self.step(now, Event::Fact(fact));
        }
        self.time_out_if_due(now);
        while self.budget > 0 {
            let Some(event) = self.batch.next() else { break };
            self.taken += 1;
            self.take(now, event);
        }
        self.time_out_if_due(now);
        self.expire_if_due(now);
        let machine = self.machine.as_ref().and_then(|machine| machine.next_timeout()).map(|(at, _)| at);
        let expiry = (!self.inflight.is_empty()).then_some(self.expire_at);
        machine.into_iter().chain(expiry).min()
    }

    /// Takes an event off the mailbox.
    fn take(&mut self, now: Now, event: Event) {
        if let Event::Message(envelope) = &event {
            match lane(&envelope.body) {
                Lane::Gossip => self.freed.gossip += 1,
                Lane::Reply => self.freed.replies += 1,
                Lane::Request if envelope.deadline < now.tick => {
                    // Nobody waits for it any more; and nothing happened.
                    self.freed.requests += 1;
                    self.freed.request_bytes += request_bytes(envelope);
                    self.out.send(refusal(envelope, Refusal::Busy));
                    self.done = self.out.len();
                    self.budget = self.budget.saturating_sub(1);
                    self.meter.note(meter::kind(&event));
                    return;
                }
                Lane::Request => self.inflight.note(envelope),
            }
        }
        self.step(now, event);
    }

    /// One step of the machine.
    fn step(&mut self, now: Now, event: Event) {
        self.budget = self.budget.saturating_sub(1);
        self.meter.note(meter::kind(&event));
        if let Some(machine) = &mut self.machine {
            machine.handle(now, event, &mut self.out);
            panic_if_told(&self.shared);
            self.done = self.out.len();
        }
    }

    /// A timeout, if it is due.
    fn time_out_if_due(&mut self, now: Now) {
        let Some(machine) = &mut self.machine else { return };
        let due = machine.next_timeout().is_some_and(|(at, _)| at <= now.tick);
        if due || std::mem::take(&mut self.nudged) {
            self.budget = self.budget.saturating_sub(1);
            self.meter.note(meter::TIMEOUT);
            machine.handle_timeout(now, &mut self.out);
            panic_if_told(&self.shared);
            self.done = self.out.len();
        }
    }

    /// Frees the room of requests that the machine never answered.
    fn expire_if_due(&mut self, now: Now) {
        if self.inflight.is_empty() {
            self.expire_at = now.tick.plus_ms(EXPIRE_EVERY_MS);
        } else if self.expire_at <= now.tick {
            self.inflight.expire(now.tick, &mut self.freed);
            self.expire_at = now.tick.plus_ms(EXPIRE_EVERY_MS);
        }
    }

    /// Carries out the effects of the completed steps: one call to the shell for each kind.
    pub(crate) fn carry_out(&mut self) {
        self.done = 0;
        let Shared { shell, config, .. } = &*self.shared;
        let mut sends: Vec<Envelope> = Vec::new();
        let mut disk: Vec<DiskRequest> = Vec::new();
        for effect in self.out.drain() {
            match effect {
                Effect::Send(envelope) => {
                    self.inflight.sent(&envelope, &mut self.freed);
                    sends.push(envelope);
                }
                Effect::Disk(request) => disk.push(request),
                Effect::Publish(fact) => shell.publish(fact),
                Effect::Count(count) => shell.count(config.role, count),
            }
        }
        if !disk.is_empty() {
            shell.disk(config.role, config.slot, self.life, disk);
        }
        if !sends.is_empty() {
            shell.send(sends);
        }
    }

    /// Gives back the room that was freed.
    pub(crate) fn settle(&mut self) {
        self.shared.door.free(std::mem::take(&mut self.freed));
        self.shared.depth.fetch_sub(std::mem::take(&mut self.taken), Relaxed);
    }
}

/// Panics if a test asked for it: inside the step, after its effects were pushed, which is the hardest place.
fn panic_if_told(shared: &Shared) {
    #[cfg(feature = "faults")]
    if shared.panic_next.load(Relaxed) && shared.panic_next.swap(false, Relaxed) {
        std::panic::panic_any("a fault was injected");
    }
    #[cfg(not(feature = "faults"))]
    let _ = shared;
}
