//! Steps of machines, and what follows from them: as the node's host does it, but in virtual time.

use super::cell::{Actor, Mail, refusal};
use super::node::COORDINATOR;
use super::node::SHARDS;
use super::{Job, World};
use crate::coverage::{Injected, Situation};
use crate::disk::{FIRST_SHARD, Outcome};
use crate::schedule::MS;
use crate::stage::Seen;
use crate::twin::Twin;
use crate::verdicts::Invariant;
use anser_machine::{Effect, Event, Feedback, Now, Outbox};
use anser_proto::{Refusal, Tick};

/// The shortest sleep until a timeout, as the host has it.
const TIMER_FLOOR_US: u64 = MS;
/// The first pause after a panic, and the longest.
const BACKOFF_US: u64 = 50 * MS;
const BACKOFF_US_MAX: u64 = 2000 * MS;
/// How often a twin's timeout is called early between two steps.
const EARLY_CALLS: usize = 4;

impl World {
    /// Hands something from its mailbox to an actor.
    pub(super) fn hand(&mut self, n: usize, actor: usize, mail: Mail) {
        let now = self.nodes[n].now(self.schedule.now());
        let requests_max = self.nodes[n].bounds.requests;
        let cell = &mut self.nodes[n].cells[actor];
        cell.queued -= 1;
        if cell.actor.is_none() {
            match mail {
                // It was for the machine that is gone.
                Mail::Feedback(..) => {}
                Mail::Message(_) | Mail::Fact(_) => cell.held.push(mail),
            }
            return;
        }
        let event = match mail {
            Mail::Message(envelope) => {
                self.see_answered(n, actor, &envelope);
                let cell = &mut self.nodes[n].cells[actor];
                if envelope.body.is_request() {
                    cell.expire_if_due(now.tick);
                    if envelope.deadline < now.tick || cell.requests() >= requests_max {
                        self.coverage.sometimes(Situation::Busy);
                        return self.send(n, refusal(&envelope, Refusal::Busy));
                    }
                    cell.note(&envelope);
                }
                Event::Message(*envelope)
            }
            Mail::Fact(fact) => {
                cell.learn(&fact);
                Event::Fact(fact)
            }
            Mail::Feedback(life, _) if life != cell.life => return,
            Mail::Feedback(_, feedback) => Event::Own(*feedback),
        };
        let cell = &mut self.nodes[n].cells[actor];
        cell.disk_failed |= matches!(event, Event::Own(Feedback::DiskFailed));
        let disk_failed = cell.disk_failed;
        self.step(n, actor, Some(event));
        if disk_failed {
            self.see_disk_failed(n, actor);
        }
    }

    /// An actor's timer goes off.
    pub(super) fn wake(&mut self, n: usize, actor: usize, at: u64) {
        let cell = &mut self.nodes[n].cells[actor];
        if cell.wake == Some(at) && cell.actor.is_some() {
            cell.wake = None;
            self.step(n, actor, None);
        }
    }

    /// Builds a machine, at a start or after a panic, and lets it take its first steps.
    pub(super) fn build(&mut self, n: usize, actor: usize) {
        let dice = self.nodes[n].dice.clone();
        let built = self.nodes[n].build(actor);
        if self.options.eager_timers {
            // Built once more, of the same chance.
            self.nodes[n].dice = dice;
            let twin = self.nodes[n].build(actor);
            self.nodes[n].cells[actor].twin = Some(Twin::new(twin.into_machine()));
        }
        if let Some(shard) = actor.checked_sub(FIRST_SHARD).and_then(|shard| u32::try_from(shard).ok()) {
            self.nodes[n].copies.remove(&shard);
            self.truth.read_log_anew(n, |partition| u32::from(partition.0) % SHARDS == shard);
        }
        let cell = &mut self.nodes[n].cells[actor];
        cell.actor = Some(built);
        let (facts, held) = (cell.facts(), std::mem::take(&mut cell.held));
        for fact in facts {
            self.step(n, actor, Some(fact));
        }
        self.step(n, actor, None);
        for mail in held {
            self.nodes[n].cells[actor].queued += 1;
            self.hand(n, actor, mail);
        }
    }

    /// One step of a machine, then its effects; then its timer is set.
    fn step(&mut self, n: usize, actor: usize, event: Option<Event>) {
        let at = self.schedule.now();
        let now = self.nodes[n].now(at);
        let mut out = std::mem::take(&mut self.out);
        let cell = &mut self.nodes[n].cells[actor];
        let Some(hosted) = &mut cell.actor else { return };
        let machine = hosted.machine();
        let event_too = if cell.twin.is_some() { event.clone() } else { None };
        if let Some(event) = event {
            machine.handle(now, event, &mut out);
        }
        let done = out.len();
        if machine.next_timeout().is_some_and(|(at, _)| at <= now.tick) {
            machine.handle_timeout(now, &mut out);
        }
        let next = machine.next_timeout();
        if cell.twin.is_some() {
            self.step_twin(n, actor, now, event_too, &out, next);
        }
        let cell = &mut self.nodes[n].cells[actor];
        if std::mem::take(&mut cell.panics) {
            // The effects of a step that panicked are lost, those of the steps before it are not.
            out.truncate(if out.len() > done { done } else { 0 });
            self.carry_out(n, actor, &mut out);
            self.out = out;
            return self.panic(n, actor);
        }
        self.follow_life(n, actor);
        self.carry_out(n, actor, &mut out);
        self.out = out;
        self.see_queues(n, actor);
        if let Some((tick, _)) = next {
            let jitter = self.nodes[n].dice.below(200) + self.nodes[n].grey_us;
            let node = &self.nodes[n];
            let wake = node.when(tick).max(at + TIMER_FLOOR_US).saturating_add(jitter);
            let boot = node.boot;
            let cell = &mut self.nodes[n].cells[actor];
            if cell.wake.is_none_or(|armed| armed > wake) {
                cell.wake = Some(wake);
                self.schedule.at(wake, Job::Wake { node: n, boot, actor, at: wake });
            }
        }
    }

    /// The twin of a machine takes the step that the machine took.
    fn step_twin(
        &mut self,
        n: usize,
        actor: usize,
        now: Now,
        event: Option<Event>,
        out: &Outbox,
        next: Option<(Tick, &'static str)>,
    ) {
        let Some(twin) = &mut self.nodes[n].cells[actor].twin else { return };
        // The last moment before, and some earlier ones.
        let early = std::array::from_fn(|at| Tick(now.tick.0.saturating_sub(1 << (5 * at))));
        let result = twin.follow(now, event, &early as &[Tick; EARLY_CALLS], out, next);
        let result = result.map_err(|what| format!("actor {actor} of node {n}: {what}"));
        self.judge(Invariant::TimeoutsAreHarmless, result);
    }

    /// A copy that lost something goes on under another Life.
    fn follow_life(&mut self, n: usize, actor: usize) {
        let node = &mut self.nodes[n];
        if let Some(Actor::Replica(machine)) = &node.cells[actor].actor {
            node.lives[actor - FIRST_SHARD] = machine.copy_life();
        }
    }

    /// A step panicked: the machine is gone, what it was handed is answered, and it is built again after a pause.
    fn panic(&mut self, n: usize, actor: usize) {
        self.coverage.inject(Injected::Panic);
        self.tell(|| Seen::Panicked { node: n, actor });
        let at = self.schedule.now();
        let boot = self.nodes[n].boot;
        let cell = &mut self.nodes[n].cells[actor];
        (cell.actor, cell.twin, cell.disk_failed) = (None, None, false);
        cell.life = cell.life.wrapping_add(1);
        cell.wake = None;
        cell.panicked += 1;
        let pause_us = (BACKOFF_US << cell.panicked.min(6)).min(BACKOFF_US_MAX);
        let answers = cell.crash();
        if actor == COORDINATOR {
            self.forget_mints(n);
        }
        if !answers.is_empty() {
            self.coverage.sometimes(Situation::PanicInFlight);
        }
        self.journal
            .line(at, || format!("node {n} actor {actor} panics, {} requests in flight", answers.len()));
        for answer in answers {
            self.send(n, answer);
        }
        self.schedule.after(pause_us, Job::Rebuild { node: n, boot, actor });
    }

    fn carry_out(&mut self, n: usize, actor: usize, out: &mut Outbox) {
        for effect in out.drain() {
            match effect {
                Effect::Send(envelope) => {
                    self.nodes[n].cells[actor].sent(&envelope);
                    self.see_send(n, actor, &envelope);
                    self.send(n, envelope);
                }
                Effect::Disk(request) => {
                    self.see_request(n, actor, &request);
                    let life = self.nodes[n].cells[actor].life;
                    let outcome = self.nodes[n].disk.submit((actor, life), request);
                    self.follow_disk(n, outcome);
                    self.see_disk_queue(n);
                }
                Effect::Publish(fact) => {
                    self.see_fact(n, &fact);
                    for to in 0..self.nodes[n].cells.len() {
                        self.post(n, to, Mail::Fact(fact.clone()));
                    }
                }
                Effect::Count(count) => self.see_count(&count),
            }
        }
    }

    /// What follows from something that the disk did.
    pub(super) fn follow_disk(&mut self, n: usize, outcome: Outcome) {
        self.judge_damage(n);
        for ((actor, life), feedback) in outcome.answers {
            self.see_feedback(n, actor, &feedback);
            let flushed = match &feedback {
                Feedback::Flushed { through, .. } => Some(*through),
                _ => None,
            };
            self.post(n, actor, Mail::Feedback(life, Box::new(feedback)));
            if let Some(through) = flushed {
                self.strike(n, u32::try_from(actor - FIRST_SHARD).expect("few shards"), through);
            }
        }
        let boot = self.nodes[n].boot;
        for (us, turn) in outcome.turns {
            self.schedule.after(us, Job::Disk { node: n, boot, turn });
        }
    }

    /// Puts something into an actor's mailbox: it is taken out in the order that it came.
    pub(crate) fn post(&mut self, n: usize, actor: usize, mail: Mail) {
        let now = self.schedule.now();
        let node = &mut self.nodes[n];
        let at = (now + 1 + node.grey_us).max(node.last_local);
        node.last_local = at;
        self.post_at(n, actor, at, mail);
    }

    /// Something arrives in an actor's mailbox at a time.
    pub(super) fn post_at(&mut self, n: usize, actor: usize, at: u64, mail: Mail) {
        let node = &mut self.nodes[n];
        let boot = node.boot;
        node.cells[actor].queued += 1;
        self.schedule.at(at, Job::Mail { node: n, boot, actor, mail });
    }
}
