//! Merging two copies' states of a key.
//!
//! Keeps I-4 (what one side settled never comes back from the other) and I-5: it is commutative, associative and
//! idempotent over reachable states; for what the bound of the settled ids costs, see the module `settled`.

use super::{Body, KeyState, Merged, Version};
use crate::context::Context;
use crate::id::{Dot, Rid};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::mem;

impl KeyState {
    /// Takes in all that another copy of the key knows.
    pub fn merge(&mut self, other: &KeyState) -> Merged {
        let mut merged = Merged::default();
        let settled_before = self.settled.clone();
        self.settled.merge(&other.settled);

        let mine = mem::take(&mut self.live);
        self.live.reserve(mine.len().max(other.live.len()));
        let mut mine = mine.into_iter().peekable();
        let mut theirs = other.live.iter().peekable();
        loop {
            let order = match (mine.peek(), theirs.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            match order {
                Ordering::Less => {
                    let Some((rid, version)) = mine.next() else { break };
                    merged.changed |= !self.keep(rid, version, &other.context);
                }
                Ordering::Greater => {
                    let Some((rid, version)) = theirs.next() else { break };
                    merged.changed |= self.adopt(*rid, version);
                }
                Ordering::Equal => {
                    let (Some((rid, version)), Some((_, theirs))) = (mine.next(), theirs.next()) else {
                        break;
                    };
                    merged.changed |= self.join(rid, version, theirs, &mut merged.clashes);
                }
            }
        }
        self.settled.cut();
        merged.changed |= self.settled != settled_before;
        if !self.context.covers(&other.context) {
            self.context.merge(&other.context);
            merged.changed = true;
        }
        merged
    }

    /// Keeps a version that only this side has, unless the other has settled it. Whether it stayed.
    fn keep(&mut self, rid: Rid, version: Version, other: &Context) -> bool {
        let seen = version.dots.iter().any(|dot| other.contains(dot));
        if seen {
            self.settled.insert(rid.hash64(), version.issued);
        }
        let stays = !seen && !self.has_settled(&rid);
        if stays {
            self.live.push((rid, version));
        }
        stays
    }

    /// Takes a version that only the other side has, unless this one has settled it. Whether it was taken.
    fn adopt(&mut self, rid: Rid, version: &Version) -> bool {
        if self.has_settled(&rid) {
            return false;
        }
        if version.dots.iter().any(|dot| self.context.contains(dot)) {
            self.settled.insert(rid.hash64(), version.issued);
            return false;
        }
        self.live.push((rid, version.clone()));
        true
    }

    /// Joins the two sides' versions of one request, unless it is settled. Whether anything changed.
    fn join(&mut self, rid: Rid, mut mine: Version, theirs: &Version, clashes: &mut usize) -> bool {
        if self.has_settled(&rid) {
            return true;
        }
        let mut changed = add_dots(&mut mine.dots, &theirs.dots);
        if !same(&mine, theirs) {
            *clashes += 1;
            if rank(&mine) < rank(theirs) {
                mine.issued = theirs.issued;
                mine.expires = theirs.expires;
                mine.body = theirs.body.clone();
                changed = true;
            }
        }
        self.live.push((rid, mine));
        changed
    }

    fn has_settled(&self, rid: &Rid) -> bool {
        !self.settled.is_empty() && self.settled.contains(rid.hash64())
    }
}

/// Adds sorted dots to sorted dots. Whether any was new.
fn add_dots(mine: &mut Vec<Dot>, theirs: &[Dot]) -> bool {
    let mut added = false;
    for dot in theirs {
        if let Err(at) = mine.binary_search(dot) {
            mine.insert(at, *dot);
            added = true;
        }
    }
    added
}

/// Whether two versions say the same, apart from their dots.
fn same(a: &Version, b: &Version) -> bool {
    a.issued == b.issued && a.expires == b.expires && same_body(&a.body, &b.body)
}

fn same_body(a: &Body, b: &Body) -> bool {
    match (a, b) {
        // Copies of a value in one process mostly share its memory.
        (Body::Value(a), Body::Value(b)) => (a.as_ptr() == b.as_ptr() && a.len() == b.len()) || a == b,
        (Body::Tombstone, Body::Tombstone) => true,
        (Body::Value(_), Body::Tombstone) | (Body::Tombstone, Body::Value(_)) => false,
    }
}

/// A total order of what versions say, for the clash of a client that used one request id twice.
fn rank(version: &Version) -> (Option<u64>, Option<&[u8]>, u64, Option<u64>) {
    let value = match &version.body {
        Body::Value(value) => Some(value.as_ref()),
        Body::Tombstone => None,
    };
    (value.map(xxhash_rust::xxh3::xxh3_64), value, version.issued.0, version.expires)
}
