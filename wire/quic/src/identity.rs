//! Who somebody is, as a certificate says it: cluster, kind, name, and the hash of the public key.
//!
//! Keeps: an identity is only ever made from a certificate; whether that is to be believed, the verifier decides.
//! The names stand in two subject alternative names: DNS `<name>.<cluster>` and URI `anser://<cluster>/<kind>/<name>`.

use anser_model::NodeId;
use core::fmt;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Longest name of a cluster, node, client or operator, in bytes.
pub const NAME_BYTES_MAX: usize = 63;
const SCHEME: &str = "anser://";

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A node of the cluster.
    Node,
    /// A client: reads and writes.
    Client,
    /// An operator: a client that may also administer.
    Operator,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 3] = [Kind::Node, Kind::Client, Kind::Operator];

    /// The name, as certificates have it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Node => "node",
            Kind::Client => "client",
            Kind::Operator => "operator",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// What the certificate is for.
    pub kind: Kind,
    /// The holder's name.
    pub name: String,
    /// The hash of the public key. For clients and operators it names their key, not a node.
    pub node: NodeId,
}

/// Why a certificate carries no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    /// Not an X.509 certificate.
    #[error("it is not a readable X.509 certificate")]
    Unreadable,
    /// Without a name of ours, or with two.
    #[error("it must carry exactly one name of the form anser://<cluster>/node|client|operator/<name>")]
    NoName,
    /// The DNS name differs from the other one.
    #[error("it must carry exactly one DNS name, <name>.<cluster>")]
    DnsName,
}

/// A certificate's identity, and until when it is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passport {
    /// Who.
    pub identity: Identity,
    /// Seconds since 1970 from which it is no longer valid.
    pub expires_at_s: i64,
}

/// Whether a text may name a cluster, node, client or operator: 1 to 63 of the characters a-z, 0-9 and -.
pub fn is_name(text: &str) -> bool {
    let fine = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(fine)
}

impl Identity {
    /// The DNS name in its certificate.
    pub fn dns_name(&self) -> String {
        dns_name(&self.cluster, &self.name)
    }

    /// Reads a certificate.
    pub fn of_certificate(der: &CertificateDer<'_>) -> Result<Identity, BadIdentity> {
        Passport::of_certificate(der).map(|passport| passport.identity)
    }
}

impl Passport {
    /// Reads a certificate.
    pub fn of_certificate(der: &CertificateDer<'_>) -> Result<Passport, BadIdentity> {
        let (_, certificate) =
            X509Certificate::from_der(der.as_ref()).map_err(|_| BadIdentity::Unreadable)?;
        let names = certificate.subject_alternative_name().map_err(|_| BadIdentity::Unreadable)?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let mut dns = names.iter().filter_map(|name| match name {
            GeneralName::DNSName(dns) => Some(*dns),
            _ => None,
        });
        let (Some(uri), None) = (uris.next(), uris.next()) else { return Err(BadIdentity::NoName) };
        let (cluster, kind, name) = parse_uri(uri).ok_or(BadIdentity::NoName)?;
        let (Some(dns), None) = (dns.next(), dns.next()) else { return Err(BadIdentity::DnsName) };
        if dns != dns_name(cluster, name) {
            return Err(BadIdentity::DnsName);
        }
        let node = NodeId::of_public_key(certificate.public_key().raw);
        Ok(Passport {
            identity: Identity { cluster: cluster.to_owned(), kind, name: name.to_owned(), node },
            expires_at_s: certificate.validity().not_after.timestamp(),
        })
    }
}

/// The DNS name of a holder.
pub(crate) fn dns_name(cluster: &str, name: &str) -> String {
    format!("{name}.{cluster}")
}

/// The URI of a holder.
pub(crate) fn uri(cluster: &str, kind: Kind, name: &str) -> String {
    format!("{SCHEME}{cluster}/{kind}/{name}")
}

fn parse_uri(uri: &str) -> Option<(&str, Kind, &str)> {
    let mut parts = uri.strip_prefix(SCHEME)?.split('/');
    let (cluster, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
    (parts.next().is_none() && is_name(cluster) && is_name(name)).then_some((cluster, kind, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_read_strictly() {
        assert_eq!(parse_uri("anser://prod/node/a-1"), Some(("prod", Kind::Node, "a-1")));
        assert_eq!(parse_uri("anser://prod/operator/eve"), Some(("prod", Kind::Operator, "eve")));
        for bad in [
            "",
            "anser://",
            "anser://prod/node",
            "anser://prod/node/",
            "anser:///node/a",
            "anser://prod/node/a/b",
            "anser://prod/root/a",
            "anser://Prod/node/a",
            "https://prod/node/a",
            "anser://prod/node/a b",
        ] {
            assert_eq!(parse_uri(bad), None, "{bad}");
        }
    }
}
