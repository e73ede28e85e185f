//! "Durable" is for good: what a sync has covered is there when a shard is read back, as long as the folder is whole.

use anser_machine::Lsn;

/// Judges the end of a shard's log, as it was read back; `synced` is the last position that was known to be durable.
pub(crate) fn check(next: Lsn, synced: Option<Lsn>) -> Result<(), String> {
    match synced {
        Some(synced) if synced >= next => {
            Err(format!("the log is read back to {}, and was synced through {}", next.0, synced.0))
        }
        Some(_) | None => Ok(()),
    }
}
