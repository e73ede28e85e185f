//! The watchdog: a thread of its own, since a stuck handler holds its arbiter's. It keeps the gauges, and notices actors
//! whose drain takes too long. What to do about them is the node's decision.

use crate::handle::Handle;
use crate::meter::Gauges;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How often it looks.
const LOOK_EVERY_MS: u64 = 100;

/// A running watchdog. It ends when this is dropped.
pub struct Watchdog {
    leash: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches these actors. `stuck` is called, on the watchdog's thread, each time one is found stuck that was not before.
    pub fn start(handles: Vec<Handle>, stuck: impl Fn(&Handle) + Send + 'static) -> io::Result<Watchdog> {
        let (leash, slack) = channel();
        let mut watched: Vec<(Handle, Gauges, bool)> =
            handles.into_iter().map(|handle| (handle.clone(), Gauges::new(handle.name()), false)).collect();
        let thread = Builder::new().name("watchdog".to_owned()).spawn(move || {
            while slack.recv_timeout(Duration::from_millis(LOOK_EVERY_MS)) == Err(RecvTimeoutError::Timeout) {
                for (handle, gauges, was_stuck) in &mut watched {
                    look(handle, gauges, was_stuck, &stuck);
                }
            }
        })?;
        Ok(Watchdog { leash: Some(leash), thread: Some(thread) })
    }

    /// Whether its thread still runs.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.leash.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watchdog panicked");
        }
    }
}

/// One look at one actor.
fn look(handle: &Handle, gauges: &mut Gauges, was_stuck: &mut bool, stuck: &impl Fn(&Handle)) {
    let status = handle.status();
    gauges.set(status.mailbox_depth, status.up && !status.stuck);
    if status.stuck && !*was_stuck {
        tracing::error!(actor = handle.name(), slot = handle.slot(), "an actor is stuck in a step");
        stuck(handle);
    }
    *was_stuck = status.stuck;
}
