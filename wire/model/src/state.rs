//! The state of one key in one copy: its live versions, what it has seen, and which requests are settled.
//!
//! Source: Preguiça et al., "Dotted Version Vectors" (2010), with versions keyed by request id so that a retry never
//! makes a sibling. Keeps I-1 (a dot belongs to one request), I-2 (what the context claims was seen), I-4 (no false
//! siblings) and I-5 (merge is commutative, associative and idempotent).

mod codec;
mod merge;
mod mint;
mod settled;

use crate::context::Context;
use crate::hlc::Hlc;
use crate::id::{Dot, Rid};
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use settled::Settled;

/// Most live versions of a key; a write that would make one more is refused.
pub const SIBLINGS_MAX: usize = 64;
pub use settled::SETTLED_MAX;
/// The digest's own version, hashed with the dots.
const DIGEST_VERSION: u8 = 1;

/// What a write wrote.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body {
    /// A value, any bytes.
    Value(Bytes),
    /// A delete: a version like any other, not shown.
    Tombstone,
}

/// One immutable version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The dots of its write, sorted; nearly always one. More when a retry was minted twice.
    pub dots: Vec<Dot>,
    /// The client's clock at the first attempt.
    pub issued: Hlc,
    /// Milliseconds since 1970 from which it is not shown.
    pub expires: Option<u64>,
    /// What was written.
    pub body: Body,
}

/// The whole state of one key. Sorted vectors, since both are nearly always of one or a few entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyState {
    context: Context,
    live: Vec<(Rid, Version)>,
    settled: Settled,
}

/// What a write claims to have seen, and so settles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// What a token showed: its context, and the 64-bit hashes of its request ids.
    Token {
        /// The context shown.
        context: Context,
        /// Hashes of the siblings shown and of the settled request ids.
        rids: Vec<u64>,
    },
    /// All that the minting copy holds at that moment (a blind write that supersedes).
    Present,
    /// Nothing: the write asks to be a sibling.
    Nothing,
}

/// One write, as a copy mints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The request, the same in all retries.
    pub rid: Rid,
    /// The client's clock at the first attempt.
    pub issued: Hlc,
    /// When it stops being shown, in milliseconds since 1970.
    pub expires: Option<u64>,
    /// What is written.
    pub body: Body,
    /// What it settles.
    pub seen: Seen,
}

/// What `mint` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minted {
    /// A new version, with this dot.
    New(Dot),
    /// The request was minted before (a retry): nothing changed; the present state is to be replicated.
    Known,
}

/// Why nothing was minted. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// It would make more than [`SIBLINGS_MAX`] live versions.
    #[error("the key has {SIBLINGS_MAX} versions already; read it and write with its context to settle them")]
    TooManySiblings,
}

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Whether this state is another than before.
    pub changed: bool,
    /// Requests that came with two different bodies: a client bug. The body of the greater hash stays.
    pub clashes: usize,
}

/// Bytes that are no key state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadState {
    /// Of a kind (a format version) that this build doesn't know.
    #[error("a key state of unknown kind {0}")]
    UnknownKind(u8),
    /// Not decodable, or against the state's own rules.
    #[error("a malformed key state")]
    Malformed,
}

impl KeyState {
    /// All that was seen.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The live versions (tombstones among them), sorted by request id.
    pub fn live(&self) -> &[(Rid, Version)] {
        &self.live
    }

    /// Hashes of the settled request ids, sorted, each with a clock no earlier than its first attempt's. (Hashes, since
    /// that is what tokens carry: a copy must settle what a token shows even if it never met it.)
    pub fn settled(&self) -> &[(u64, Hlc)] {
        self.settled.entries()
    }

    /// Whether a request is live or settled here: a retry.
    pub fn knows(&self, rid: &Rid) -> bool {
        self.find(rid).is_ok() || (!self.settled.is_empty() && self.settled.contains(rid.hash64()))
    }

    /// The versions a reader is shown: the values not expired at `now_ms`. None of them: not found.
    pub fn shown(&self, now_ms: u64) -> impl Iterator<Item = &(Rid, Version)> {
        self.live.iter().filter(move |(_, version)| {
            let value = match version.body {
                Body::Value(_) => true,
                Body::Tombstone => false,
            };
            value && version.expires.is_none_or(|expires_ms| now_ms < expires_ms)
        })
    }

    /// A hash of the sorted live dots with their tombstone flags: equal digests mean that a reader is shown the same.
    /// Persisted in hash trees, so its value never changes.
    pub fn digest(&self) -> u64 {
        let mut dots: Vec<(Dot, bool)> = Vec::with_capacity(self.live.len());
        for (_, version) in &self.live {
            let tombstone = version.body == Body::Tombstone;
            dots.extend(version.dots.iter().map(|dot| (*dot, tombstone)));
        }
        dots.sort_unstable();
        let mut bytes = Vec::with_capacity(1 + 33 * dots.len());
        bytes.push(DIGEST_VERSION);
        for (dot, tombstone) in dots {
            bytes.extend_from_slice(&dot.actor.node.0);
            bytes.extend_from_slice(&dot.actor.life.0.to_le_bytes());
            bytes.extend_from_slice(&dot.counter.to_le_bytes());
            bytes.push(u8::from(tombstone));
        }
        xxhash_rust::xxh3::xxh3_64(&bytes)
    }

    /// Where a request's live version is, or where it would be.
    fn find(&self, rid: &Rid) -> Result<usize, usize> {
        self.live.binary_search_by(|(other, _)| other.cmp(rid))
    }
}

#[cfg(test)]
mod tests;
