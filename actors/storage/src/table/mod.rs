//! The table format: an immutable, sorted set of keys with their whole states.
//!
//! A table is blocks (about [`BLOCK_BYTES`] each before compression, [`block`]), then its metadata ([`Table`]): key range,
//! counts, the first key of each block, and a Bloom filter. A block and the metadata are stored as one or more chunks of
//! at most [`chunk::CHUNK_BYTES`] ([`chunk`]), numbered from 0 through the whole table; a block's number is that of its
//! first chunk. So the number of a block stays small to keep, and no stored value is large.
//!
//! Deliberately absent: where chunks are stored, and versions of an entry: a table has each key once.

pub mod block;
mod bloom;
pub mod chunk;
mod meta;
mod writer;

#[cfg(test)]
mod tests;

pub use block::BLOCK_BYTES;
pub use bloom::Bloom;
pub use meta::{BadTable, Table};
pub use writer::{Finished, Writer, write};
