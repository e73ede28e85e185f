//! One request being worked on: whom to answer, and what it asks.

use crate::pages::PageRequest;
use anser_machine::{Now, Outbox};
use anser_model::state::Write;
use anser_model::{Key, PartitionId, Step};
use anser_proto::replicate::{Place, ReplicaReply, ReplicaRequest, Want};
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Tick};
use bytes::Bytes;

/// Whom to answer, and until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// Who asked.
    pub from: Address,
    /// As whom it is answered.
    pub to: Address,
    /// The asker's own operation.
    pub op: OpId,
    /// The step that the request was handled at: what is done at a step is acknowledged at that step.
    pub step: Step,
    /// When the asker stops waiting.
    pub deadline: Tick,
    /// The partition that it asks about.
    pub partition: PartitionId,
}

/// What is asked of a key.
#[derive(Debug)]
pub(crate) enum Task {
    /// Mint a version.
    Mint(Write),
    /// Merge a state in.
    Store(Bytes),
    /// Show the state.
    Read(Want),
}

/// One request.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Whom to answer.
    pub asker: Asker,
    /// Where the key is, and in which round the operation began.
    pub place: Place,
    /// Which key.
    pub key: Key,
    /// What is asked of it.
    pub task: Task,
}

impl Asker {
    /// Answers.
    pub fn reply(&self, reply: ReplicaReply, out: &mut Outbox) {
        out.send(self.envelope(self.step, Body::Replicated(reply)));
    }

    /// Refuses, at the copy's own step.
    pub fn refuse(&self, refusal: Refusal, own: Step, out: &mut Outbox) {
        out.send(self.envelope(own, Body::Refused(refusal)));
    }

    /// Whether nobody waits any more.
    pub fn is_gone(&self, now: Now) -> bool {
        self.deadline < now.tick
    }

    fn envelope(&self, step: Step, body: Body) -> Envelope {
        Envelope { from: self.to, to: self.from, op: self.op, step, deadline: self.deadline, body }
    }
}

/// What is asked of a copy.
#[derive(Debug)]
pub(crate) enum Request {
    /// Something about one key.
    Key(Operation),
    /// A page of the partition.
    Page(PageRequest),
}

impl Request {
    /// Takes a request apart.
    pub fn new(asker: Asker, request: ReplicaRequest) -> Request {
        match request {
            ReplicaRequest::MintVersion { place, key, write } => {
                Request::Key(Operation { asker, place, key, task: Task::Mint(write) })
            }
            ReplicaRequest::StoreState { place, key, state } => {
                Request::Key(Operation { asker, place, key, task: Task::Store(state) })
            }
            ReplicaRequest::ReadState { place, key, want } => {
                Request::Key(Operation { asker, place, key, task: Task::Read(want) })
            }
            ReplicaRequest::ReadPage { partition, round, after } => {
                Request::Page(PageRequest { asker, partition, round, after })
            }
        }
    }
}

impl Operation {
    /// About how many bytes it holds while it waits.
    pub fn payload_bytes(&self) -> usize {
        let task = match &self.task {
            Task::Mint(write) => anser_proto::client::body_bytes(&write.body),
            Task::Store(state) => state.len(),
            Task::Read(_) => 0,
        };
        self.key.as_bytes().len() + task
    }
}
