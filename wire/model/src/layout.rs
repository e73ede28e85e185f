//! Reading and writing of the formats that are laid out by hand: key states and tokens. Fixed-width numbers are little
//! endian; counts are LEB128 in their shortest form only, so that equal values have equal bytes.

use crate::context::Context;
use crate::id::{Actor, Life, NodeId};
use alloc::vec::Vec;

/// Fewest bytes of a context's entry: node, life and counter.
const ENTRY_BYTES_MIN: usize = 16 + 8 + 1;

/// What is still to be read. Every method gives `None` at the end of the input, or at what can't be.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A shortest-form LEB128 number.
    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let fits = (bits << shift) >> shift == bits;
            let shortest = byte != 0 || shift == 0;
            if !fits || !shortest {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A count of things that take at least `bytes_min` each, and so no more than the input can hold.
    pub fn count(&mut self, bytes_min: usize) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count <= self.0.len() / bytes_min.max(1)).then_some(count)
    }

    pub fn context(&mut self) -> Option<Context> {
        let count = self.count(ENTRY_BYTES_MIN)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let actor = Actor { node: NodeId(self.array()?), life: Life(self.u64()?) };
            entries.push((actor, self.varint()?));
        }
        Context::try_from(entries).ok()
    }
}

/// Appends a shortest-form LEB128 number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a count.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_varint(out, u64::try_from(count).unwrap_or(u64::MAX));
}

/// Appends a context.
pub(crate) fn put_context(out: &mut Vec<u8>, context: &Context) {
    put_count(out, context.len());
    for (actor, counter) in context.entries() {
        out.extend_from_slice(&actor.node.0);
        out.extend_from_slice(&actor.life.0.to_le_bytes());
        put_varint(out, *counter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.varint(), Some(value));
            assert!(reader.is_at_end());
            assert_eq!(Reader::new(&bytes[..bytes.len() - 1]).varint(), None, "{value} cut short");
        }
        assert_eq!(Reader::new(&[0x80, 0x00]).varint(), None, "a longer form of 0");
        assert_eq!(Reader::new(&[0xff; 10]).varint(), None, "more than 64 bits");
        assert_eq!(Reader::new(&[0xff; 9]).varint(), None, "no end");
    }

    #[test]
    fn counts_fit_the_input() {
        assert_eq!(Reader::new(&[2, 0, 0]).count(1), Some(2));
        assert_eq!(Reader::new(&[3, 0, 0]).count(1), None);
    }
}
