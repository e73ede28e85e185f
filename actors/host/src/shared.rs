//! What an actor and the holders of its handle both see: room, stamps and notices, none of them a machine's state.

use crate::admission::Door;
use crate::config::HostConfig;
use crate::facts::Facts;
use crate::shell::Shell;
use anser_proto::Tick;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Seen by an actor and the holders of its handle.
pub(crate) struct Shared {
    pub(crate) config: HostConfig,
    pub(crate) shell: Arc<dyn Shell>,
    pub(crate) door: Door,
    /// Events that wait in the mailbox.
    pub(crate) depth: AtomicU64,
    /// The machine's life; it grows with each rebuild.
    pub(crate) life: AtomicU32,
    /// Rebuilds so far.
    pub(crate) restarts: AtomicU64,
    /// Whether a machine is there and was not stopped.
    pub(crate) running: AtomicBool,
    /// Whether it was stopped for good.
    pub(crate) stopped: AtomicBool,
    /// Rung at the stop, so that a pause before a rebuild ends at once.
    pub(crate) bell: Notify,
    /// Microseconds; until then it counts as down, for it panicked too often.
    down_until_us: AtomicU64,
    /// Microseconds; when the drain that runs now began, 0 if none does.
    busy_since_us: AtomicU64,
    last_panic: Mutex<Option<String>>,
    bulletin: Mutex<Facts>,
    #[cfg(feature = "faults")]
    pub(crate) panic_next: AtomicBool,
}

impl Shared {
    /// Before the first machine is built.
    pub(crate) fn new(config: HostConfig, shell: Arc<dyn Shell>) -> Shared {
        Shared {
            door: Door::new(config.requests_max, config.request_bytes_max),
            depth: AtomicU64::new(0),
            life: AtomicU32::new(config.life_first),
            restarts: AtomicU64::new(0),
            running: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            bell: Notify::new(),
            down_until_us: AtomicU64::new(0),
            busy_since_us: AtomicU64::new(0),
            last_panic: Mutex::new(None),
            bulletin: Mutex::new(Facts::default()),
            #[cfg(feature = "faults")]
            panic_next: AtomicBool::new(false),
            config,
            shell,
        }
    }

    /// A drain begins.
    pub(crate) fn begin(&self, now: Tick) {
        self.busy_since_us.store(now.0.max(1), Relaxed);
    }

    /// The drain ended.
    pub(crate) fn end(&self) {
        self.busy_since_us.store(0, Relaxed);
    }

    /// For how long the drain that runs now has taken, if one runs.
    pub(crate) fn busy_us(&self, now: Tick) -> Option<u64> {
        let since = self.busy_since_us.load(Relaxed);
        (since != 0).then(|| now.since_us(Tick(since)))
    }

    /// Counts as down until then.
    pub(crate) fn down_until(&self, until: Tick) {
        self.down_until_us.store(until.0, Relaxed);
    }

    /// Whether it panicked too often of late.
    pub(crate) fn is_down(&self, now: Tick) -> bool {
        now.0 < self.down_until_us.load(Relaxed)
    }

    /// What the last panic said.
    pub(crate) fn last_panic(&self) -> MutexGuard<'_, Option<String>> {
        self.last_panic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Facts that the actor has not been told yet.
    pub(crate) fn bulletin(&self) -> MutexGuard<'_, Facts> {
        self.bulletin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
