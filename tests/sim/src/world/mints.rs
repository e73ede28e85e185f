//! What coordinators ask others to mint, and of which of it they lost sight.

use super::World;
use super::node::COORDINATOR;
use crate::invariants::open_mints_stay_open;
use crate::verdicts::Invariant;
use anser_model::Rid;
use anser_proto::client::ClientRequest;
use anser_proto::replicate::ReplicaRequest;
use anser_proto::{Body, Envelope, OpId, Refusal, Role};
use std::collections::{BTreeSet, HashMap};

/// See the module. By the asking coordinator's node.
#[derive(Debug, Default)]
pub(super) struct Mints {
    /// Requests that were not answered yet.
    asked: HashMap<(usize, OpId), Rid>,
    /// Writes of which nobody can say whether they were minted, until their client is answered.
    open: BTreeSet<(usize, Rid)>,
}

impl Mints {
    /// A client tries a write anew, at this node.
    pub fn try_anew(&mut self, n: usize, rid: Rid) {
        self.open.remove(&(n, rid));
    }
}

impl World {
    /// A coordinator sends something.
    pub(super) fn see_coordinator(&mut self, n: usize, envelope: &Envelope) {
        match &envelope.body {
            Body::ForwardPut(put) => {
                self.mints.asked.insert((n, envelope.op), put.rid);
            }
            Body::Replicate(ReplicaRequest::MintVersion { write, .. }) => {
                self.mints.asked.insert((n, envelope.op), write.rid);
            }
            Body::ClientReply(reply) if envelope.to.role == Role::Session => {
                let operation = self.clients.get(envelope.to.slot as usize).and_then(|c| c.current.as_ref());
                let asked = operation.filter(|operation| operation.asked == Some((n, envelope.op)));
                if let Some(ClientRequest::Put(put)) = asked.map(|operation| &operation.request) {
                    let rid = put.rid;
                    if self.mints.open.remove(&(n, rid)) {
                        let result = open_mints_stay_open::check(&rid, &reply.outcome);
                        self.judge(Invariant::OpenMintsStayOpen, result);
                    }
                }
            }
            _ => {}
        }
    }

    /// A coordinator is answered.
    pub(super) fn see_answered(&mut self, n: usize, actor: usize, answer: &Envelope) {
        if actor != COORDINATOR {
            return;
        }
        let lost_sight = matches!(answer.body, Body::Refused(Refusal::Crashed | Refusal::DiskFailed));
        if lost_sight && let Some(rid) = self.mints.asked.remove(&(n, answer.op)) {
            self.mints.open.insert((n, rid));
        }
    }

    /// A coordinator is gone, and what it waited for with it.
    pub(super) fn forget_mints(&mut self, n: usize) {
        self.mints.asked.retain(|(node, _), _| *node != n);
        self.mints.open.retain(|(node, _)| *node != n);
    }
}
