//! Tests of the machine: exact effects of single steps, and small clusters in virtual time.

mod bounds;
mod clusters;
mod harness;
mod steps;
