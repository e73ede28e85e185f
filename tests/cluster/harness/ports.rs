//! Ports that nobody uses.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Where they are looked for: below those that the system gives to outgoing connections.
const FIRST: u16 = 10_000;
const LOOKED_AT: u16 = 20_000;

/// A port such that it and the next ones are free, found a little apart from where other processes of tests look.
pub fn free_port(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 100).expect("small") * 100;
    let free =
        |port| UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..300 {
        let offset = NEXT.fetch_add(count, Ordering::Relaxed);
        let port = FIRST + (start + offset) % LOOKED_AT;
        if (port..port + count).all(free) {
            return port;
        }
    }
    panic!("no free ports");
}
