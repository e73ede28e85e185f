//! I-3: no acknowledged version is absent from all copies, unless a write that is there settled it, or every folder that
//! held it durably when it was acknowledged was lost since.

use super::shown;
use crate::truth::{Fate, Folder, Truth};
use anser_model::KeyState;

/// Judges one key, from all that its replicas hold durably. Whether a write was lost with its folders.
pub(crate) fn check(truth: &Truth, slot: usize, merged: &KeyState) -> Result<bool, String> {
    let mut lost = false;
    let mut known: Vec<Option<bool>> = vec![None; truth.writes.len()];
    for (rid, _) in merged.live() {
        if let Some(write) = truth.write_of(rid) {
            known[write] = Some(true);
        }
    }
    for number in truth.slots[slot].writes.iter().copied() {
        let write = &truth.writes[number];
        if let Fate::Acked { at, .. } = write.fate
            && !survives(truth, number, &mut known)
        {
            if write.held_by.iter().all(|node| truth.folders[*node] != Folder::Whole) {
                lost = true;
                continue;
            }
            let rid = shown(&write.rid);
            return Err(format!(
                "write {rid} (number {number}), acknowledged at {at} us, is lost; it was settled by {:?} and seen by {:?}",
                write.settled_by, write.seen_by
            ));
        }
    }
    Ok(lost)
}

/// Whether a write is live, or settled by one that survives.
fn survives(truth: &Truth, write: usize, known: &mut [Option<bool>]) -> bool {
    let mut stack = vec![write];
    let mut visited = Vec::new();
    while let Some(next) = stack.pop() {
        match known[next] {
            Some(true) => {
                known[write] = Some(true);
                return true;
            }
            Some(false) => continue,
            None => {}
        }
        if visited.contains(&next) {
            continue;
        }
        visited.push(next);
        let written = &truth.writes[next];
        let minted = |write: &usize| !truth.writes[*write].dots.is_empty();
        stack.extend(written.settled_by.iter().map(|(write, _)| *write));
        stack.extend(written.seen_by.iter().copied().filter(minted));
    }
    for dead in visited {
        known[dead] = Some(false);
    }
    false
}
