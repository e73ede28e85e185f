//! What a machine wants done.

use crate::count::Count;
use crate::disk::DiskRequest;
use crate::event::Fact;
use alloc::vec::Vec;
use anser_proto::Envelope;

/// One thing to be done.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are envelopes, and boxing each would cost more than it saves"
)]
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send a message. To the own node it goes to a mailbox, to another over QUIC, to a session to the client.
    Send(Envelope),
    /// Ask the disk.
    Disk(DiskRequest),
    /// Tell every actor of this node.
    Publish(Fact),
    /// Count something.
    Count(Count),
}

/// The effects of one step, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    effects: Vec<Effect>,
}

impl Outbox {
    /// An empty one.
    pub fn new() -> Outbox {
        Outbox::default()
    }

    /// Sends a message.
    pub fn send(&mut self, envelope: Envelope) {
        self.effects.push(Effect::Send(envelope));
    }

    /// Asks the disk.
    pub fn disk(&mut self, request: DiskRequest) {
        self.effects.push(Effect::Disk(request));
    }

    /// Tells every actor of this node.
    pub fn publish(&mut self, fact: Fact) {
        self.effects.push(Effect::Publish(fact));
    }

    /// Counts something.
    pub fn count(&mut self, count: Count) {
        self.effects.push(Effect::Count(count));
    }

    /// How many effects it holds.
    pub fn len(&self) -> usize {
        self.effects.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// Forgets all effects from the `len`-th on: those of a step that panicked.
    pub fn truncate(&mut self, len: usize) {
        self.effects.truncate(len);
    }

    /// Takes the effects out, in order; the room they took stays for the next.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.effects.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Room;

    #[test]
    fn the_effects_of_a_step_that_panicked_are_taken_back_and_no_others() {
        let mut out = Outbox::new();
        assert!(out.is_empty());
        out.count(Count::ReadRepair);
        out.publish(Fact::RoomChanged(Room::default()));
        let before = out.len();
        out.publish(Fact::RoomChanged(Room::default()));
        out.truncate(before);
        assert!(!out.is_empty());
        let effects: Vec<Effect> = out.drain().collect();
        assert!(
            matches!(effects[..], [Effect::Count(Count::ReadRepair), Effect::Publish(Fact::RoomChanged(_))]),
            "{effects:?}"
        );
        assert!(out.is_empty());
    }
}
