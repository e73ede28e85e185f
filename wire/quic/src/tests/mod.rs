//! The network on real sockets of the loopback device, and on a simulated network in virtual time.

mod client;
mod garbage;
mod harness;
mod lanes;
mod links;
mod rejections;
mod restart;
mod simulated;
mod undeliverable;
