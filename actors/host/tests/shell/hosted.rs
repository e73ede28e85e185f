//! Actors in the host, all on one thread, in paused time.

use crate::stage::{Call, Entry, Place, Said, Stage, now_at, take_before};
use anser_host::runtime::{Arbiter, System};
use anser_host::{Factory, Handle, HostConfig, Shell, spawn};
use anser_machine::{Count, DiskRequest, Fact, Now};
use anser_proto::{Envelope, Role};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How often the driver lets the actors run before it looks at what they did: their timers go off in the same
/// millisecond as its own.
const TURNS: usize = 3;

/// What the actors say.
#[derive(Default)]
struct Log {
    said: Mutex<Vec<Said>>,
    bell: Notify,
}

/// The node around one actor: writes down what it is asked.
struct Desk {
    place: Place,
    begun: Instant,
    log: Arc<Log>,
    gone: AtomicBool,
}

impl Desk {
    fn ms(&self) -> u64 {
        ms_since(self.begun)
    }

    fn note(&self, calls: impl Iterator<Item = Call>) {
        if self.gone.load(Relaxed) {
            return;
        }
        let (ms, place) = (self.ms(), self.place);
        self.log.said.lock().unwrap().extend(calls.map(|call| Said { ms, place, call }));
        self.log.bell.notify_one();
    }
}

fn ms_since(begun: Instant) -> u64 {
    let us = begun.elapsed().as_micros() as u64;
    assert_eq!(us % 1000, 0, "whatever happens does so at a whole millisecond");
    us / 1000
}

impl Shell for Desk {
    fn send(&self, batch: Vec<Envelope>) {
        self.note(batch.into_iter().map(Call::Send));
    }

    fn disk(&self, _: Role, _: u32, life: u32, batch: Vec<DiskRequest>) {
        self.note(batch.into_iter().map(|request| Call::Disk(life, request)));
    }

    fn publish(&self, fact: Fact) {
        self.note([Call::Publish(fact)].into_iter());
    }

    fn count(&self, _: Role, count: Count) {
        self.note([Call::Count(count)].into_iter());
    }

    fn now(&self) -> Now {
        now_at(self.ms())
    }
}

/// See the module.
pub struct Hosted {
    begun: Instant,
    log: Arc<Log>,
    actors: BTreeMap<Place, (Handle, Arc<Desk>)>,
}

impl Hosted {
    /// Runs a story in a runtime of its own.
    pub fn run<T>(story: impl AsyncFnOnce(Hosted) -> T) -> T {
        let system = System::with_tokio_rt(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().start_paused(true).build().unwrap()
        });
        system.block_on(async {
            story(Hosted { begun: Instant::now(), log: Arc::default(), actors: BTreeMap::new() }).await
        })
    }
}

impl Stage for Hosted {
    fn start(&mut self, place: Place, config: HostConfig, factory: Factory) {
        let (log, gone) = (self.log.clone(), AtomicBool::new(false));
        let desk = Arc::new(Desk { place, begun: self.begun, log, gone });
        let handle = spawn(&Arbiter::current(), config, factory, desk.clone() as Arc<dyn Shell>);
        self.actors.insert(place, (handle, desk));
    }

    fn crash(&mut self, node: usize) {
        self.actors.retain(|place, (handle, desk)| {
            if place.0 == node {
                desk.gone.store(true, Relaxed);
                handle.stop();
            }
            place.0 != node
        });
    }

    fn hand(&mut self, place: Place, entry: Entry) {
        let (handle, _) = &self.actors[&place];
        match entry {
            Entry::Deliver(batch) => handle.deliver(batch),
            Entry::Feed(life, batch) => handle.feed(life, batch),
            Entry::Tell(fact) => handle.tell(fact),
        }
    }

    async fn wait(&mut self, until: u64) -> u64 {
        loop {
            let now = ms_since(self.begun);
            let quiet = self.log.said.lock().unwrap().is_empty();
            let until = if quiet { until } else { until.min(now + 1) };
            tokio::select! {
                biased;
                () = sleep_until(self.begun + Duration::from_millis(until)) => break,
                () = self.log.bell.notified() => {}
            }
        }
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        ms_since(self.begun)
    }

    fn take(&mut self, before: u64) -> Vec<Said> {
        take_before(&mut self.log.said.lock().unwrap(), before)
    }

    fn restarts(&self, place: Place) -> u64 {
        self.actors[&place].0.status().restarts
    }
}
