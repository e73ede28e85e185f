//! The state of one key in one copy: its live versions, what it has seen, and which requests are settled.
//!
//! Source: Preguiça et al., "Dotted Version Vectors" (2010), with versions keyed by request id so that a retry never
//! makes a sibling. Keeps I-1 (a dot belongs to one request), I-2 (what the context claims was seen), I-4 (no false
//! siblings) and I-5 (merge is commutative, associative and idempotent).

use crate::context::Context;
use crate::hlc::Hlc;
use crate::id::{Actor, Dot, Rid};
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Most live versions of a key; a write that would make one more is refused.
pub const SIBLINGS_MAX: usize = 64;
/// Most settled request ids kept with a key, the oldest out first.
pub const SETTLED_MAX: usize = 64;

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
    settled: Vec<(Rid, Hlc)>,
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

    /// Settled request ids with the clocks of their first attempts, sorted.
    pub fn settled(&self) -> &[(Rid, Hlc)] {
        &self.settled
    }

    /// Whether a request is live or settled here: a retry.
    pub fn knows(&self, rid: &Rid) -> bool {
        todo!()
    }

    /// The versions a reader is shown: the values not expired at `now_ms`. None of them: not found.
    pub fn shown(&self, now_ms: u64) -> impl Iterator<Item = &(Rid, Version)> {
        self.live.iter().filter(move |_| { let _ = now_ms; todo!() })
    }

    /// Takes in all that another copy of the key knows.
    pub fn merge(&mut self, other: &KeyState) -> Merged {
        todo!()
    }

    /// Mints a version for `write` as this copy's `counter`-th write.
    pub fn mint(&mut self, actor: Actor, counter: u64, write: &Write) -> Result<Minted, MintError> {
        todo!()
    }

    /// A hash of the sorted live dots with their tombstone flags: equal digests mean that a reader is shown the same.
    /// Persisted in hash trees, so its value never changes.
    pub fn digest(&self) -> u64 {
        todo!()
    }

    /// The state's bytes: a kind byte, then its content in a canonical order (equal states, equal bytes).
    pub fn encode(&self) -> Bytes {
        todo!()
    }

    /// Reads a state back. Total, and in memory bounded by the input's length.
    pub fn decode(bytes: &[u8]) -> Result<KeyState, BadState> {
        todo!()
    }
}
