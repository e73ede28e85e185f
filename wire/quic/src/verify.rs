//! Who may talk to whom: both ends judge the other's certificate in every handshake.
//!
//! Keeps: the chain ends at the own authority, the cluster is one's own, whoever accepts is a node. TLS 1.3 only, no
//! resumption (a resumed session would show an old certificate), no 0-RTT (it can be replayed). Deliberately absent:
//! host names; a node is its key, so the dialler checks the node it expects once the handshake is done.

use crate::credentials::Credentials;
use crate::identity::{Identity, Kind};
use crate::rejection::Rejection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// The protocol's name in the handshake: another version has another name.
pub const ALPN: &[u8] = b"anser/1";

/// The server name in every handshake. It is not looked at: the certificate says who somebody is.
pub(crate) const SERVER_NAME: &str = "anser.invalid";

/// Judges the node that was dialled.
#[derive(Debug)]
struct NodeVerifier {
    roots: Arc<RootCertStore>,
    cluster: String,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Judges whoever dials.
#[derive(Debug)]
struct DiallerVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    cluster: String,
}

/// The handshake's settings of a dialler.
pub(crate) fn dialler_config(credentials: &Credentials) -> Result<rustls::ClientConfig, Error> {
    let provider = provider();
    let verifier = NodeVerifier {
        roots: credentials.roots(),
        cluster: credentials.identity().cluster.clone(),
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(credentials.leaf())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// The handshake's settings of an accepting node.
pub(crate) fn acceptor_config(credentials: &Credentials) -> Result<rustls::ServerConfig, Error> {
    let provider = provider();
    let chain = WebPkiClientVerifier::builder_with_provider(credentials.roots(), Arc::clone(&provider))
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let verifier = DiallerVerifier { chain, cluster: credentials.identity().cluster.clone() };
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(credentials.leaf())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What the other end's certificate says, once its handshake is done.
pub(crate) fn identity_of(connection: &quinn::Connection) -> Result<Identity, Rejection> {
    let shown =
        connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let leaf = shown.as_ref().and_then(|chain| chain.first()).ok_or(Rejection::NoCertificate)?;
    Identity::of_certificate(leaf).map_err(|_| Rejection::BadCertificate)
}

/// What is wrong with a holder's certificate whose chain is good.
fn judge(leaf: &CertificateDer<'_>, cluster: &str, must_be_node: bool) -> Result<(), Rejection> {
    let identity = Identity::of_certificate(leaf).map_err(|_| Rejection::BadCertificate)?;
    if identity.cluster != cluster {
        return Err(Rejection::OtherCluster);
    }
    match identity.kind {
        Kind::Node => Ok(()),
        Kind::Client | Kind::Operator if must_be_node => Err(Rejection::NotANode),
        Kind::Client | Kind::Operator => Ok(()),
    }
}

/// A failed chain, in our words.
fn chain_failure(error: &Error) -> Rejection {
    match error {
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => Rejection::Expired,
        Error::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        ) => Rejection::NotANode,
        Error::InvalidCertificate(CertificateError::BadEncoding) => Rejection::BadCertificate,
        // What no own authority signed shows as an unknown issuer or, where only the name is the same, as a bad
        // signature of one kind or another.
        _ => Rejection::OtherAuthority,
    }
}

/// As an error whose text ends with the reason: the text travels to the other end.
fn refused(why: Rejection) -> Error {
    Error::Other(OtherError(Arc::new(why)))
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(leaf).map_err(|_| refused(Rejection::BadCertificate))?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )
        .map_err(|error| refused(chain_failure(&error)))?;
        judge(leaf, &self.cluster, true).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for DiallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .chain
            .verify_client_cert(leaf, intermediates, now)
            .map_err(|error| refused(chain_failure(&error)))?;
        judge(leaf, &self.cluster, false).map_err(refused)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
