//! The requests that a machine was handed and has not answered: what its host answers when it panics.
//!
//! Keeps: an admitted request is answered by the machine or, if that panics, as `Crashed`: it may or may not have
//! happened. Only a request past its deadline, which nobody waits for any more, is forgotten.

use crate::admission::{Freed, request_bytes};
use anser_model::Step;
use anser_proto::replicate::ReplicaReply;
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Tick};
use std::collections::HashMap;

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    to: Address,
    step: Step,
    deadline: Tick,
    bytes: usize,
    copies: usize,
}

/// The requests that wait for their answers, by who asked and which operation of theirs it is.
#[derive(Debug, Default)]
pub(crate) struct Inflight {
    waiting: HashMap<(Address, OpId), Waiting>,
}

impl Inflight {
    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes a request that the machine is handed. The same one twice is noted twice.
    pub(crate) fn note(&mut self, request: &Envelope) {
        let waiting = self.waiting.entry((request.from, request.op)).or_insert(Waiting {
            to: request.to,
            step: request.step,
            deadline: request.deadline,
            bytes: 0,
            copies: 0,
        });
        waiting.bytes = waiting.bytes.saturating_add(request_bytes(request));
        waiting.deadline = waiting.deadline.max(request.deadline);
        waiting.copies += 1;
    }

    /// Notes what the machine sends; a last answer to a request frees its room.
    pub(crate) fn sent(&mut self, answer: &Envelope, freed: &mut Freed) {
        if self.waiting.is_empty() || !is_last_answer(&answer.body) {
            return;
        }
        let asked = (answer.to, answer.op);
        let Some(waiting) = self.waiting.get_mut(&asked) else { return };
        freed.requests += 1;
        if waiting.copies > 1 {
            waiting.copies -= 1;
        } else {
            freed.request_bytes += waiting.bytes;
            self.waiting.remove(&asked);
        }
    }

    /// Forgets the requests that nobody waits for any more, so that one a machine never answers can't hold room for ever.
    pub(crate) fn expire(&mut self, now: Tick, freed: &mut Freed) {
        self.waiting.retain(|_, waiting| {
            let kept = waiting.deadline >= now;
            if !kept {
                freed.requests += waiting.copies;
                freed.request_bytes += waiting.bytes;
            }
            kept
        });
    }

    /// The answers for all that waited, when the machine is gone: by who asked, so that the same events are followed by the
    /// same answers.
    pub(crate) fn crash(&mut self, freed: &mut Freed) -> Vec<Envelope> {
        let mut answers = Vec::with_capacity(self.waiting.len());
        for ((from, op), waiting) in self.waiting.drain() {
            freed.requests += waiting.copies;
            freed.request_bytes += waiting.bytes;
            answers.push(Envelope {
                from: waiting.to,
                to: from,
                op,
                step: waiting.step,
                deadline: waiting.deadline,
                body: Body::Refused(Refusal::Crashed),
            });
        }
        answers.sort_unstable_by_key(|answer| (answer.to, answer.op));
        answers
    }
}

/// Whether no other answer to the same request follows this message.
fn is_last_answer(body: &Body) -> bool {
    match body {
        // A mint is answered twice: `Minted`, then `Durable` or `Held`.
        Body::Replicated(ReplicaReply::Minted { .. }) | Body::Gossip(_) => false,
        Body::Replicated(
            ReplicaReply::Durable
            | ReplicaReply::Held
            | ReplicaReply::State { .. }
            | ReplicaReply::Digest { .. }
            | ReplicaReply::Page { .. },
        )
        | Body::ForwardPutReply(_)
        | Body::ClientReply(_)
        | Body::AdminReply(_)
        | Body::Refused(_) => true,
        Body::Replicate(_) | Body::ForwardPut(_) | Body::Client(_) | Body::Admin(_) => false,
    }
}
