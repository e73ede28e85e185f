//! What the host is told about one actor: who it is, its bounds, and how it is healed.

use anser_proto::Role;

/// Events after which an actor lets its arbiter's timers and other actors run.
const YIELD_EVERY: u32 = 64;
/// Requests that an actor holds at a time unless told otherwise.
const REQUESTS_MAX: usize = 4096;
/// Bytes of requests that an actor holds at a time unless told otherwise.
const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A drain that takes longer than this is stuck, unless told otherwise.
const WATCHDOG_AFTER_MS: u64 = 5000;

/// One actor's settings.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// What it does.
    pub role: Role,
    /// Its name in logs and metrics. Actors that share a name share their counters, and their gauges add up.
    pub name: String,
    /// Which one of its role: the shard of a replica, else 0.
    pub slot: u32,
    /// The first machine's life. Drawn at random when the process starts, so that late answers to a predecessor of the
    /// process are told apart too.
    pub life_first: u32,
    /// Requests it holds at a time, in its mailbox and unanswered in its machine; more are refused as busy.
    pub requests_max: usize,
    /// Bytes of requests it holds at a time; more are refused as busy.
    pub request_bytes_max: usize,
    /// Events after which it lets others on its arbiter run.
    pub yield_every: u32,
    /// How it is healed.
    pub restart: RestartPolicy,
    /// A drain (of at most `yield_every` events) that takes longer than this is stuck.
    pub watchdog_after_ms: u64,
}

/// How often and how fast a machine that panics is rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Pause before the first rebuild; doubles with each panic in the window.
    pub backoff_min_ms: u64,
    /// The longest pause.
    pub backoff_max_ms: u64,
    /// With more panics than this in the window the actor counts as down, though it goes on being rebuilt.
    pub restarts_max: u32,
    /// The window.
    pub window_ms: u64,
}

impl HostConfig {
    /// The usual settings for one role; the name is the role's.
    pub fn new(role: Role, slot: u32) -> HostConfig {
        HostConfig {
            role,
            name: role.name().to_owned(),
            slot,
            life_first: 0,
            requests_max: REQUESTS_MAX,
            request_bytes_max: REQUEST_BYTES_MAX,
            yield_every: YIELD_EVERY,
            restart: RestartPolicy::default(),
            watchdog_after_ms: WATCHDOG_AFTER_MS,
        }
    }
}

impl Default for RestartPolicy {
    fn default() -> RestartPolicy {
        RestartPolicy { backoff_min_ms: 50, backoff_max_ms: 5000, restarts_max: 8, window_ms: 60_000 }
    }
}
