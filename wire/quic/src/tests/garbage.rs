//! Bytes that make no sense, from strangers and from those who should know better.

use super::harness::{Authority, LOOPBACK, PATIENCE, put, value_of};
use crate::dial::{Dialled, Target, dial};
use crate::handshake::Judge;
use crate::rejection::CLOSE_MALFORMED;
use crate::settings::{self, End};
use crate::{Credentials, Kind};
use anser_proto::Role;
use anser_proto::hello::{Hello, Purpose};
use quinn::ConnectionError;
use std::net::SocketAddr;

async fn raw_session(credentials: &Credentials, address: SocketAddr) -> Dialled {
    let endpoint = settings::open_endpoint(LOOPBACK, credentials, 1, None).unwrap();
    let config = settings::client_config(credentials, End::ClientDials).unwrap();
    let identity = credentials.identity();
    let hello = Hello {
        cluster_name: identity.cluster.clone(),
        cluster: None,
        member: None,
        boot: 1,
        purpose: Purpose::Session,
        bulk_port: None,
    };
    let judge = Judge { cluster_name: &identity.cluster, cluster: None, me: identity.node };
    let target = Target { address, expected: None, timeout: PATIENCE };
    dial(&endpoint, config, target, &hello, judge).await.unwrap()
}

fn noise(length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..)).take(length).collect()
}

#[tokio::test]
async fn noise_on_the_ports_changes_nothing() {
    let authority = Authority::new("prod");
    let node = authority.node("a");
    let connection = authority.client(Kind::Client).connect(node.address(), PATIENCE).await.unwrap();
    let stranger = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    for round in 0..2000 {
        let mut bytes = noise(round % 1400);
        if let (Some(first), true) = (bytes.first_mut(), round % 2 == 0) {
            // Looks like the first packet of a connection.
            *first |= 0xc0;
        }
        for address in [node.address(), node.network.bulk_address()] {
            let _ = stranger.send_to(&bytes, address);
        }
        if round % 100 == 0 {
            let answer = connection.call(Role::Coordinator, put(vec![7]), PATIENCE).await.unwrap();
            assert_eq!(value_of(answer), vec![7]);
        }
    }
    assert_eq!(node.handle.sessions(), 1);
    node.told.see(|seen| assert!(seen.rejected.is_empty() && seen.closed.is_empty()));
}

#[tokio::test]
async fn a_malformed_frame_closes_its_connection_and_no_other() {
    let authority = Authority::new("prod");
    let node = authority.node("a");
    let credentials = authority.credentials(Kind::Client, "c");
    let good = authority.client(Kind::Client).connect(node.address(), PATIENCE).await.unwrap();
    let hostile: [&[u8]; 5] = [
        &[0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0],
        &[3, 0, 0, 0, 99, 1, 2],
        &[3, 0, 0, 0, 1, 0xff, 0xff],
        &[0, 0, 1, 0],
    ];
    for bytes in hostile {
        let mut session = raw_session(&credentials, node.address()).await;
        session.streams.send.write_all(bytes).await.unwrap();
        let reason = tokio::time::timeout(PATIENCE, session.connection.closed()).await.unwrap();
        let ConnectionError::ApplicationClosed(close) = &reason else { panic!("{reason}") };
        assert_eq!(close.error_code, CLOSE_MALFORMED, "{reason}");
        assert!(String::from_utf8_lossy(&close.reason).contains("frame"), "{reason}");
    }
    let session = raw_session(&credentials, node.address()).await;
    let mut large = session.connection.open_uni().await.unwrap();
    large.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    let reason = tokio::time::timeout(PATIENCE, session.connection.closed()).await.unwrap();
    assert!(matches!(reason, ConnectionError::ApplicationClosed(_)), "{reason}");
    good.call(Role::Coordinator, put(vec![1]), PATIENCE).await.unwrap();
    node.told.until(|seen| seen.opened.len() == 7 && seen.closed.len() == 6).await;
}
