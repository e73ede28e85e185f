//! The actor: takes messages from its mailbox, has the machine take steps, carries out their effects, and heals it.
//!
//! Keeps: the effects of a step that panicked are never carried out, those of the steps before it always are; messages
//! behind the one that panicked are answered by the rebuilt machine; nothing that can panic runs outside `guard`, since
//! actix restarts no actor whose handler unwinds. Deliberately absent: a future or a timer for each request, which actix
//! would poll at every wake.

use crate::admission::Freed;
use crate::batch::{Batch, Delivery};
use crate::config::HostConfig;
use crate::facts::Facts;
use crate::handle::Handle;
use crate::inflight::Inflight;
use crate::meter::Meter;
use crate::shared::Shared;
use crate::shell::Shell;
use crate::supervision::{Cause, RestartBook};
use crate::unwind::{guard, install_hook};
use actix::fut::{ActorFutureExt, wrap_future};
use actix::{Actor, AsyncContext, Context, Handler, SpawnHandle, Supervised, Supervisor};
use actix_rt::ArbiterHandle;
use anser_machine::{Fact, Machine, Outbox};
use anser_proto::Tick;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// The shortest sleep until a timeout: a machine that always wants one at once can't spin.
const TIMER_FLOOR_US: u64 = 1000;
/// The longest; a timeout further off costs a wake-up an hour.
const TIMER_CEILING_US: u64 = 3_600_000_000;

/// Builds the machine of a life.
pub type Factory = Arc<dyn Fn(u32) -> Box<dyn Machine> + Send + Sync>;

/// Hosts one machine. The drains are in `drain`, what follows a panic is in `healing`.
pub(crate) struct Host {
    pub(crate) shared: Arc<Shared>,
    pub(crate) factory: Factory,
    pub(crate) machine: Option<Box<dyn Machine>>,
    pub(crate) life: u32,
    pub(crate) batch: Batch,
    /// Events of the batch that were taken and are not yet off the mailbox's depth.
    pub(crate) taken: u64,
    /// Events until it yields.
    pub(crate) budget: u32,
    pub(crate) nudged: bool,
    pub(crate) out: Outbox,
    /// Effects of completed steps.
    pub(crate) done: usize,
    /// What a panic now would be blamed on.
    pub(crate) doing: Cause,
    pub(crate) inflight: Inflight,
    pub(crate) freed: Freed,
    pub(crate) expire_at: Tick,
    pub(crate) facts: Facts,
    pub(crate) timer: Option<(Tick, SpawnHandle)>,
    pub(crate) book: RestartBook,
    pub(crate) pause_ms: u64,
    pub(crate) meter: Meter,
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
                self.arm(now, begun, wish, ctx);
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

    /// Sees to it that the machine's next timeout is met, with one timer, which is left alone if it goes off early enough.
    /// `now` is the tick at which the drain had `begun`.
    fn arm(&mut self, now: Tick, begun: Instant, wish: Option<Tick>, ctx: &mut Context<Self>) {
        let Some(at) = wish else { return };
        if self.timer.is_some_and(|(armed, _)| armed <= at) {
            return;
        }
        if let Some((_, former)) = self.timer.take() {
            ctx.cancel_future(former);
        }
        let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let sleep_us = at.since_us(now).saturating_sub(took_us).clamp(TIMER_FLOOR_US, TIMER_CEILING_US);
        let timer = ctx.run_later(Duration::from_micros(sleep_us), |host, ctx| {
            host.timer = None;
            host.run(ctx);
        });
        self.timer = Some((at, timer));
    }
}
