//! A client sees its own writes, and in a strict keyspace whatever it saw before, or what settled them: within one session,
//! whose quorums meet.

use super::{Read, is_known, shown};
use crate::clients::Session;
use crate::truth::{Fate, Truth};

/// Judges a client's read by what it did before.
pub(crate) fn check(truth: &Truth, read: &Read<'_>, session: &Session) -> Result<(), String> {
    let slot = &truth.slots[read.start.slot];
    let replicas = slot.nodes.len();
    // Copies may have been lost since that fewer than a majority had acknowledged it.
    let meets = |write: &usize| match truth.writes[*write].fate {
        Fate::Acked { needed, .. } => needed + read.start.needed > replicas,
        Fate::Open | Fate::Failed | Fate::Unknown => false,
    };
    for write in session.wrote.values().filter(|write| meets(write)) {
        if !is_known(truth, read, *write) {
            return Err(format!("a client does not see its own write {}", shown(&truth.writes[*write].rid)));
        }
    }
    let saw = session.saw.iter().filter(|_| slot.strict && 2 * read.start.needed > replicas);
    for write in saw {
        if !is_known(truth, read, *write) {
            return Err(format!("a client no longer sees {}", shown(&truth.writes[*write].rid)));
        }
    }
    Ok(())
}
