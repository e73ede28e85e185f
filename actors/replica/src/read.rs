//! Reading: a reader never sees what a power cut could take back, but in keyspaces of durability `interval`.
//!
//! The answer is made of the state as it is now, and leaves once that is durable here; what is written meanwhile is the
//! next reader's.

use crate::operation::Operation;
use crate::replica::{Loaded, Replica};
use anser_machine::Outbox;
use anser_proto::Refusal;
use anser_proto::replicate::{ReplicaReply, Want};

impl Replica {
    /// Shows a key's state.
    pub(crate) fn read(
        &mut self,
        operation: &Operation,
        want: Want,
        loaded: Loaded,
        out: &mut Outbox,
    ) -> Loaded {
        let asker = &operation.asker;
        let round = self.fences.of(operation.place.partition).round;
        let reply = match want {
            Want::Full => {
                let state = loaded.state.clone().unwrap_or_else(|| self.empty.clone());
                ReplicaReply::State { state, round }
            }
            Want::Digest => {
                let Some(state) = self.decoded(&loaded, asker, out) else { return loaded };
                ReplicaReply::Digest { digest: state.digest(), round }
            }
        };
        if self.answers_from_memory(asker, operation.place.keyspace) {
            asker.reply(reply, out);
        } else if loaded.lsn <= self.durable || self.budget.has_room(reply.payload_bytes()) {
            self.reply_when_durable(asker, reply, loaded.lsn, out);
        } else {
            asker.refuse(Refusal::Busy, self.step(), out);
        }
        loaded
    }
}
