//! Whatever waits does so within a bound: an actor's mailbox, a coordinator's operations, a copy's waiting requests and
//! memtables, a disk's queue.

/// Judges one queue.
pub(crate) fn check(name: &str, holds: usize, bound: usize) -> Result<(), String> {
    if holds <= bound { Ok(()) } else { Err(format!("{name} holds {holds}, and its bound is {bound}")) }
}
