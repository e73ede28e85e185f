//! A client sees its own writes, and in a strict keyspace whatever it saw before, or what settled them: within one session,
//! whose quorums meet.

use super::{Read, is_known, shown};
use crate::clients::Session;
use crate::truth::Truth;

/// Judges a client's read by what it did before.
pub(crate) fn check(truth: &Truth, read: &Read<'_>, session: &Session) -> Result<(), String> {
    let slot = &truth.slots[read.start.slot];
    let replicas = slot.nodes.len();
    let wrote = session.wrote.iter().filter(|(needed, _)| *needed + read.start.needed > replicas);
    for (_, write) in wrote {
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
