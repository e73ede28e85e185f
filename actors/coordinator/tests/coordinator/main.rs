//! The coordinator as others meet it: exact effects of single steps, and whole clusters of coordinators over fake replicas
//! in bad weather.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod gets;
mod interval;
mod puts;
mod rig;
mod storms;
mod weather;
