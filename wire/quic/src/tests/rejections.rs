//! Who is refused, by whom, and in which words.

use super::harness::{Authority, LOOPBACK, Node, PATIENCE, Settings};
use crate::dial::{Dialled, Target, dial};
use crate::handshake::Judge;
use crate::settings::{self, End};
use crate::{BindError, ClusterCell, ConnectError, Credentials, Kind, Rejection, verify};
use anser_model::{ClusterId, FolderId, Member};
use anser_proto::hello::{Hello, Purpose};
use rustls::client::ResolvesClientCert;
use std::net::SocketAddr;
use std::sync::Arc;

/// Dials as a client does, but with this TLS configuration.
async fn dial_with(
    credentials: &Credentials,
    address: SocketAddr,
    change: impl FnOnce(&mut rustls::ClientConfig),
) -> Result<Dialled, ConnectError> {
    let mut tls = verify::dialler_config(credentials).unwrap();
    change(&mut tls);
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(settings::transport(End::ClientDials));
    let endpoint = settings::open_endpoint(LOOPBACK, credentials, 1, None).unwrap();
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
    dial(&endpoint, config, target, &hello, judge).await
}

#[track_caller]
fn by_peer(result: Result<Dialled, ConnectError>, expected: Rejection) {
    match result.err() {
        Some(ConnectError::RefusedByPeer { why, .. }) if why == expected => {}
        other => panic!("{other:?} instead of {expected:?}"),
    }
}

#[track_caller]
fn by_us(result: Result<Dialled, ConnectError>, expected: Rejection) {
    match result.err() {
        Some(ConnectError::RefusedByUs { why, .. }) if why == expected => {}
        other => panic!("{other:?} instead of {expected:?}"),
    }
}

#[derive(Debug)]
struct Nothing;

impl ResolvesClientCert for Nothing {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

fn shows(leaf: &Credentials) -> impl FnOnce(&mut rustls::ClientConfig) + use<> {
    let leaf = leaf.leaf();
    move |tls| tls.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(leaf))
}

#[tokio::test]
async fn a_node_refuses_whom_its_authority_does_not_vouch_for() {
    let (ours, theirs) = (Authority::new("prod"), Authority::new("prod"));
    let node = ours.node("a");
    let good = ours.credentials(Kind::Client, "c");
    let session = dial_with(&good, node.address(), |_| {}).await;
    assert!(session.is_ok(), "{:?}", session.err());

    let other = theirs.credentials(Kind::Client, "c");
    by_peer(dial_with(&good, node.address(), shows(&other)).await, Rejection::OtherAuthority);

    let none = |tls: &mut rustls::ClientConfig| tls.client_auth_cert_resolver = Arc::new(Nothing);
    by_peer(dial_with(&good, node.address(), none).await, Rejection::NoCertificate);

    let elsewhere = ours.credentials_of("test", Kind::Client, "c");
    by_peer(dial_with(&good, node.address(), shows(&elsewhere)).await, Rejection::OtherCluster);

    let old = |tls: &mut rustls::ClientConfig| tls.alpn_protocols = vec![b"anser/0".to_vec()];
    by_peer(dial_with(&good, node.address(), old).await, Rejection::OtherProtocol);

    let seen = node.told.see(|seen| seen.rejected.clone());
    assert_eq!(seen, ["other authority", "no certificate", "other cluster", "other protocol"]);
    assert_eq!(node.handle.sessions(), 1);
}

#[tokio::test]
async fn a_client_refuses_a_node_of_another_authority_or_cluster() {
    let (ours, theirs) = (Authority::new("prod"), Authority::new("prod"));
    let node = ours.node("a");
    let stranger = theirs.credentials(Kind::Client, "c");
    by_us(dial_with(&stranger, node.address(), |_| {}).await, Rejection::OtherAuthority);
    let elsewhere = ours.credentials_of("test", Kind::Client, "c");
    by_us(dial_with(&elsewhere, node.address(), |_| {}).await, Rejection::OtherCluster);
    node.told.until(|seen| seen.rejected == ["other authority", "other cluster"]).await;
}

#[tokio::test]
async fn only_a_node_may_accept() {
    let authority = Authority::new("prod");
    for kind in [Kind::Client, Kind::Operator] {
        let impostor = authority.credentials(kind, "n1");
        let server = settings::server_config(&impostor).unwrap();
        let endpoint = settings::open_endpoint(LOOPBACK, &impostor, 1, Some(server)).unwrap();
        let address = endpoint.local_addr().unwrap();
        tokio::spawn(async move { endpoint.accept().await.unwrap().await });
        let client = authority.credentials(Kind::Client, "c");
        by_us(dial_with(&client, address, |_| {}).await, Rejection::NotANode);
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_as_such() {
    let authority = Authority::new("prod");
    let node = authority.node("a");
    let good = authority.credentials(Kind::Client, "c");
    let expired = crate::certificates::issue_expired(&authority.ca, "prod", Kind::Client, "c");
    let expired =
        Credentials::from_pem(&authority.ca.certificate, &expired.certificate, &expired.key).unwrap();
    by_peer(dial_with(&good, node.address(), shows(&expired)).await, Rejection::Expired);
}

#[tokio::test]
async fn a_node_that_is_not_the_one_dialled_gets_nothing() {
    let authority = Authority::new("prod");
    let (a, b, c) = (authority.node("a"), authority.node("b"), authority.node("c"));
    a.handle.set_address(c.id, b.address());
    a.handle.send(vec![a.request(c.id, 1, 10)]);
    a.told.until(|seen| seen.rejected.contains(&"other node than expected")).await;
    a.told.until(|seen| seen.answers.len() == 1).await;
    assert_eq!(b.told.see(|seen| seen.requests), 0);
    a.knows(&c);
    a.ask_after_refusal(c.id).await;
}

#[tokio::test]
async fn nodes_of_two_clusters_with_one_name_part_at_the_hello() {
    let authority = Authority::new("prod");
    let node = |name, cluster| {
        let mut settings = Settings::new(authority.credentials(Kind::Node, name));
        settings.cluster = ClusterCell::new(cluster);
        Node::start(settings)
    };
    let one = node("a", Some(ClusterId([1; 16])));
    let two = node("b", Some(ClusterId([2; 16])));
    let none = node("c", None);
    one.handle.dial_seed(two.address());
    one.told.until(|seen| seen.rejected == ["other cluster"]).await;
    two.told.until(|seen| seen.rejected == ["other cluster"]).await;
    none.handle.dial_seed(two.address());
    none.told.until(|seen| seen.up == [two.id]).await;
}

#[tokio::test]
async fn only_its_own_nodes_certificate_starts_a_network() {
    let authority = Authority::new("prod");
    let start = |credentials: Credentials, node, quic| {
        let config = crate::NetworkConfig {
            credentials,
            quic,
            bulk: LOOPBACK,
            member: Member { node, folder: FolderId([1; 16]) },
            cluster: Arc::default(),
            boot: 1,
            clock: Arc::new(super::harness::now),
            limits: Default::default(),
        };
        crate::NodeNetwork::start(config, Arc::new(super::harness::Told::default())).err()
    };
    let (node, client) = (authority.credentials(Kind::Node, "a"), authority.credentials(Kind::Client, "a"));
    let (node_id, client_id) = (node.identity().node, client.identity().node);
    assert!(matches!(start(client, client_id, LOOPBACK), Some(BindError::NotThisNode(_))));
    assert!(matches!(start(node.clone(), client_id, LOOPBACK), Some(BindError::NotThisNode(_))));
    let taken = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    let error = start(node, node_id, taken.local_addr().unwrap()).unwrap();
    assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()), "{error}");
}
