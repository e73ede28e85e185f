//! The network on real sockets of the loopback device.

mod client;
mod garbage;
mod harness;
mod lanes;
mod links;
mod rejections;
mod restart;
mod undeliverable;
