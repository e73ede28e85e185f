//! I-9: in a strict keyspace, with 2R > N, what one read showed every later read shows or knows to be settled.

use super::Read;

/// Judges a read of a strict keyspace.
pub(crate) fn check(read: &Read<'_>) -> Result<(), String> {
    if read.context.covers(&read.start.shown) {
        return Ok(());
    }
    let missing = read.start.shown.entries().iter().find(|(actor, n)| read.context.get(actor) < *n);
    Err(format!(
        "a read from {} us on does not know of {missing:?}, which a read before it showed",
        read.start.at
    ))
}
