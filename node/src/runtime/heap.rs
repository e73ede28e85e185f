//! The heap of a node's process.
//!
//! glibc gives threads heaps of their own, up to eight for each processor, and gives little of them back: with a node's
//! threads, which hand on what they allocate, that is some 60 MB that nothing is in. Two heaps are as fast. glibc takes the
//! number from the environment only, at a process's start.

use super::restart;

/// glibc's variable.
const ARENAS: &str = "MALLOC_ARENA_MAX";
const ARENAS_MAX: &str = "2";

/// Starts the program anew in this process, with few heaps, unless the environment says how many. If that can't be done,
/// the node runs with what it has.
pub(super) fn settle() {
    if std::env::var_os(ARENAS).is_none() {
        let error = restart::in_place_with(&[(ARENAS, ARENAS_MAX)]);
        // Only reached when it was not done.
        tracing::debug!(%error, "the heap is as it is");
    }
}
