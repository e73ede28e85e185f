//! Minting: what a write makes of a key's state at this copy.
//!
//! Keeps I-1: a counter is used once, under a Life that no other copy has, and a known request is never minted again.
//! The caller appends the new state before anybody is told of it.

use crate::operation::Operation;
use crate::replica::{Loaded, Replica};
use anser_machine::{Count, Now, Outbox};
use anser_model::state::{MintError, Minted, Seen, Write};
use anser_model::{Actor, Body, Hlc, KeyState};
use anser_proto::Refusal;
use anser_proto::replicate::ReplicaReply;
use anser_storage::StoreKey;

/// What a copy goes by when it mints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Who mints.
    pub actor: Actor,
    /// The last counter that it used.
    pub counter: u64,
    /// Writes first tried at or before it can no longer be told from their retries.
    pub floor: Hlc,
    /// The latest clock that a write may have, in milliseconds since 1970.
    pub issued_ms_max: u64,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Minting {
    /// A new version, of the next counter: the state is to be appended.
    New,
    /// A retry: the state is as it was, and to be replicated.
    Known,
    /// Nothing was done.
    Refused(Refusal),
    /// The write has seen a dot of this copy that it never minted: its Life runs elsewhere too. Nothing was done.
    Clone,
}

/// Mints `write` into `state`.
pub(crate) fn mint(state: &mut KeyState, write: &Write, rules: &Rules) -> Minting {
    // A retry is answered however old it is: nothing is minted for it.
    if state.knows(&write.rid) {
        return Minting::Known;
    }
    if write.issued <= rules.floor {
        return Minting::Refused(Refusal::TooOld);
    }
    if write.issued.ms() > rules.issued_ms_max {
        return Minting::Refused(Refusal::BadClock);
    }
    let seen = match &write.seen {
        Seen::Token { context, .. } => context.get(&rules.actor),
        Seen::Present | Seen::Nothing => 0,
    };
    if seen.max(state.context().get(&rules.actor)) > rules.counter {
        return Minting::Clone;
    }
    match state.mint(rules.actor, rules.counter.saturating_add(1), write) {
        Ok(Minted::New(_)) => Minting::New,
        Ok(Minted::Known) => Minting::Known,
        Err(MintError::TooManySiblings) => Minting::Refused(Refusal::TooManySiblings),
    }
}

impl Replica {
    /// Mints a write, or finds it minted. Says so at once, and acknowledges it.
    pub(crate) fn mint(
        &mut self,
        now: Now,
        operation: &Operation,
        write: &Write,
        key: &StoreKey,
        loaded: Loaded,
        out: &mut Outbox,
    ) -> Loaded {
        let asker = &operation.asker;
        if !self.takes_writes() {
            asker.refuse(Refusal::Busy, self.step(), out);
            return loaded;
        }
        if !self.has_room_for(write.body == Body::Tombstone) {
            asker.refuse(Refusal::DiskFull, self.step(), out);
            return loaded;
        }
        let Some(mut state) = self.decoded(&loaded, asker, out) else { return loaded };
        let fence = self.fences.of(operation.place.partition);
        let rules = Rules {
            actor: self.config.actor(),
            counter: self.counter,
            floor: fence.floor,
            issued_ms_max: now.wall_ms.saturating_add(self.config.limits.max_drift_ms),
        };
        let loaded = match mint(&mut state, write, &rules) {
            Minting::New => {
                self.counter += 1;
                self.append(key, &state, &state.encode(), &loaded, out)
            }
            Minting::Known => {
                out.count(Count::RetryKnown);
                loaded
            }
            Minting::Refused(refusal) => {
                asker.refuse(refusal, self.step(), out);
                return loaded;
            }
            Minting::Clone => {
                self.stop_as_clone(asker, out);
                return loaded;
            }
        };
        let state = loaded.state.clone().unwrap_or_else(|| self.empty.clone());
        asker.reply(ReplicaReply::Minted { state, round: fence.round }, out);
        self.acknowledge(asker, operation.place.keyspace, loaded.lsn, out);
        loaded
    }
}
