//! The way of every message: to an actor of the own node, over the network as a frame, or to a client. Every frame is
//! encoded and decoded as on the wire.

use super::cell::{Mail, refusal};
use super::network::Passage;
use super::node::{COORDINATOR, MEMBERSHIP, SHARDS};
use super::{Job, World};
use crate::coverage::{Injected, Situation};
use crate::disk::FIRST_SHARD;
use crate::schedule::{MS, SECOND};
use crate::stage::Seen;
use anser_proto::frame::{self, LENGTH_BYTES};
use anser_proto::replicate::ReplicaRequest;
use anser_proto::{Body, Envelope, Refusal, Role, Tick};
use bytes::Bytes;

/// Nearly all frames are smaller.
const FRAME_BYTES_MOSTLY: usize = 512;
/// Memory that frames are cut from: asking for it frame by frame takes longer than to write them.
const FRAMES_BYTES: usize = 16 * 1024;

/// The session of the operator who founds the cluster.
pub(crate) const OPERATOR: u32 = u32::MAX;

/// The actor that a message is for.
fn actor_of(role: Role, slot: u32) -> Option<usize> {
    match role {
        Role::Membership => Some(MEMBERSHIP),
        Role::Coordinator => Some(COORDINATOR),
        Role::Replica => {
            let partition = u16::try_from(slot).ok()?;
            Some(FIRST_SHARD + (u32::from(partition) % SHARDS) as usize)
        }
        Role::Hints | Role::Syncer | Role::Compactor | Role::Session => None,
    }
}

/// Whether a second copy of a message may arrive: streams double nothing, and these do no harm.
fn may_double(body: &Body) -> bool {
    match body {
        Body::Gossip(_) | Body::Replicated(_) => true,
        Body::Replicate(request) => !matches!(request, ReplicaRequest::MintVersion { .. }),
        Body::ForwardPut(_)
        | Body::ForwardPutReply(_)
        | Body::Client(_)
        | Body::ClientReply(_)
        | Body::Admin(_)
        | Body::AdminReply(_)
        | Body::Refused(_) => false,
    }
}

impl World {
    /// Sends what an actor of node `n` says.
    pub(super) fn send(&mut self, n: usize, envelope: Envelope) {
        self.tell(|| Seen::Said { node: n, envelope: Box::new(envelope.clone()) });
        if envelope.to.role == Role::Session {
            return self.send_to_session(n, &envelope);
        }
        if envelope.to.node == self.nodes[n].id() {
            return self.deliver(n, envelope);
        }
        let to = self.truth.node(&envelope.to.node);
        if matches!(envelope.body, Body::ForwardPut(_)) {
            self.coverage.sometimes(Situation::Forwarded);
        }
        let now = self.nodes[n].tick(self.schedule.now());
        let told = envelope.body.is_request() && self.nodes[n].dice.chance(self.network.not_sent);
        if !self.transmit(n, to, &envelope, now) && told {
            self.coverage.inject(Injected::NotSent);
            let us = self.nodes[n].dice.below(SECOND / 2);
            let refused = refusal(&envelope, Refusal::NotSent);
            if let Some(actor) = actor_of(refused.to.role, refused.to.slot) {
                let at = self.schedule.now() + us;
                self.post_at(n, actor, at, Mail::Message(Box::new(refused)));
            }
        }
    }

    /// Puts a message for this node into its actor's mailbox; what is for nobody here is refused.
    fn deliver(&mut self, n: usize, envelope: Envelope) {
        match actor_of(envelope.to.role, envelope.to.slot) {
            Some(actor) => self.post(n, actor, Mail::Message(Box::new(envelope))),
            None if envelope.body.is_request() => self.send(n, refusal(&envelope, Refusal::NotServing)),
            None => {}
        }
    }

    fn encode(&mut self, envelope: &Envelope, now: Tick) -> Bytes {
        if self.buffer.capacity() < FRAME_BYTES_MOSTLY {
            self.buffer.reserve(FRAMES_BYTES);
        }
        frame::encode(envelope, now, &mut self.buffer).expect("what machines say can be encoded");
        let frame = self.buffer.split().freeze();
        frame.slice(LENGTH_BYTES..)
    }

    /// Sends a frame from an end to a node. Whether it was sent; it may arrive never, once or twice.
    pub(super) fn transmit(&mut self, from: usize, to: usize, envelope: &Envelope, now: Tick) -> bool {
        if !self.nodes[to].up {
            return false;
        }
        let passage = self.network.pass(from, to, envelope.body.class(), may_double(&envelope.body));
        let Passage::Arrives { us, again_us, late } = self.aimed(from, to, envelope, passage) else {
            self.coverage.inject(Injected::Lost);
            return false;
        };
        if late {
            self.coverage.inject(Injected::Late);
        }
        let bytes = self.encode(envelope, now);
        let boot = self.nodes[to].boot;
        if let Some(us) = again_us {
            self.coverage.inject(Injected::Doubled);
            self.schedule.after(us, Job::Frame { from, to, boot, bytes: bytes.clone() });
        }
        self.schedule.after(us, Job::Frame { from, to, boot, bytes });
        true
    }

    /// A frame arrives at a node.
    pub(super) fn arrive(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let at = self.schedule.now();
        let me = self.nodes[to].id();
        // A client's session is an end at the node that it is connected to.
        let sender = self.nodes.get(from).map_or(me, |node| node.id());
        let envelope = frame::decode(bytes, sender, me, self.nodes[to].tick(at));
        let envelope = envelope.expect("what machines say can be decoded");
        self.journal.line(at, || {
            format!(
                "{} -> node {to}: {}",
                self.nodes.get(from).map_or_else(
                    || format!("client {}", from - self.nodes.len()),
                    |_| format!("node {from}")
                ),
                line(&envelope)
            )
        });
        self.deliver(to, envelope);
    }

    fn send_to_session(&mut self, n: usize, envelope: &Envelope) {
        if envelope.to.slot == OPERATOR {
            self.founded[n] |=
                matches!(envelope.body, Body::AdminReply(anser_proto::admin::AdminReply::Founded));
            return;
        }
        let client = envelope.to.slot as usize;
        let end = self.nodes.len() + client;
        let Passage::Arrives { us, .. } = self.network.pass(n, end, envelope.body.class(), false) else {
            return self.coverage.inject(Injected::Lost);
        };
        let now = self.nodes[n].tick(self.schedule.now());
        let bytes = self.encode(envelope, now);
        self.schedule.after(us, Job::Reply { client, from: n, bytes });
    }
}

/// A message, for people.
fn line(envelope: &Envelope) -> String {
    let what = format!("{:?}", envelope.body);
    let short: String = what.chars().take(160).collect();
    format!("{} op {}:{} {short}", envelope.to.role.name(), envelope.op.life, envelope.op.seq)
}

/// How long a client waits before it tries again after a refusal.
pub(super) const CLIENT_BACKOFF_US: u64 = 10 * MS;
