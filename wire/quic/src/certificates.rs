//! Makes certificates: an authority for a cluster, and leaves for its nodes, clients and operators.
//!
//! Deliberately absent: files. Every text in and out is PEM. Keys are Ed25519, made here and never derived.

use crate::identity::{Identity, Kind, NAME_BYTES_MAX, dns_name, is_name, uri};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::time::{Duration, SystemTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long an authority is valid, in days.
pub const AUTHORITY_DAYS: u32 = 3650;
/// The usual validity of a leaf, in days.
pub const LEAF_DAYS: u32 = 365;
/// Longest validity that is asked for, in days.
pub const DAYS_MAX: u32 = 36_500;
/// How far a certificate is dated back, in seconds: clocks differ.
const BACKDATED_S: u64 = 3600;
const DAY_S: u64 = 86_400;
/// What follows the cluster's name in its authority's.
const AUTHORITY_SUFFIX: &str = " authority";

/// A certificate and its private key, in PEM.
#[derive(Clone)]
pub struct PemPair {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: String,
}

/// Why no certificate was made. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a name.
    #[error("{0:?} is no name: 1 to {NAME_BYTES_MAX} of the characters a-z, 0-9 and -")]
    Name(String),
    /// Not a validity.
    #[error("a certificate is valid for 1 to {DAYS_MAX} days, not {0}")]
    Days(u32),
    /// The authority's certificate or key can't be used.
    #[error("the authority's {what} can't be used: {why}")]
    Authority {
        /// The certificate or the key.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The leaf to renew can't be used.
    #[error("the {what} to renew can't be used: {why}")]
    Leaf {
        /// The certificate or the key.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The library failed.
    #[error("making the certificate failed: {0}")]
    Making(String),
}

/// Makes a cluster's authority.
pub fn create_ca(cluster: &str) -> Result<PemPair, CertificateError> {
    let mut params = dated(AUTHORITY_DAYS)?;
    params.distinguished_name.push(DnType::CommonName, format!("{}{AUTHORITY_SUFFIX}", name(cluster)?));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate_for(&PKCS_ED25519).map_err(making)?;
    let certificate = params.self_signed(&key).map_err(making)?;
    Ok(PemPair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Issues a leaf. A node's serves both ends of a connection, a client's and an operator's only the dialling one.
pub fn issue(
    ca_certificate: &str,
    ca_key: &str,
    cluster: &str,
    kind: Kind,
    holder: &str,
    days: u32,
) -> Result<PemPair, CertificateError> {
    let issuer = issuer(ca_certificate, ca_key)?;
    let params = leaf_params(cluster, kind, holder, days)?;
    let key = KeyPair::generate_for(&PKCS_ED25519).map_err(making)?;
    let certificate = params.signed_by(&key, &issuer).map_err(making)?;
    Ok(PemPair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// A new certificate in place of `leaf`'s, for the same holder and the same key: the holder stays who it is. The old one
/// may have expired.
pub fn renew(
    ca_certificate: &str,
    ca_key: &str,
    leaf: &PemPair,
    days: u32,
) -> Result<String, CertificateError> {
    let unusable = |what, why: String| CertificateError::Leaf { what, why };
    let issuer = issuer(ca_certificate, ca_key)?;
    let holder = identity_of(&leaf.certificate).map_err(|why| unusable("certificate", why))?;
    if cluster_of_authority(ca_certificate)? != holder.cluster {
        return Err(unusable(
            "certificate",
            format!("it is of cluster {}, not of the authority's", holder.cluster),
        ));
    }
    let key = KeyPair::from_pem(&leaf.key).map_err(|error| unusable("key", error.to_string()))?;
    let params = leaf_params(&holder.cluster, holder.kind, &holder.name, days)?;
    let certificate = params.signed_by(&key, &issuer).map_err(making)?.pem();
    match identity_of(&certificate) {
        Ok(renewed) if renewed == holder => Ok(certificate),
        Ok(_) | Err(_) => Err(unusable("key", "it is not the certificate's".to_owned())),
    }
}

fn issuer(ca_certificate: &str, ca_key: &str) -> Result<Issuer<'static, KeyPair>, CertificateError> {
    let authority =
        |what| move |error: rcgen::Error| CertificateError::Authority { what, why: error.to_string() };
    let ca_key = KeyPair::from_pem(ca_key).map_err(authority("key"))?;
    Issuer::from_ca_cert_pem(ca_certificate, ca_key).map_err(authority("certificate"))
}

fn identity_of(certificate: &str) -> Result<Identity, String> {
    let der =
        CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| "it is not PEM".to_owned())?;
    Identity::of_certificate(&der).map_err(|error| error.to_string())
}

fn leaf_params(
    cluster: &str,
    kind: Kind,
    holder: &str,
    days: u32,
) -> Result<CertificateParams, CertificateError> {
    let (cluster, holder) = (name(cluster)?, name(holder)?);
    let mut params = dated(days)?;
    params.distinguished_name.push(DnType::CommonName, dns_name(cluster, holder));
    params.subject_alt_names = vec![
        SanType::DnsName(dns_name(cluster, holder).try_into().map_err(making)?),
        SanType::URI(uri(cluster, kind, holder).try_into().map_err(making)?),
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match kind {
        Kind::Node => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Kind::Client | Kind::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// The cluster whose authority this is, by its certificate.
pub fn cluster_of_authority(certificate: &str) -> Result<String, CertificateError> {
    let unusable = |why: &str| CertificateError::Authority { what: "certificate", why: why.to_owned() };
    let der =
        CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| unusable("it is not PEM"))?;
    let (_, read) = X509Certificate::from_der(der.as_ref()).map_err(|_| unusable("it is not readable"))?;
    let names = read.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let cluster =
        names.filter_map(|name| name.strip_suffix(AUTHORITY_SUFFIX)).find(|cluster| is_name(cluster));
    cluster.map(str::to_owned).ok_or_else(|| unusable("it names no cluster; make one with `anser certs ca`"))
}

/// A leaf whose time is over.
#[cfg(test)]
pub(crate) fn issue_expired(ca: &PemPair, cluster: &str, kind: Kind, holder: &str) -> PemPair {
    let issuer = Issuer::from_ca_cert_pem(&ca.certificate, KeyPair::from_pem(&ca.key).unwrap()).unwrap();
    let mut params = leaf_params(cluster, kind, holder, 1).unwrap();
    params.not_before = (SystemTime::now() - Duration::from_secs(2 * DAY_S)).into();
    params.not_after = (SystemTime::now() - Duration::from_secs(DAY_S)).into();
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    PemPair { certificate: params.signed_by(&key, &issuer).unwrap().pem(), key: key.serialize_pem() }
}

/// A leaf whose key is made of a seed: the same holder in every process.
#[cfg(test)]
pub(crate) fn issue_seeded(ca: &PemPair, cluster: &str, kind: Kind, holder: &str, seed: [u8; 32]) -> PemPair {
    /// What stands before the seed in an Ed25519 key's PKCS#8.
    const PKCS8_HEAD: [u8; 16] = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
    let der = rustls_pki_types::PrivatePkcs8KeyDer::from([&PKCS8_HEAD[..], &seed].concat());
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519).unwrap();
    let issuer = issuer(&ca.certificate, &ca.key).unwrap();
    let leaf = leaf_params(cluster, kind, holder, LEAF_DAYS).unwrap().signed_by(&key, &issuer).unwrap();
    PemPair { certificate: leaf.pem(), key: key.serialize_pem() }
}

fn name(text: &str) -> Result<&str, CertificateError> {
    if is_name(text) { Ok(text) } else { Err(CertificateError::Name(text.to_owned())) }
}

fn dated(days: u32) -> Result<CertificateParams, CertificateError> {
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(CertificateError::Days(days));
    }
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = (now - Duration::from_secs(BACKDATED_S)).into();
    params.not_after = (now + Duration::from_secs(u64::from(days) * DAY_S)).into();
    Ok(params)
}

fn making(error: rcgen::Error) -> CertificateError {
    CertificateError::Making(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Passport;
    use rustls_pki_types::{CertificateDer, pem::PemObject};

    #[test]
    fn a_leaf_names_its_holder_and_its_key() {
        let ca = create_ca("prod").unwrap();
        for kind in Kind::ALL {
            let leaf = issue(&ca.certificate, &ca.key, "prod", kind, "n1", 10).unwrap();
            let der = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap();
            let passport = Passport::of_certificate(&der).unwrap();
            let Identity { cluster, kind: read, name, node } = passport.identity.clone();
            assert_eq!((cluster.as_str(), read, name.as_str()), ("prod", kind, "n1"));
            let other = issue(&ca.certificate, &ca.key, "prod", kind, "n1", 10).unwrap();
            let other = CertificateDer::from_pem_slice(other.certificate.as_bytes()).unwrap();
            assert_ne!(Identity::of_certificate(&other).unwrap().node, node, "another key, another node");
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
            assert!((now + 9 * 86_400..=now + 10 * 86_400).contains(&passport.expires_at_s));
        }
    }

    #[test]
    fn a_renewed_leaf_is_the_same_holder() {
        let ca = create_ca("prod").unwrap();
        let old = issue_expired(&ca, "prod", Kind::Node, "n1");
        let renewed = renew(&ca.certificate, &ca.key, &old, 10).unwrap();
        assert_ne!(renewed, old.certificate);
        assert_eq!(identity_of(&renewed), identity_of(&old.certificate));

        let refusal = |ca: &PemPair, leaf: &PemPair| {
            renew(&ca.certificate, &ca.key, leaf, 10).err().unwrap().to_string()
        };
        let other = issue(&ca.certificate, &ca.key, "prod", Kind::Node, "n1", 10).unwrap();
        let mixed = PemPair { key: other.key, ..old.clone() };
        assert!(refusal(&ca, &mixed).contains("not the certificate's"));
        assert!(refusal(&create_ca("test").unwrap(), &old).contains("cluster prod"));
        let broken = PemPair { certificate: "nonsense".to_owned(), ..old };
        assert!(refusal(&ca, &broken).contains("not PEM"));
    }

    #[test]
    fn bad_orders_are_refused() {
        let ca = create_ca("prod").unwrap();
        let order = |cluster, name, days| {
            issue(&ca.certificate, &ca.key, cluster, Kind::Node, name, days).err().unwrap().to_string()
        };
        assert!(order("prod", "", 1).contains("no name"));
        assert!(order("Prod", "a", 1).contains("no name"));
        assert!(order("prod", "a.b", 1).contains("no name"));
        assert!(order("prod", "a", 0).contains("days"));
        assert!(create_ca("a/b").is_err());
        let broken = issue(&ca.certificate, "nonsense", "prod", Kind::Node, "a", 1).err().unwrap();
        assert!(broken.to_string().contains("authority's key"), "{broken}");
        let broken = issue("nonsense", &ca.key, "prod", Kind::Node, "a", 1).err().unwrap();
        assert!(broken.to_string().contains("authority's certificate"), "{broken}");
    }
}
