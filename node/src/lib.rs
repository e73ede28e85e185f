//! Assembly and I/O: boot, config, disk, metrics, admin HTTP and the command line.
//!
//! The only crate that knows every other one. Deliberately absent: any rule of the protocol; those are the actors'.

pub mod certs;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dev;
pub mod disk;
pub mod http;
pub mod init;
pub mod metrics;
pub mod runtime;

pub use cli::main;
