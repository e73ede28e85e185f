//! What is on the way: carried at once, unless a wire of it is held, cut, or leads to nobody.

use super::{Stage, words};
use crate::world::Job;
use crate::world::node::SHARDS;
use anser_proto::frame;
use anser_proto::{Body, Envelope, Role, Tick};
use bytes::Bytes;

/// Virtual time that is given to one held message, so that its first consequences are told below it.
const DELIVERY_US: u64 = 10;

/// Which messages are meant. What is not said means all, but gossip only by its kind or as `Gossip`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wire {
    pub from: Option<usize>,
    pub to: Option<usize>,
    pub kind: Option<String>,
}

/// A message that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub from: usize,
    /// A node, or a client: these come after the nodes.
    pub to: usize,
    pub kind: &'static str,
    pub is_gossip: bool,
    /// What a story calls it.
    pub text: String,
    boot: u32,
    bytes: Bytes,
}

impl Wire {
    /// Whether a message is meant.
    pub fn means(&self, from: usize, to: usize, kind: &str, is_gossip: bool) -> bool {
        let ends = self.from.is_none_or(|meant| meant == from) && self.to.is_none_or(|meant| meant == to);
        ends && match &self.kind {
            None => !is_gossip,
            Some(meant) => meant == kind || (is_gossip && meant == "Gossip"),
        }
    }
}

impl Stage {
    /// What becomes of a message that a node says, if it is not simply carried.
    pub(super) fn mark(&self, from: usize, envelope: &Envelope) -> &'static str {
        let to = match envelope.to.role {
            Role::Session => self.world.nodes.len() + envelope.to.slot as usize,
            _ => self.names.place_of(&envelope.to.node).unwrap_or(from),
        };
        self.mark_between(from, to, &envelope.body)
    }

    /// The same between two ends.
    pub(super) fn mark_between(&self, from: usize, to: usize, body: &Body) -> &'static str {
        if from == to {
            return "";
        }
        let down = self.world.nodes.get(to).is_some_and(|node| !node.up);
        let is_gossip = matches!(body, Body::Gossip(_));
        let held = || self.wires.iter().any(|wire| wire.means(from, to, words::kind(body), is_gossip));
        if down {
            " [nobody there]"
        } else if self.world.network.is_cut(from, to) {
            " [cut off]"
        } else if held() {
            " [held]"
        } else {
            ""
        }
    }

    /// A frame arrives, unless it is held.
    pub(super) fn carry(&mut self, job: Job) {
        let (from, to, boot, bytes) = match &job {
            Job::Frame { from, to, boot, bytes } => (*from, *to, *boot, bytes.clone()),
            Job::Reply { client, from, bytes } => (*from, self.world.nodes.len() + client, 0, bytes.clone()),
            _ => return self.let_happen(job),
        };
        let envelope = self.decode(from, to, &bytes);
        let (kind, is_gossip) = (words::kind(&envelope.body), matches!(envelope.body, Body::Gossip(_)));
        if self.wires.iter().any(|wire| wire.means(from, to, kind, is_gossip)) {
            let text = self.text(from, to, &envelope);
            return self.held.push(Held { from, to, kind, is_gossip, text, boot, bytes });
        }
        self.arrive(from, to, boot, bytes);
    }

    fn arrive(&mut self, from: usize, to: usize, boot: u32, bytes: Bytes) {
        // A client has heard what its node said when the line was told.
        if to < self.world.nodes.len() {
            self.let_happen(Job::Frame { from, to, boot, bytes });
        }
    }

    /// Delivers a held message.
    pub(super) fn deliver(&mut self, held: &Held) {
        self.lines.push(format!("> {}", held.text));
        if self.world.nodes.get(held.to).is_some_and(|node| node.boot != held.boot) {
            self.lines.push("  (meant for a process that has ended)".into());
        }
        self.arrive(held.from, held.to, held.boot, held.bytes.clone());
        self.pass(DELIVERY_US);
    }

    /// Takes the held messages that are meant out.
    pub(super) fn take_held(&mut self, wire: &Wire) -> Vec<Held> {
        let (meant, others) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|held| wire.means(held.from, held.to, held.kind, held.is_gossip));
        self.held = others;
        meant
    }

    fn decode(&self, from: usize, to: usize, bytes: &[u8]) -> Envelope {
        let nodes = &self.world.nodes;
        let end = nodes.get(to).or(nodes.get(from)).expect("one end is a node").id();
        let sender = nodes.get(from).map_or(end, |node| node.id());
        frame::decode(bytes, sender, end, Tick(self.world.now())).expect("what is held can be read")
    }

    fn text(&mut self, from: usize, to: usize, envelope: &Envelope) -> String {
        let nodes = self.world.nodes.len();
        let name = |stage: &Stage, end: usize, role: Role| match end.checked_sub(nodes) {
            Some(client) => format!("c{}", client + 1),
            None => format!("{}.{}", stage.names.node(end), role.name()),
        };
        let (sender, receiver) = (name(self, from, envelope.from.role), name(self, to, envelope.to.role));
        format!("{sender} -> {receiver} {}", self.names.body(&envelope.body))
    }

    /// The shard's place among a node's actors that has a partition.
    pub(super) fn shard_actor(partition: u16) -> usize {
        crate::disk::FIRST_SHARD + (u32::from(partition) % SHARDS) as usize
    }
}
