//! What is stored where, over a few operations on ordered trees ([`Trees`]): commit log segments, tables, slots, and the
//! manifest that says which of them count. Pure: whoever has trees (a disk, a simulated one) can use it.
//!
//! Keeps: what was synced is read back or reported as damaged, never silently missing; a group of records is there whole
//! or not at all. Deliberately absent: threads, batching, files.

pub mod cell;
pub mod check;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod install;
pub mod log;
mod manifest;
pub mod recovery;
pub mod row;
mod segments;
mod trees;

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;

pub use manifest::{BadManifest, Manifest, TableEntry};
pub use segments::{Segment, Segments};
pub use trees::{Part, StoreError, TreeName, Trees, VALUE_BYTES_MAX, Visit};
