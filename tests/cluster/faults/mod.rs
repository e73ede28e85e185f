//! Faults that only a node itself can make: an actor that panics, a disk that is slow.
//!
//! Needs the feature `faults`: `cargo test --features faults --test cluster faults`.

mod panics;
mod slow_disk;
