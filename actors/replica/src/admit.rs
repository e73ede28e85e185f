//! Whether a copy may handle a request: fences by step and round, placement, and who asks.
//!
//! Keeps I-14 (no copy acknowledges data of another step) and, with the rounds, that nothing of a forgotten past comes
//! back. A plain decision: nothing is done here.

use crate::holdings::Holdings;
use crate::operation::{Asker, Operation, Task};
use crate::pages::PageRequest;
use alloc::collections::BTreeMap;
use anser_model::{Hlc, NodeId, PartitionId, Round};
use anser_proto::{Refusal, Role};

/// What is fenced off in one partition. Both only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fence {
    /// Operations begun in an earlier round are refused.
    pub round: Round,
    /// Writes first tried at or before it are refused.
    pub floor: Hlc,
}

/// The fences of a shard's partitions; what is not in it is at zero. In memory only, and at zero all of them, as long as
/// nothing is ever forgotten: whatever raises one makes it durable first.
#[derive(Debug, Default)]
pub(crate) struct Fences(BTreeMap<PartitionId, Fence>);

impl Fences {
    /// A partition's fence.
    pub fn of(&self, partition: PartitionId) -> Fence {
        self.0.get(&partition).copied().unwrap_or_default()
    }

    #[cfg(test)]
    pub fn set(&mut self, partition: PartitionId, fence: Fence) {
        self.0.insert(partition, fence);
    }
}

/// Decides on one request at the copy of `me`, which serves or is being refilled.
pub(crate) fn admit(
    operation: &Operation,
    me: &NodeId,
    holdings: &Holdings,
    serves: bool,
    fences: &Fences,
) -> Result<(), Refusal> {
    let asker = &operation.asker;
    check_asker(asker, holdings)?;
    let place = &operation.place;
    let held = match &operation.task {
        Task::Mint(_) if asker.from.node != *me => return Err(Refusal::NotAllowed),
        Task::Mint(_) | Task::Read(_) => serves && holdings.answers_reads(place.keyspace, place.partition),
        Task::Store(_) => holdings.takes_writes(place.keyspace, place.partition),
    };
    // Another partition than the key's own: a bug, or worse. Such a copy would never be found again.
    if !held || holdings.partition_of(place.keyspace, &operation.key) != place.partition {
        return Err(Refusal::NotServing);
    }
    check_round(place.partition, place.round, fences)
}

/// Decides on a request for a page, at a copy that serves.
pub(crate) fn admit_page(request: &PageRequest, holdings: &Holdings, fences: &Fences) -> Result<(), Refusal> {
    check_asker(&request.asker, holdings)?;
    if request.asker.from.role != Role::Replica {
        return Err(Refusal::NotAllowed);
    }
    if !holdings.holds(request.partition) {
        return Err(Refusal::NotServing);
    }
    check_round(request.partition, request.round, fences)
}

fn check_asker(asker: &Asker, holdings: &Holdings) -> Result<(), Refusal> {
    let own = holdings.step();
    if asker.step < own {
        return Err(Refusal::StaleStep(own));
    }
    if asker.step > own {
        return Err(Refusal::FutureStep(own));
    }
    if holdings.is_member(&asker.from.node) { Ok(()) } else { Err(Refusal::NotAllowed) }
}

fn check_round(partition: PartitionId, asked: Round, fences: &Fences) -> Result<(), Refusal> {
    let round = fences.of(partition).round;
    if asked < round {
        return Err(Refusal::StaleRound(round));
    }
    // A round is durable before it is said, and this copy can't learn one yet.
    if asked > round {
        return Err(Refusal::NotServing);
    }
    Ok(())
}
