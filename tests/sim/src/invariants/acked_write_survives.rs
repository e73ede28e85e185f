//! I-3: no acknowledged version is absent from all copies, unless a write that is there settled it, or every copy that
//! held it durably when it was acknowledged was lost since, with fewer than a majority; in a keyspace of durability
//! `interval`, every copy that held it was lost, or crashed before its sync.

use super::shown;
use crate::truth::{Fate, Truth};
use anser_model::KeyState;

/// What is known of a write.
#[derive(Clone, Copy)]
enum Known {
    Nothing,
    Survives,
    Lost,
}

/// Judges one key, from all that its replicas hold durably.
pub(crate) fn check(truth: &Truth, slot: usize, merged: &KeyState) -> Result<(), String> {
    let mut known = vec![Known::Nothing; truth.writes.len()];
    for (rid, _) in merged.live() {
        if let Some(write) = truth.write_of(rid) {
            known[write] = Known::Survives;
        }
    }
    // The newest first: what settled an older one is known by then.
    for number in truth.slots[slot].writes.iter().rev().copied() {
        let write = &truth.writes[number];
        if let Fate::Acked { at, .. } = write.fate
            && !survives(truth, number, &mut known)
            && !write.kept_by.is_empty()
        {
            let rid = shown(&write.rid);
            return Err(format!(
                "write {rid} (number {number}), acknowledged at {at} us, is lost; it was settled by {:?} and seen by {:?}",
                write.settled_by, write.seen_by
            ));
        }
    }
    Ok(())
}

/// Whether a write is live, or settled by one that survives.
fn survives(truth: &Truth, write: usize, known: &mut [Known]) -> bool {
    let mut stack = vec![write];
    let mut visited = Vec::new();
    while let Some(next) = stack.pop() {
        match known[next] {
            Known::Survives => {
                // Whether the others on the way do is not known: not each of them led here.
                visited.into_iter().for_each(|visited: usize| known[visited] = Known::Nothing);
                known[write] = Known::Survives;
                return true;
            }
            Known::Lost => continue,
            Known::Nothing => {}
        }
        known[next] = Known::Lost;
        visited.push(next);
        stack.extend(truth.settlers(next));
    }
    false
}
