//! What coordinators ask others to mint, and of which of it they lost sight.

use super::World;
use super::node::COORDINATOR;
use crate::invariants::open_mints_stay_open;
use crate::verdicts::Invariant;
use anser_model::Rid;
use anser_proto::client::{ClientReply, ClientRequest};
use anser_proto::replicate::ReplicaRequest;
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Role};
use std::collections::{BTreeMap, BTreeSet};

/// See the module. By the asking coordinator's node.
#[derive(Debug, Default)]
pub(super) struct Mints {
    /// Who was asked, in which operations.
    asked: BTreeMap<(usize, Rid), Vec<(OpId, Address)>>,
    /// Writes of which nobody can say whether they were minted, until their client is answered.
    open: BTreeSet<(usize, Rid)>,
}

impl World {
    /// A coordinator sends something.
    pub(super) fn see_coordinator(&mut self, n: usize, envelope: &Envelope) {
        let rid = match &envelope.body {
            Body::ForwardPut(put) => put.rid,
            Body::Replicate(ReplicaRequest::MintVersion { write, .. }) => write.rid,
            Body::ClientReply(reply) if envelope.to.role == Role::Session => {
                return self.see_client_answered(n, envelope, reply);
            }
            _ => return,
        };
        self.mints.asked.entry((n, rid)).or_default().push((envelope.op, envelope.to));
    }

    /// A client is answered. Only its first attempt is judged: of a later one's answer an earlier one may be the reason.
    fn see_client_answered(&mut self, n: usize, envelope: &Envelope, reply: &ClientReply) {
        let operation =
            self.clients.get(envelope.to.slot as usize).and_then(|client| client.current.as_ref());
        let asked = operation.filter(|operation| operation.asked == Some((n, envelope.op)));
        let Some((attempts, ClientRequest::Put(put))) = asked.map(|asked| (asked.attempts, &asked.request))
        else {
            return;
        };
        let rid = put.rid;
        self.mints.asked.remove(&(n, rid));
        if self.mints.open.remove(&(n, rid)) && attempts == 1 {
            let result = open_mints_stay_open::check(&rid, &reply.outcome);
            self.judge(Invariant::OpenMintsStayOpen, result);
        }
    }

    /// An actor is answered.
    pub(super) fn see_answered(&mut self, n: usize, actor: usize, answer: &Envelope) {
        let lost_sight = matches!(answer.body, Body::Refused(Refusal::Crashed | Refusal::DiskFailed));
        if actor == COORDINATOR && lost_sight {
            let asked = (answer.op, answer.from);
            let mut known = self.mints.asked.iter();
            if let Some((key, _)) = known.find(|((node, _), all)| *node == n && all.contains(&asked)) {
                self.mints.open.insert(*key);
            }
        }
    }

    /// A coordinator is gone, and what it waited for with it.
    pub(super) fn forget_mints(&mut self, n: usize) {
        self.mints.asked.retain(|(node, _), _| *node != n);
        self.mints.open.retain(|(node, _)| *node != n);
    }
}
