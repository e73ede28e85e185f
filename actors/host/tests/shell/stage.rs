//! Where actors are: stepped by hand, or hosted. A cluster is driven the same way on either.

use anser_host::{Factory, HostConfig};
use anser_machine::{Count, DiskRequest, Fact, Feedback, Now};
use anser_proto::{Body, Envelope, Refusal, Tick};
use std::fmt;

/// The first tick; not 0, so that times before it can be told of.
const TICK_START_MS: u64 = 10_000;
/// The wall clock's reading at the beginning, in milliseconds.
const WALL_START_MS: u64 = 1_700_000_000_000;

/// A node, and one of its actors.
pub type Place = (usize, usize);

/// What time it is at a millisecond of virtual time.
pub fn now_at(ms: u64) -> Now {
    Now { tick: Tick((TICK_START_MS + ms) * 1000), wall_ms: WALL_START_MS + ms }
}

/// The first millisecond at which a tick has come.
pub fn ms_of(tick: Tick) -> u64 {
    tick.0.div_ceil(1000).saturating_sub(TICK_START_MS)
}

/// What is handed to an actor, in one call.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Messages.
    Deliver(Vec<Envelope>),
    /// Answers of the disk, to the machine of a life.
    Feed(u32, Vec<Feedback>),
    /// A fact.
    Tell(Fact),
}

/// What an actor wants done.
#[allow(clippy::large_enum_variant, reason = "most are envelopes")]
#[derive(Clone)]
pub enum Call {
    Publish(Fact),
    Count(Count),
    /// With the life that asks.
    Disk(u32, DiskRequest),
    Send(Envelope),
}

impl Call {
    /// The host hands over each kind of a drain at once, so the order across kinds is not kept.
    pub fn kind(&self) -> u8 {
        match self {
            Call::Publish(_) | Call::Count(_) => 0,
            Call::Disk(..) => 1,
            Call::Send(_) => 2,
        }
    }

    /// Whether it is an answer for a crashed machine to somebody who waits no more: a host may have forgotten that request.
    pub fn is_moot(&self, ms: u64) -> bool {
        match self {
            Call::Send(Envelope { body: Body::Refused(Refusal::Crashed), deadline, .. }) => {
                *deadline < now_at(ms).tick
            }
            Call::Send(_) | Call::Publish(_) | Call::Count(_) | Call::Disk(..) => false,
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Publish(fact) => write!(f, "{fact:?}"),
            Call::Count(count) => write!(f, "{count:?}"),
            Call::Disk(life, request) => write!(f, "life {life}: {request:?}"),
            Call::Send(envelope) => write!(f, "{envelope:?}"),
        }
    }
}

/// Something that an actor wanted done, and when.
#[derive(Debug)]
pub struct Said {
    pub ms: u64,
    pub place: Place,
    pub call: Call,
}

/// See the module. Time is in milliseconds since the beginning.
pub trait Stage {
    /// Puts an actor in its place.
    fn start(&mut self, place: Place, config: HostConfig, factory: Factory);

    /// Ends a node's actors at once. They say nothing more.
    fn crash(&mut self, node: usize);

    /// Hands something to an actor.
    fn hand(&mut self, place: Place, entry: Entry);

    /// Lets time pass until `until`, or until the millisecond after one in which something was said. What was due by then
    /// has happened.
    fn wait(&mut self, until: u64) -> impl Future<Output = u64>;

    /// Takes what was said before a millisecond.
    fn take(&mut self, before: u64) -> Vec<Said>;

    /// The rebuilds of an actor's machine.
    fn restarts(&self, place: Place) -> u64;
}

/// Takes out what was said before a millisecond: by time, place and kind, each in its order.
pub fn take_before(said: &mut Vec<Said>, before: u64) -> Vec<Said> {
    let (mut taken, kept): (Vec<Said>, Vec<Said>) =
        std::mem::take(said).into_iter().partition(|said| said.ms < before);
    *said = kept;
    taken.sort_by_key(|said| (said.ms, said.place, said.call.kind()));
    taken
}
