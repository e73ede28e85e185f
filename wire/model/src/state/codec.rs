//! A key state's bytes, as the disk and the wire hold them.
//!
//! Canonical: a state has one encoding, and `decode` takes no other. A live dot names its actor by its place in the
//! context, so that a dot outside the context can't be written.
//!
//! ```text
//! kind 1 | context: count, (node 16, life 8, counter)*
//!        | live: count, (writer 16, seq, dots: count, (place, counter)*, issued 8, flags 1, expires?, (length, value)?)*
//!        | settled: count, (hash 8, issued 8)*
//! ```

use super::settled::Settled;
use super::{BadState, Body, KeyState, Version};
use crate::context::Context;
use crate::hlc::Hlc;
use crate::id::{Dot, Rid};
use crate::layout::{Reader, put_context, put_count, put_varint};
use alloc::vec::Vec;
use bytes::Bytes;

const KIND: u8 = 1;
const FLAG_TOMBSTONE: u8 = 1;
const FLAG_EXPIRES: u8 = 2;
/// Fewest bytes of a live version: request id, one dot, clock, flags.
const VERSION_BYTES_MIN: usize = 16 + 1 + 3 + 8 + 1;
const DOT_BYTES_MIN: usize = 2;
const SETTLED_BYTES: usize = 16;

impl KeyState {
    /// The state's bytes: a kind byte, then its content in a canonical order (equal states, equal bytes).
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.encoded_bytes_about());
        self.encode_into(&mut out);
        Bytes::from(out)
    }

    /// Appends what [`KeyState::encode`] gives.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(KIND);
        put_context(out, &self.context);
        put_count(out, self.live.len());
        for (rid, version) in &self.live {
            put_version(out, &self.context, rid, version);
        }
        put_count(out, self.settled.entries().len());
        for (hash, issued) in self.settled.entries() {
            out.extend_from_slice(&hash.to_le_bytes());
            out.extend_from_slice(&issued.0.to_le_bytes());
        }
    }

    /// Reads a state back. Total, and in memory bounded by the input's length.
    pub fn decode(bytes: &[u8]) -> Result<KeyState, BadState> {
        let mut reader = Reader::new(bytes);
        match reader.byte() {
            Some(KIND) => read_state(&mut reader).filter(|_| reader.is_at_end()).ok_or(BadState::Malformed),
            Some(kind) => Err(BadState::UnknownKind(kind)),
            None => Err(BadState::Malformed),
        }
    }

    /// About how many bytes [`KeyState::encode`] gives: a little more than it will be.
    pub fn encoded_bytes_about(&self) -> usize {
        let versions: usize = self
            .live
            .iter()
            .map(|(_, version)| {
                let value = match &version.body {
                    Body::Value(value) => value.len() + 5,
                    Body::Tombstone => 0,
                };
                44 + 13 * version.dots.len() + value
            })
            .sum();
        16 + 34 * self.context.len() + versions + SETTLED_BYTES * self.settled.entries().len()
    }
}

fn put_version(out: &mut Vec<u8>, context: &Context, rid: &Rid, version: &Version) {
    out.extend_from_slice(&rid.writer.to_le_bytes());
    put_varint(out, rid.seq);
    put_count(out, version.dots.len());
    for dot in &version.dots {
        let place = context.entries().binary_search_by(|(actor, _)| actor.cmp(&dot.actor));
        put_count(out, place.unwrap_or_else(|_| unreachable!("live dot {dot} is not in its context")));
        put_varint(out, dot.counter);
    }
    out.extend_from_slice(&version.issued.0.to_le_bytes());
    let tombstone = if version.body == Body::Tombstone { FLAG_TOMBSTONE } else { 0 };
    out.push(tombstone | if version.expires.is_some() { FLAG_EXPIRES } else { 0 });
    if let Some(expires_ms) = version.expires {
        put_varint(out, expires_ms);
    }
    if let Body::Value(value) = &version.body {
        put_count(out, value.len());
        out.extend_from_slice(value);
    }
}

fn read_state(reader: &mut Reader<'_>) -> Option<KeyState> {
    let context = reader.context()?;
    let count = reader.count(VERSION_BYTES_MIN)?;
    let mut live: Vec<(Rid, Version)> = Vec::with_capacity(count);
    for _ in 0..count {
        let (rid, version) = read_version(reader, &context)?;
        if live.last().is_some_and(|(last, _)| *last >= rid) {
            return None;
        }
        live.push((rid, version));
    }
    let count = reader.count(SETTLED_BYTES)?;
    let (numbers, _) = reader.take(count.checked_mul(SETTLED_BYTES)?)?.as_chunks();
    let mut numbers = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let mut entries = Vec::with_capacity(count);
    while let (Some(hash), Some(issued)) = (numbers.next(), numbers.next()) {
        entries.push((hash, Hlc(issued)));
    }
    let settled = Settled::from_sorted(entries)?;
    let apart = live.iter().all(|(rid, _)| settled.is_empty() || !settled.contains(rid.hash64()));
    (apart && dots_are_distinct(&live)).then_some(KeyState { context, live, settled })
}

fn read_version(reader: &mut Reader<'_>, context: &Context) -> Option<(Rid, Version)> {
    let rid = Rid { writer: u128::from_le_bytes(reader.array()?), seq: reader.varint()? };
    let count = reader.count(DOT_BYTES_MIN)?;
    let mut dots: Vec<Dot> = Vec::with_capacity(count);
    for _ in 0..count {
        let place = usize::try_from(reader.varint()?).ok()?;
        let (actor, seen) = *context.entries().get(place)?;
        let dot = Dot { actor, counter: reader.varint()? };
        let ascends = dots.last().is_none_or(|last| *last < dot);
        if !ascends || dot.counter == 0 || dot.counter > seen {
            return None;
        }
        dots.push(dot);
    }
    let issued = Hlc(reader.u64()?);
    let flags = reader.byte()?;
    if dots.is_empty() || flags & !(FLAG_TOMBSTONE | FLAG_EXPIRES) != 0 {
        return None;
    }
    let expires = if flags & FLAG_EXPIRES == 0 { None } else { Some(reader.varint()?) };
    let body = if flags & FLAG_TOMBSTONE == 0 {
        let length = reader.count(1)?;
        Body::Value(Bytes::copy_from_slice(reader.take(length)?))
    } else {
        Body::Tombstone
    };
    Some((rid, Version { dots, issued, expires, body }))
}

/// Whether no dot is on two request ids.
fn dots_are_distinct(live: &[(Rid, Version)]) -> bool {
    if live.len() < 2 {
        return true;
    }
    let mut dots: Vec<Dot> = live.iter().flat_map(|(_, version)| version.dots.iter().copied()).collect();
    dots.sort_unstable();
    dots.iter().zip(dots.iter().skip(1)).all(|(a, b)| a != b)
}
