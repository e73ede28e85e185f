//! What an actor's mailbox holds: many events in one message, since a message costs more than a step.

use actix::Message;
use anser_machine::{Event, Fact, Feedback};
use anser_proto::Envelope;

/// What the mailbox holds.
pub(crate) enum Delivery {
    /// Messages that were let in.
    Envelopes(Vec<Envelope>),
    /// Answers of the disk.
    Feedback {
        /// The life that asked.
        life: u32,
        /// The answers.
        batch: Vec<Feedback>,
    },
    /// There are facts on the bulletin.
    Facts,
    /// Stop for good.
    Stop,
    /// Take a step, if only for its own sake.
    #[cfg(feature = "faults")]
    Nudge,
}

impl Message for Delivery {
    type Result = ();
}

/// What is left of the message that is being handled. While it is not empty, the mailbox is not polled.
pub(crate) enum Batch {
    Envelopes(std::vec::IntoIter<Envelope>),
    Feedback(std::vec::IntoIter<Feedback>),
    Facts(std::vec::IntoIter<Fact>),
}

impl Batch {
    pub(crate) fn empty() -> Batch {
        Batch::Envelopes(Vec::new().into_iter())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Batch::Envelopes(rest) => rest.len(),
            Batch::Feedback(rest) => rest.len(),
            Batch::Facts(rest) => rest.len(),
        }
    }

    pub(crate) fn next(&mut self) -> Option<Event> {
        match self {
            Batch::Envelopes(rest) => rest.next().map(Event::Message),
            Batch::Feedback(rest) => rest.next().map(Event::Own),
            Batch::Facts(rest) => rest.next().map(Event::Fact),
        }
    }
}
