//! Clients and operators.

use super::harness::{Authority, Node, PATIENCE, Settings, put, value_of};
use crate::{CallError, ConnectError, Kind, Limits, OUTSTANDING_MAX, Rejection};
use anser_proto::admin::AdminRequest;
use anser_proto::{Body, Refusal, Role};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[tokio::test]
async fn thousands_of_calls_share_one_lane_and_get_their_own_answers() {
    let authority = Authority::new("prod");
    let node = authority.node("a");
    let connection = authority.client(Kind::Client).connect(node.address(), PATIENCE).await.unwrap();
    assert_eq!(connection.node(), node.id);
    let mut calls = JoinSet::new();
    for call in 0..5000u32 {
        let connection = connection.clone();
        calls.spawn(async move {
            let value = call.to_le_bytes().to_vec();
            let answer = connection.call(Role::Coordinator, put(value.clone()), PATIENCE).await.unwrap();
            assert_eq!(value_of(answer), value);
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    assert_eq!(connection.outstanding(), 0);
    assert_eq!(node.handle.sessions(), 1);
    drop(connection);
    node.told.until(|seen| seen.closed == seen.opened && seen.opened.len() == 1).await;
    assert_eq!(node.handle.sessions(), 0);
}

#[tokio::test]
async fn large_values_go_both_ways_beside_small_ones() {
    let authority = Authority::new("prod");
    let node = authority.node("a");
    let connection = authority.client(Kind::Client).connect(node.address(), PATIENCE).await.unwrap();
    for bytes in [0, 1, 32 * 1024 - 200, 32 * 1024, 100_000, 16 << 20] {
        let value: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        let answer = connection.call(Role::Coordinator, put(value.clone()), PATIENCE).await.unwrap();
        assert!(value_of(answer) == value, "{bytes}");
    }
}

#[tokio::test]
async fn a_session_says_only_what_its_certificate_allows() {
    let authority = Authority::new("prod");
    let node = authority.node("a");
    let describe = || Body::Admin(AdminRequest::DescribeNode);
    for (kind, role, body, allowed) in [
        (Kind::Client, Role::Coordinator, put(vec![1]), true),
        (Kind::Client, Role::Membership, put(vec![1]), true),
        (Kind::Client, Role::Replica, put(vec![1]), false),
        (Kind::Client, Role::Membership, describe(), false),
        (Kind::Operator, Role::Membership, describe(), true),
        (Kind::Operator, Role::Coordinator, describe(), false),
        (Kind::Operator, Role::Replica, crate::samples::request(1, 10).body, false),
    ] {
        let connection = authority.client(kind).connect(node.address(), PATIENCE).await.unwrap();
        let answer = connection.call(role, body, PATIENCE).await.unwrap();
        assert_eq!(answer != Body::Refused(Refusal::NotAllowed), allowed, "{kind} {role:?}");
    }
}

#[tokio::test]
async fn calls_on_a_lost_connection_say_whether_they_left() {
    let authority = Authority::new("prod");
    let mut settings = Settings::new(authority.credentials(Kind::Node, "a"));
    settings.mute = true;
    let node = Node::start(settings);
    let connection = authority.client(Kind::Client).connect(node.address(), PATIENCE).await.unwrap();
    let begun = Instant::now();
    let late = connection.call(Role::Coordinator, put(vec![1]), Duration::from_millis(100)).await;
    assert_eq!(late, Err(CallError::TimedOut));
    assert!(begun.elapsed() < Duration::from_secs(2));
    let lost = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.call(Role::Coordinator, put(vec![1]), PATIENCE).await })
    };
    node.told.until(|seen| seen.requests == 2).await;
    drop(node);
    assert_eq!(lost.await.unwrap(), Err(CallError::Lost));
    assert!(connection.is_closed());
    let after = connection.call(Role::Coordinator, put(vec![1]), PATIENCE).await;
    assert_eq!(after, Err(CallError::NotSent));
}

#[tokio::test]
async fn calls_outstanding_are_bounded() {
    let authority = Authority::new("prod");
    let mut settings = Settings::new(authority.credentials(Kind::Node, "a"));
    settings.mute = true;
    settings.limits = Limits { session_requests_max: 100, ..Limits::default() };
    let node = Node::start(settings);
    let connection = authority.client(Kind::Client).connect(node.address(), PATIENCE).await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..OUTSTANDING_MAX + 10 {
        let connection = connection.clone();
        calls.spawn(
            async move { connection.call(Role::Coordinator, put(vec![1]), Duration::from_secs(2)).await },
        );
    }
    let (mut refused_here, mut refused_there, mut timed_out) = (0, 0, 0);
    while let Some(done) = calls.join_next().await {
        match done.unwrap() {
            Err(CallError::Busy) => refused_here += 1,
            Err(CallError::TimedOut) => timed_out += 1,
            Ok(Body::Refused(Refusal::Busy)) => refused_there += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((refused_here, refused_there, timed_out), (10, OUTSTANDING_MAX - 100, 100));
    assert_eq!(node.told.see(|seen| seen.requests), 100);
}

#[tokio::test]
async fn sessions_are_bounded() {
    let authority = Authority::new("prod");
    let mut settings = Settings::new(authority.credentials(Kind::Node, "a"));
    settings.limits = Limits { sessions_max: 1, ..Limits::default() };
    let node = Node::start(settings);
    let client = authority.client(Kind::Client);
    let first = client.connect(node.address(), PATIENCE).await.unwrap();
    let second = client.connect(node.address(), PATIENCE).await.err().unwrap();
    assert_eq!(second.rejection(), Some(Rejection::TooManySessions), "{second}");
    assert!(!second.is_not_allowed());
    first.close();
    node.told.until(|seen| seen.closed.len() == 1).await;
    client.connect(node.address(), PATIENCE).await.unwrap();
}

#[tokio::test]
async fn calls_past_the_sessions_bytes_are_each_answered_or_refused() {
    let authority = Authority::new("prod");
    let mut settings = Settings::new(authority.credentials(Kind::Node, "a"));
    settings.limits = Limits { session_bytes_max: 1 << 20, ..Limits::default() };
    let node = Node::start(settings);
    let connection = authority.client(Kind::Client).connect(node.address(), PATIENCE).await.unwrap();
    let value = vec![7; 900_000];
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (connection, value) = (connection.clone(), value.clone());
        calls.spawn(async move { connection.call(Role::Coordinator, put(value), PATIENCE).await });
    }
    let (mut answered, mut refused) = (0, 0);
    while let Some(done) = calls.join_next().await {
        match done.unwrap().unwrap() {
            Body::Refused(Refusal::Busy) => refused += 1,
            other => answered += usize::from(value_of(other).len() == value.len()),
        }
    }
    assert_eq!(answered + refused, 20, "each is answered, whole or refused");
    assert!(answered > 0);
}

#[tokio::test]
async fn nobody_there_is_told_in_time() {
    let authority = Authority::new("prod");
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let timeout = Duration::from_millis(300);
    let error = authority.client(Kind::Client).connect(silent.local_addr().unwrap(), timeout).await.err();
    assert!(matches!(error, Some(ConnectError::TimedOut { .. })), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(2));
}
