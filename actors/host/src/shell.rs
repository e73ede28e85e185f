//! What the host needs of the node around it: where effects go, and what time it is.

use anser_machine::{Count, DiskRequest, Fact, Now};
use anser_proto::{Envelope, Role};

/// The node around an actor. Called on arbiter threads, and never waits: each call hands over and returns.
pub trait Shell: Send + Sync + 'static {
    /// Routes messages: one call a drain. Also called by [`crate::Handle::deliver`], on the deliverer's thread, with the
    /// refusals of requests without room; those are never refused themselves.
    fn send(&self, batch: Vec<Envelope>);

    /// Hands requests to the disk, in order: one call a drain. The answers come by [`crate::Handle::feed`] with the same
    /// `life`.
    fn disk(&self, role: Role, slot: u32, life: u32, batch: Vec<DiskRequest>);

    /// Tells every actor of this node, by [`crate::Handle::tell`].
    fn publish(&self, fact: Fact);

    /// Counts something.
    fn count(&self, role: Role, count: Count);

    /// What time it is. The tick may not run backwards.
    fn now(&self) -> Now;
}
