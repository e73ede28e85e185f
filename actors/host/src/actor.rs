//! The actor: takes messages from its mailbox, has the machine take steps, carries out their effects, and heals it.
//!
//! Keeps: the effects of a step that panicked are never carried out, those of the steps before it always are; messages
//! behind the one that panicked are answered by the rebuilt machine; nothing that can panic runs outside `guard`, since
//! actix restarts no actor whose handler unwinds. Deliberately absent: a future or a timer for each request, which actix
//! would poll at every wake.

use crate::admission::{Freed, Lane, lane, refusal, request_bytes};
use crate::config::HostConfig;
use crate::facts::Facts;
use crate::handle::Handle;
use crate::inflight::Inflight;
use crate::meter::{self, Meter};
use crate::shared::Shared;
use crate::shell::Shell;
use crate::supervision::{Cause, RestartBook};
use crate::unwind::{guard, install_hook};
use actix::fut::{ActorFutureExt, wrap_future};
use actix::{
    Actor, ActorContext, AsyncContext, Context, Handler, Message, SpawnHandle, Supervised, Supervisor,
};
use actix_rt::ArbiterHandle;
use anser_machine::{DiskRequest, Effect, Event, Fact, Feedback, Machine, Now, Outbox};
use anser_proto::{Envelope, Refusal, Tick};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The shortest sleep until a timeout: a machine that always wants one at once can't spin.
const TIMER_FLOOR_US: u64 = 1000;
/// The longest; a timeout further off costs a wake-up an hour.
const TIMER_CEILING_US: u64 = 3_600_000_000;
/// How often requests past their deadlines are looked for.
const EXPIRE_EVERY_MS: u64 = 1000;

/// Builds the machine of a life.
pub type Factory = Arc<dyn Fn(u32) -> Box<dyn Machine> + Send + Sync>;

/// What the mailbox holds.
pub(crate) enum Delivery {
    /// Messages that were let in.
    Envelopes(Vec<Envelope>),
    /// Answers of the disk.
    Feedback {
        /// The life that asked.
        life: u32,
        /// The answers.
        batch: Vec<Feedback>,
    },
    /// There are facts on the bulletin.
    Facts,
    /// Stop for good.
    Stop,
    /// Take a step, if only for its own sake.
    #[cfg(feature = "faults")]
    Nudge,
}

impl Message for Delivery {
    type Result = ();
}

/// What is left of the message that is being handled. While it is not empty, the mailbox is not polled.
enum Batch {
    Envelopes(std::vec::IntoIter<Envelope>),
    Feedback(std::vec::IntoIter<Feedback>),
    Facts(std::vec::IntoIter<Fact>),
}

impl Batch {
    fn empty() -> Batch {
        Batch::Envelopes(Vec::new().into_iter())
    }

    fn len(&self) -> usize {
        match self {
            Batch::Envelopes(rest) => rest.len(),
            Batch::Feedback(rest) => rest.len(),
            Batch::Facts(rest) => rest.len(),
        }
    }

    fn next(&mut self) -> Option<Event> {
        match self {
            Batch::Envelopes(rest) => rest.next().map(Event::Message),
            Batch::Feedback(rest) => rest.next().map(Event::Own),
            Batch::Facts(rest) => rest.next().map(Event::Fact),
        }
    }
}

/// Hosts one machine.
pub(crate) struct Host {
    shared: Arc<Shared>,
    factory: Factory,
    machine: Option<Box<dyn Machine>>,
    life: u32,
    batch: Batch,
    /// Events of the batch that were taken and are not yet off the mailbox's depth.
    taken: u64,
    /// Events until it yields.
    budget: u32,
    nudged: bool,
    out: Outbox,
    /// Effects of completed steps.
    done: usize,
    /// What a panic now would be blamed on.
    doing: Cause,
    inflight: Inflight,
    freed: Freed,
    expire_at: Tick,
    facts: Facts,
    timer: Option<(Tick, SpawnHandle)>,
    book: RestartBook,
    pause_ms: u64,
    meter: Meter,
}

/// Starts an actor on an arbiter; its machine is built there. Metrics go to the recorder installed by then.
pub fn spawn(arbiter: &ArbiterHandle, config: HostConfig, factory: Factory, shell: Arc<dyn Shell>) -> Handle {
    install_hook();
    let meter = Meter::new(&config.name);
    let shared = Arc::new(Shared::new(config, shell));
    let host = Host {
        factory,
        machine: None,
        life: shared.config.life_first,
        batch: Batch::empty(),
        taken: 0,
        budget: shared.config.yield_every.max(1),
        nudged: false,
        out: Outbox::new(),
        done: 0,
        doing: Cause::Build,
        inflight: Inflight::default(),
        freed: Freed::default(),
        expire_at: Tick::default(),
        facts: Facts::default(),
        timer: None,
        book: RestartBook::default(),
        pause_ms: 0,
        meter,
        shared: Arc::clone(&shared),
    };
    let addr = Supervisor::start_in_arbiter(arbiter, move |_| host);
    Handle::new(shared, addr)
}

impl Actor for Host {
    type Context = Context<Self>;

    /// Called at the start and after each restart: builds the machine, after the pause that the supervision asked for.
    fn started(&mut self, ctx: &mut Self::Context) {
        if self.shared.stopped.load(Relaxed) {
            return;
        }
        if self.pause_ms == 0 {
            return self.build(ctx);
        }
        let shared = Arc::clone(&self.shared);
        let pause = Duration::from_millis(self.pause_ms);
        let paused = async move {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shared.bell.notified() => {}
            }
        };
        // The mailbox waits meanwhile, bounded by its door.
        ctx.wait(wrap_future(paused).map(|(), host: &mut Host, ctx: &mut Context<Host>| host.build(ctx)));
    }
}

impl Supervised for Host {
    /// The restart has cancelled the timer with everything else.
    fn restarting(&mut self, _: &mut Self::Context) {
        self.timer = None;
    }
}

impl Handler<Delivery> for Host {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, ctx: &mut Self::Context) {
        match delivery {
            Delivery::Envelopes(batch) => self.batch = Batch::Envelopes(batch.into_iter()),
            Delivery::Feedback { life, batch } if life == self.life => {
                self.batch = Batch::Feedback(batch.into_iter());
            }
            Delivery::Feedback { batch, .. } => self.taken += batch.len() as u64,
            Delivery::Facts => {
                let news = std::mem::take(&mut *self.shared.bulletin()).all();
                for fact in &news {
                    self.facts.learn(fact.clone());
                }
                self.facts.forget_events();
                // On the mailbox's depth they are one event, however many they are.
                self.shared.depth.fetch_sub(1, Relaxed);
                self.shared.depth.fetch_add(news.len() as u64, Relaxed);
                self.batch = Batch::Facts(news.into_iter());
            }
            Delivery::Stop => {}
            #[cfg(feature = "faults")]
            Delivery::Nudge => self.nudged = true,
        }
        self.run(ctx);
    }
}

impl Host {
    /// Builds the machine of this life and lets it take its first steps.
    fn build(&mut self, ctx: &mut Context<Self>) {
        if self.shared.stopped.load(Relaxed) {
            return self.run(ctx);
        }
        self.doing = Cause::Build;
        match guard(|| (self.factory)(self.life)) {
            Ok(machine) => {
                self.machine = Some(machine);
                self.shared.running.store(true, Relaxed);
                self.budget = self.shared.config.yield_every.max(1);
                self.run_with(self.facts.all(), ctx);
            }
            Err(said) => self.crash(&said, ctx),
        }
    }

    /// One drain.
    fn run(&mut self, ctx: &mut Context<Self>) {
        self.run_with(Vec::new(), ctx);
    }

    /// One drain, after the replay of facts.
    fn run_with(&mut self, replay: Vec<Fact>, ctx: &mut Context<Self>) {
        if self.shared.stopped.load(Relaxed) {
            self.halt();
            return;
        }
        let begun = Instant::now();
        let result = guard(|| {
            let now = self.shared.shell.now();
            self.shared.begin(now.tick);
            let wish = self.slice(now, replay);
            self.doing = Cause::Effects;
            self.carry_out();
            (now.tick, wish)
        });
        self.shared.end();
        self.meter.drained(begun.elapsed());
        self.settle();
        match result {
            Ok((now, wish)) => {
                self.arm(now, wish, ctx);
                if self.budget == 0 || self.batch.len() > 0 {
                    let turn = tokio::task::yield_now();
                    ctx.wait(wrap_future(turn).map(|(), host: &mut Host, ctx: &mut Context<Host>| {
                        host.budget = host.shared.config.yield_every.max(1);
                        host.run(ctx);
                    }));
                }
            }
            Err(said) => self.crash(&said, ctx),
        }
    }

    /// Steps up to the budget, timeouts at both ends. Gives when the host wants to be woken.
    fn slice(&mut self, now: Now, replay: Vec<Fact>) -> Option<Tick> {
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
        if self.inflight.is_empty() || self.expire_at <= now.tick {
            self.inflight.expire(now.tick, &mut self.freed);
            self.expire_at = now.tick.plus_ms(EXPIRE_EVERY_MS);
        }
    }

    /// Carries out the effects of the completed steps: one call to the shell for each kind.
    fn carry_out(&mut self) {
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
    fn settle(&mut self) {
        self.shared.door.free(std::mem::take(&mut self.freed));
        self.shared.depth.fetch_sub(std::mem::take(&mut self.taken), Relaxed);
    }

    /// Sees to it that the machine's next timeout is met, with one timer, which is left alone if it goes off early enough.
    fn arm(&mut self, now: Tick, wish: Option<Tick>, ctx: &mut Context<Self>) {
        let Some(at) = wish else { return };
        if self.timer.is_some_and(|(armed, _)| armed <= at) {
            return;
        }
        if let Some((_, former)) = self.timer.take() {
            ctx.cancel_future(former);
        }
        let sleep_us = at.since_us(now).clamp(TIMER_FLOOR_US, TIMER_CEILING_US);
        let timer = ctx.run_later(Duration::from_micros(sleep_us), |host, ctx| {
            host.timer = None;
            host.run(ctx);
        });
        self.timer = Some((at, timer));
    }

    /// After a panic: keeps what was completed, drops the machine, answers what it was handed, and restarts the actor.
    fn crash(&mut self, said: &str, ctx: &mut Context<Self>) {
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
    fn halt(&mut self) {
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

/// Panics if a test asked for it: inside the step, after its effects were pushed, which is the hardest place.
fn panic_if_told(shared: &Shared) {
    #[cfg(feature = "faults")]
    if shared.panic_next.load(Relaxed) && shared.panic_next.swap(false, Relaxed) {
        std::panic::panic_any("a fault was injected");
    }
    #[cfg(not(feature = "faults"))]
    let _ = shared;
}
