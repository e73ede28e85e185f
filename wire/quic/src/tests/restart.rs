//! A peer that dies and comes back.

use super::harness::{Authority, Node, PATIENCE, Settings, put};
use crate::{CallError, Credentials, Kind};
use anser_proto::{Body, Role};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A node on a thread and a runtime of its own, that can be killed.
struct Doomed {
    node: Node,
    stop: tokio_util::sync::CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

fn start(credentials: Credentials, quic: SocketAddr, boot: u64) -> Doomed {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut settings = Settings::new(credentials);
    settings.quic = quic;
    settings.boot = boot;
    let node = {
        let _inside = runtime.enter();
        Node::start(settings)
    };
    let stop = tokio_util::sync::CancellationToken::new();
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || runtime.block_on(stopped.cancelled()));
    Doomed { node, stop, thread }
}

/// Ends without a word, as a killed process does: the tasks stop first, then the sockets close.
fn kill(doomed: Doomed) -> SocketAddr {
    let address = doomed.node.address();
    doomed.stop.cancel();
    doomed.thread.join().unwrap();
    drop(doomed.node);
    let deadline = Instant::now() + PATIENCE;
    while std::net::UdpSocket::bind(address).is_err() {
        assert!(Instant::now() < deadline, "the port stays taken");
        std::thread::sleep(Duration::from_millis(1));
    }
    address
}

#[tokio::test]
async fn a_restarted_peer_is_noticed_at_once_and_talked_to() {
    let authority = Authority::new("prod");
    let credentials = authority.credentials(Kind::Node, "b");
    let a = authority.node("a");
    let b = start(credentials.clone(), super::harness::LOOPBACK, 1);
    a.knows(&b.node);
    a.ask(b.node.id, 100).await;
    let address = tokio::task::spawn_blocking(move || kill(b)).await.unwrap();
    let b = start(credentials, address, 2);
    let begun = Instant::now();
    // Each try may be swallowed by a connection to the process that is gone: its fate is unknown, and the next try tells.
    for seq in 0.. {
        a.handle.send(vec![a.request(b.node.id, seq, 10)]);
        let waited =
            tokio::time::timeout(Duration::from_millis(50), a.told.until(|seen| !seen.answers.is_empty()));
        if waited.await.is_ok() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "never answered");
    }
    // Far sooner than silence would tell.
    assert!(begun.elapsed() < Duration::from_millis(2000), "noticed after {:?}", begun.elapsed());
    a.told
        .see(|seen| assert!(seen.answers.iter().all(|(_, answer)| !matches!(answer.body, Body::Refused(_)))));
    tokio::task::spawn_blocking(move || kill(b)).await.unwrap();
}

#[tokio::test]
async fn a_clients_calls_to_a_killed_node_end_and_a_restart_is_noticed() {
    let authority = Authority::new("prod");
    let credentials = authority.credentials(Kind::Node, "b");
    let b = start(credentials.clone(), super::harness::LOOPBACK, 1);
    let client = authority.client(Kind::Client);
    let connection = client.connect(b.node.address(), PATIENCE).await.unwrap();
    connection.call(Role::Coordinator, put(vec![1]), PATIENCE).await.unwrap();
    let address = tokio::task::spawn_blocking(move || kill(b)).await.unwrap();
    let b = start(credentials, address, 2);
    let begun = Instant::now();
    let lost = connection.call(Role::Coordinator, put(vec![1]), PATIENCE).await;
    assert_eq!(lost, Err(CallError::Lost));
    // Far sooner than silence would tell.
    assert!(begun.elapsed() < Duration::from_millis(2000), "noticed after {:?}", begun.elapsed());
    let connection = client.connect(address, PATIENCE).await.unwrap();
    connection.call(Role::Coordinator, put(vec![1]), PATIENCE).await.unwrap();
    tokio::task::spawn_blocking(move || kill(b)).await.unwrap();
}
