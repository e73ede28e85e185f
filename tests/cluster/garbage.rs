//! Garbage on the UDP ports changes nothing: random bytes, torn and altered packets of the protocol itself.

use crate::harness::{SOON, Setup, TestCluster, block_on, proc_entries, wait_for};
use crate::ledger::{Load, Plan, scatter};
use anser_client::{Client, Profile};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Datagrams in all.
const DATAGRAMS: u64 = 20_000;
/// Longest datagram of random bytes.
const BYTES_MAX: u64 = 1500;
/// A pause after so many lets the nodes' own traffic through, as on a real network.
const BURST: u64 = 50;

/// The first datagrams that a client sends: real ones to alter.
fn first_flight(profile: Profile) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let profile = Profile { addresses: vec![socket.local_addr().unwrap()], ..profile };
    let dialling = std::thread::spawn(|| {
        // Nobody answers it; what it sends is all that is wanted.
        let connect = async { tokio::time::timeout(Duration::from_secs(2), Client::connect(profile)).await };
        let _ = block_on(connect).map(drop);
    });
    let mut packets = Vec::new();
    for _ in 0..2 {
        let mut bytes = [0; 2048];
        let length = socket.recv(&mut bytes).unwrap();
        packets.push(bytes[..length].to_vec());
    }
    dialling.join().unwrap();
    packets
}

/// Datagram number `i`: one of five kinds.
fn datagram(i: u64, real: &[Vec<u8>]) -> Vec<u8> {
    let random = |salt: u64| scatter(i.wrapping_mul(31).wrapping_add(salt));
    let noise = |length: u64| (0..length).map(|n| scatter(random(n)).to_le_bytes()[0]).collect::<Vec<u8>>();
    let place = |length: usize| usize::try_from(random(1)).unwrap() % length;
    let mut packet = real[usize::try_from(random(2)).unwrap() % real.len()].clone();
    match i % 5 {
        0 => noise(random(0) % BYTES_MAX),
        // A long header of some version with a connection id, then noise.
        1 => {
            let mut bytes = noise(1200 + random(0) % 200);
            bytes[0] = 0xc0 | (bytes[0] & 0x3f);
            bytes[1..6].copy_from_slice(&[0, 0, 0, (random(3) % 3).to_le_bytes()[0], 8]);
            bytes
        }
        // A short header: of a connection that is not there.
        2 => {
            let mut bytes = noise(21 + random(0) % 100);
            bytes[0] = 0x40 | (bytes[0] & 0x3f);
            bytes
        }
        // A real packet, torn.
        3 => {
            packet.truncate(place(packet.len()));
            packet
        }
        // A real packet, altered.
        _ => {
            for salt in 4..4 + random(0) % 8 {
                let at = usize::try_from(random(salt)).unwrap() % packet.len();
                packet[at] ^= 1 << (random(salt + 100) % 8);
            }
            packet
        }
    }
}

fn counts(cluster: &TestCluster) -> Vec<(usize, usize)> {
    let of = |pid| (proc_entries(pid, "fd"), proc_entries(pid, "task"));
    cluster.nodes.iter().map(|node| of(node.pid())).collect()
}

#[test]
fn garbage_on_the_udp_ports_changes_nothing() {
    let cluster = TestCluster::start_as(Setup { words: &["--no-restart"], ..Setup::default() });
    let real = first_flight(cluster.profile());
    let quic = cluster.nodes.iter().map(|node| node.quic);
    let bulk = cluster.nodes.iter().map(|node| SocketAddr::new(node.quic.ip(), node.quic.port() + 1));
    let ports: Vec<SocketAddr> = quic.chain(bulk).collect();
    let load = Load::start(cluster.profile(), "meanwhile", Plan::default());
    load.go_on(100);
    let (before, pids) = (counts(&cluster), cluster.nodes.iter().map(|node| node.pid()).collect::<Vec<_>>());

    // Over few sockets and many: a handshake that never goes on must not hold anything either.
    let mut socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for i in 0..DATAGRAMS {
        if i % BURST == 0 {
            socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let to = ports[usize::try_from(i).unwrap() % ports.len()];
        // An empty buffer or a closed port is nothing to the test: it is the nodes that are watched.
        let _ = socket.send_to(&datagram(i, &real), to);
    }
    load.go_on(100);

    let ledger = load.end();
    ledger.flawless();
    block_on(async { ledger.check(&cluster.client().await, None).await });
    cluster.wait_whole();
    assert_eq!(pids, cluster.nodes.iter().map(|node| node.pid()).collect::<Vec<_>>());
    // The load's client has gone, one that checks has come and gone.
    wait_for("descriptors and threads are as before", SOON, || counts(&cluster) == before);
}
