//! A peer and its three links: control, data, bulk. A link is a queue and at most one connection that drains it.
//!
//! Keeps: of the connections that two nodes dial for one purpose, both keep the same one: that of the smaller node id.

use crate::lane::Life;
use crate::network::Limits;
use crate::queue::Queue;
use anser_model::NodeId;
use anser_proto::hello::Purpose;
use quinn::Connection;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Waits between failed dials, in milliseconds: they double from the first to the last.
pub(crate) const BACKOFF_MIN_MS: u64 = 50;
const BACKOFF_MAX_MS: u64 = 2000;
const BACKOFF_DOUBLINGS_MAX: u32 = 6;
/// From this age on a connection is no longer one of two dialled at the same time.
const SETTLED_MS: u64 = 2000;

/// Another node.
pub(crate) struct Peer {
    pub node: NodeId,
    address: Mutex<Option<SocketAddr>>,
    bulk_port: AtomicU16,
    pub control: Arc<Link>,
    pub data: Arc<Link>,
    pub bulk: Arc<Link>,
}

/// One purpose's queue and connection.
pub(crate) struct Link {
    pub purpose: Purpose,
    pub queue: Arc<Queue>,
    state: Mutex<LinkState>,
    connected: AtomicBool,
    /// Whether a task dials.
    pub dialling: AtomicBool,
    /// Whether a connection is wanted though nothing is queued.
    pub wanted: AtomicBool,
    /// A connection was installed.
    pub installed: Notify,
}

#[derive(Default)]
struct LinkState {
    kept: Option<Kept>,
    failures: u32,
    not_before: Option<Instant>,
}

/// The connection that a link sends on.
#[derive(Clone)]
pub(crate) struct Kept {
    pub connection: Connection,
    pub life: Arc<Life>,
    pub dialled_by: NodeId,
    pub boot: u64,
    pub since: Instant,
}

/// What became of a new connection.
pub(crate) enum Installed {
    /// It is the one to send on.
    Kept {
        /// The one before.
        before: Option<Kept>,
        /// Whether that one's other end is another process.
        restarted: bool,
    },
    /// Another one stays; this one is only read from, and closed soon.
    Lingers,
}

/// What of two connections decides between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    by_smaller: bool,
    boot: u64,
    settled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Newer,
    NewerOfOtherProcess,
    Older,
}

/// Which of two connections to one peer for one purpose is kept.
///
/// Two dialled at the same time: that of the smaller node. Otherwise the newer: nobody dials who has one already, so the
/// other end has lost the older, or is another process.
fn choose(older: Standing, newer: Standing) -> Choice {
    if older.boot != newer.boot {
        Choice::NewerOfOtherProcess
    } else if older.by_smaller && !newer.by_smaller && !older.settled {
        Choice::Older
    } else {
        Choice::Newer
    }
}

impl Peer {
    pub fn new(node: NodeId, limits: &Limits) -> Peer {
        let lane = |purpose| Arc::new(Link::new(purpose, limits.lane_messages_max, limits.lane_bytes_max));
        Peer {
            node,
            address: Mutex::new(None),
            bulk_port: AtomicU16::new(0),
            control: lane(Purpose::Control),
            data: lane(Purpose::Data),
            bulk: Arc::new(Link::new(Purpose::Bulk, limits.bulk_messages_max, limits.bulk_bytes_max)),
        }
    }

    pub fn links(&self) -> [&Arc<Link>; 3] {
        [&self.control, &self.data, &self.bulk]
    }

    /// Where to dial for a purpose, if known.
    pub fn address(&self, purpose: Purpose) -> Option<SocketAddr> {
        let address = (*self.address.lock().unwrap_or_else(PoisonError::into_inner))?;
        match (purpose, self.bulk_port.load(Ordering::Relaxed)) {
            (Purpose::Bulk, 0) => None,
            (Purpose::Bulk, port) => Some(SocketAddr::new(address.ip(), port)),
            (Purpose::Control | Purpose::Data | Purpose::Session, _) => Some(address),
        }
    }

    /// It listens here. Whether that is news.
    pub fn set_address(&self, address: SocketAddr) -> bool {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).replace(address) != Some(address)
    }

    /// It dialled from here: where it listens, unless we were told better.
    pub fn suggest_address(&self, address: SocketAddr) {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(address);
    }

    pub fn set_bulk_port(&self, port: u16) {
        self.bulk_port.store(port, Ordering::Relaxed);
    }
}

impl Link {
    fn new(purpose: Purpose, messages_max: usize, bytes_max: usize) -> Link {
        Link {
            purpose,
            queue: Arc::new(Queue::new(messages_max, bytes_max)),
            state: Mutex::default(),
            connected: AtomicBool::new(false),
            dialling: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            installed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// The connection that is sent on.
    pub fn kept(&self) -> Option<Kept> {
        self.lock().kept.clone()
    }

    /// Takes a connection that is up, or tells that another one stays.
    pub fn install(&self, new: Kept, me: NodeId, peer: NodeId) -> Installed {
        let standing = |kept: &Kept| Standing {
            by_smaller: kept.dialled_by == me.min(peer),
            boot: kept.boot,
            settled: kept.since.elapsed() >= Duration::from_millis(SETTLED_MS),
        };
        let mut state = self.lock();
        let open = state.kept.as_ref().filter(|kept| kept.connection.close_reason().is_none());
        let choice = open.map_or(Choice::Newer, |kept| choose(standing(kept), standing(&new)));
        let restarted = match choice {
            Choice::Older => return Installed::Lingers,
            Choice::Newer => false,
            Choice::NewerOfOtherProcess => true,
        };
        let before = state.kept.replace(new);
        state.failures = 0;
        // Should it end at once, the next dial is not at once.
        state.not_before = Some(Instant::now() + Duration::from_millis(BACKOFF_MIN_MS));
        self.connected.store(true, Ordering::Release);
        drop(state);
        self.installed.notify_waiters();
        Installed::Kept { before, restarted }
    }

    /// A connection is gone. Whether it was the one sent on.
    pub fn uninstall(&self, connection: &Connection) -> bool {
        let mut state = self.lock();
        let is_kept =
            state.kept.as_ref().is_some_and(|kept| kept.connection.stable_id() == connection.stable_id());
        if is_kept {
            state.kept = None;
            self.connected.store(false, Ordering::Release);
        }
        is_kept
    }

    /// A dial failed: the next one waits.
    pub fn note_failure(&self) {
        let mut state = self.lock();
        let wait_ms = backoff_ms(state.failures);
        let jitter_ms = fastrand::u64(0..=wait_ms / 2);
        state.failures = state.failures.saturating_add(1);
        state.not_before = Some(Instant::now() + Duration::from_millis(wait_ms - jitter_ms));
    }

    /// How long the next dial has to wait.
    pub fn wait(&self) -> Duration {
        let not_before = self.lock().not_before;
        not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Waits until a connection is installed, so long at most.
    pub async fn installed_or(&self, most: Duration) {
        let _ = tokio::time::timeout(most, self.installed.notified()).await;
    }

    /// Forgets the failures: there is a reason to try at once.
    pub fn forget_failures(&self) {
        let mut state = self.lock();
        state.failures = 0;
        state.not_before = None;
    }
}

fn backoff_ms(failures: u32) -> u64 {
    (BACKOFF_MIN_MS << failures.min(BACKOFF_DOUBLINGS_MAX)).min(BACKOFF_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_dialled_at_once_both_ends_keep_that_of_the_smaller_node() {
        let standing = |by_smaller, boot, settled| Standing { by_smaller, boot, settled };
        let new = |by_smaller| standing(by_smaller, 1, false);
        let cases = [
            (standing(true, 1, false), new(false), Choice::Older),
            (standing(false, 1, false), new(true), Choice::Newer),
            (standing(true, 1, false), new(true), Choice::Newer),
            (standing(false, 1, false), new(false), Choice::Newer),
            (standing(true, 1, true), new(false), Choice::Newer),
            (standing(false, 1, true), new(true), Choice::Newer),
            (standing(true, 7, false), new(false), Choice::NewerOfOtherProcess),
            (standing(true, 7, true), new(true), Choice::NewerOfOtherProcess),
        ];
        for (older, newer, expected) in cases {
            assert_eq!(choose(older, newer), expected, "{older:?} {newer:?}");
        }
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let waits: Vec<u64> = (0..8).map(backoff_ms).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(backoff_ms(u32::MAX), 2000);
    }
}
