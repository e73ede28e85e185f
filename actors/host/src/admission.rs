//! Admission: who may enter a mailbox. actix mailboxes push back on nobody, so room is counted here, before sending.
//!
//! Keeps: a request is let in together with room for itself until it is answered; replies are never refused. Every kind
//! has a bound: what is not a request and has no room is dropped, as a network might.

use anser_proto::{Body, Envelope, Refusal};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Gossip messages that wait in one mailbox at most; gossip is repeated, so the surplus is dropped.
pub(crate) const GOSSIP_QUEUED_MAX: usize = 1024;
/// Replies that wait in one mailbox at most. An actor gets no more replies than it asked for, so only a peer gone wild
/// meets this; a dropped reply is like one that the network lost.
pub(crate) const REPLIES_QUEUED_MAX: usize = 64 * 1024;

/// What an envelope is to admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Admitted by count and bytes.
    Request,
    /// Dropped when too many wait.
    Gossip,
    /// Never refused.
    Reply,
}

/// What became of an envelope at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It may enter.
    Admitted,
    /// A request without room: answer that it is busy.
    Refused,
    /// Not a request, without room.
    Dropped,
}

/// The room of one mailbox and of the machine behind it.
#[derive(Debug)]
pub(crate) struct Door {
    requests: AtomicUsize,
    request_bytes: AtomicUsize,
    gossip: AtomicUsize,
    replies: AtomicUsize,
    requests_max: usize,
    request_bytes_max: usize,
    closed: AtomicBool,
}

/// Room that was left, to be given back at once for a whole drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freed {
    /// Requests answered.
    pub(crate) requests: usize,
    /// Their bytes.
    pub(crate) request_bytes: usize,
    /// Gossip taken from the mailbox.
    pub(crate) gossip: usize,
    /// Replies taken from the mailbox.
    pub(crate) replies: usize,
}

impl Door {
    /// A door to an empty mailbox.
    pub(crate) fn new(requests_max: usize, request_bytes_max: usize) -> Door {
        Door {
            requests: AtomicUsize::new(0),
            request_bytes: AtomicUsize::new(0),
            gossip: AtomicUsize::new(0),
            replies: AtomicUsize::new(0),
            requests_max,
            request_bytes_max,
            closed: AtomicBool::new(false),
        }
    }

    /// Lets no more requests in: what is inside is finished, and then the actor goes.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// Whether no more requests are let in, whatever room there is.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Lets an envelope in, if there is room.
    pub(crate) fn enter(&self, envelope: &Envelope) -> Entry {
        match lane(&envelope.body) {
            Lane::Request => {
                if self.is_closed() || !take(&self.requests, 1, self.requests_max) {
                    return Entry::Refused;
                }
                if !take(&self.request_bytes, request_bytes(envelope), self.request_bytes_max) {
                    self.requests.fetch_sub(1, Relaxed);
                    return Entry::Refused;
                }
                Entry::Admitted
            }
            Lane::Gossip if take(&self.gossip, 1, GOSSIP_QUEUED_MAX) => Entry::Admitted,
            Lane::Reply if take(&self.replies, 1, REPLIES_QUEUED_MAX) => Entry::Admitted,
            Lane::Gossip | Lane::Reply => Entry::Dropped,
        }
    }

    /// Takes back room that was left.
    pub(crate) fn free(&self, freed: Freed) {
        let counts = [
            (&self.requests, freed.requests),
            (&self.request_bytes, freed.request_bytes),
            (&self.gossip, freed.gossip),
            (&self.replies, freed.replies),
        ];
        for (held, freed) in counts {
            if freed > 0 {
                held.fetch_sub(freed, Relaxed);
            }
        }
    }

    /// Requests inside.
    pub(crate) fn requests(&self) -> (usize, usize) {
        (self.requests.load(Relaxed), self.request_bytes.load(Relaxed))
    }
}

/// Takes room if there is enough. Two takers at once may both be told no where one would fit; never both yes.
fn take(held: &AtomicUsize, wanted: usize, max: usize) -> bool {
    let before = held.fetch_add(wanted, Relaxed);
    let fits = before.checked_add(wanted).is_some_and(|after| after <= max);
    if !fits {
        held.fetch_sub(wanted, Relaxed);
    }
    fits
}

/// What an envelope is to admission.
pub(crate) fn lane(body: &Body) -> Lane {
    match body {
        Body::Gossip(_) => Lane::Gossip,
        body if body.is_request() => Lane::Request,
        Body::Replicate(_)
        | Body::ForwardPut(_)
        | Body::Client(_)
        | Body::Admin(_)
        | Body::Replicated(_)
        | Body::ForwardPutReply(_)
        | Body::ClientReply(_)
        | Body::AdminReply(_)
        | Body::Refused(_) => Lane::Reply,
    }
}

/// The room that a request takes.
pub(crate) fn request_bytes(envelope: &Envelope) -> usize {
    envelope.body.payload_bytes().saturating_add(size_of::<Envelope>())
}

/// The answer to a request that was not carried out.
pub(crate) fn refusal(request: &Envelope, why: Refusal) -> Envelope {
    Envelope {
        from: request.to,
        to: request.from,
        op: request.op,
        step: request.step,
        deadline: request.deadline,
        body: Body::Refused(why),
    }
}
