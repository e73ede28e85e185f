//! Compaction: which tables of a group are worth merging ([`choice`]), and the merging itself ([`merge`]).
//!
//! Deliberately absent: when, and how fast; that is the compactor's business.

pub mod choice;
pub mod merge;
pub(crate) mod newest;

#[cfg(test)]
mod tests;

pub use choice::{Choice, Run, choose};
pub use merge::{Merge, Merged};
