//! Storing: what another copy's state makes of this copy's.

use crate::operation::Asker;
use crate::replica::{Loaded, Replica};
use anser_machine::{Count, Outbox, RoomLevel};
use anser_model::state::BadState;
use anser_model::{Actor, Body, KeyState, KeyspaceId};
use anser_proto::Refusal;
use anser_storage::StoreKey;
use bytes::Bytes;

/// What became of a state that another copy sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// The state to be appended, and the same encoded.
    Changed(KeyState, Bytes),
    /// This copy knew it all.
    Unchanged,
    /// It knows a dot of this copy that it never minted: its Life runs elsewhere too. Nothing was done.
    Clone,
}

/// Whose bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Those of the copy itself: it is damaged.
    Present(BadState),
    /// Those that were sent.
    Sent(BadState),
}

/// Merges `sent` into `present`. `counter` is the last one that `actor`, this copy, has used. The second value counts
/// requests that came with two bodies.
pub(crate) fn store(
    present: Option<&Bytes>,
    sent: Bytes,
    actor: Actor,
    counter: u64,
) -> Result<(Stored, usize), Unreadable> {
    // A state has one encoding.
    if present == Some(&sent) {
        return Ok((Stored::Unchanged, 0));
    }
    let other = KeyState::decode(&sent).map_err(Unreadable::Sent)?;
    if other.context().get(&actor) > counter {
        return Ok((Stored::Clone, 0));
    }
    let Some(present) = present else {
        let is_empty = other == KeyState::default();
        let stored = if is_empty { Stored::Unchanged } else { Stored::Changed(other, sent) };
        return Ok((stored, 0));
    };
    let mut state = KeyState::decode(present).map_err(Unreadable::Present)?;
    let merged = state.merge(&other);
    let stored = match merged.changed {
        false => Stored::Unchanged,
        // Nearly always: the sender had seen all that is here.
        true if state == other => Stored::Changed(state, sent),
        true => {
            let encoded = state.encode();
            Stored::Changed(state, encoded)
        }
    };
    Ok((stored, merged.clashes))
}

/// Whether a state holds nothing but deletes.
fn only_deletes(state: &[u8]) -> bool {
    let deletes = |state: KeyState| state.live().iter().all(|(_, version)| version.body == Body::Tombstone);
    KeyState::decode(state).is_ok_and(deletes)
}

impl Replica {
    /// Merges a state that another copy sent, and acknowledges all that it says.
    pub(crate) fn store(
        &mut self,
        asker: &Asker,
        keyspace: KeyspaceId,
        sent: Bytes,
        key: &StoreKey,
        loaded: Loaded,
        out: &mut Outbox,
    ) -> Loaded {
        if !self.takes_writes() {
            asker.refuse(Refusal::Busy, self.step(), out);
            return loaded;
        }
        if self.room != RoomLevel::Enough && !self.has_room_for(only_deletes(&sent)) {
            asker.refuse(Refusal::DiskFull, self.step(), out);
            return loaded;
        }
        let loaded = match store(loaded.state.as_ref(), sent, self.config.actor(), self.counter) {
            Ok((stored, clashes)) => {
                for _ in 0..clashes {
                    out.count(Count::BodyClash);
                }
                match stored {
                    Stored::Changed(state, encoded) => self.append(key, &state, &encoded, &loaded, out),
                    Stored::Unchanged => loaded,
                    Stored::Clone => {
                        self.stop_as_clone(asker, out);
                        return loaded;
                    }
                }
            }
            Err(Unreadable::Sent(_)) => {
                asker.refuse(Refusal::NotAllowed, self.step(), out);
                return loaded;
            }
            Err(Unreadable::Present(_)) => {
                self.on_damaged_state(asker, loaded.lsn.is_none(), out);
                return loaded;
            }
        };
        self.acknowledge(asker, keyspace, loaded.lsn, out);
        loaded
    }
}
