//! What a world tells a stage of what its actors do, in the order that they do it.

use crate::world::World;
use anser_machine::{DiskRequest, Fact, Feedback};
use anser_proto::Envelope;

/// One thing that an actor did, or that was done to it.
#[derive(Debug)]
pub(crate) enum Seen {
    /// An actor of a node says something.
    Said { node: usize, envelope: Box<Envelope> },
    /// An actor asks the disk.
    Asked { node: usize, actor: usize, request: DiskRequest },
    /// The disk answers.
    Answered { node: usize, actor: usize, feedback: Feedback },
    /// A node's actors are told a fact.
    Learnt { node: usize, fact: Fact },
    /// A step of an actor panicked.
    Panicked { node: usize, actor: usize },
}

impl World {
    /// Tells whoever watches.
    pub(crate) fn tell(&mut self, seen: impl FnOnce() -> Seen) {
        if let Some(told) = &mut self.seen {
            told.push(seen());
        }
    }
}
