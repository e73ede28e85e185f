//! What one end shows and whom it believes: the authority's certificate, its own certificate and its private key.
//!
//! Keeps: the certificate carries an identity and belongs to the key. Whether the authority signed it is the other end's
//! judgement, so that a wrong pair is named by who refuses it. The secrets that must outlive a restart (stateless resets)
//! are derived from the private key.

use crate::identity::{BadIdentity, Identity, Passport};
use rustls::RootCertStore;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// One end's credentials. Cheap to clone.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    passport: Passport,
    roots: Arc<RootCertStore>,
    leaf: Arc<CertifiedKey>,
    secret: [u8; 32],
}

/// Why credentials were not loaded; the text names the file.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file can't be read.
    #[error("{file}: {why}")]
    Unreadable {
        /// Which file.
        file: String,
        /// What the system said.
        why: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{file}: {why}")]
    Content {
        /// Which file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate carries no identity.
    #[error("{file}: {why}")]
    Identity {
        /// Which file.
        file: String,
        /// What is wrong with it.
        why: BadIdentity,
    },
    /// The key is not the certificate's.
    #[error("{key}: it is not the private key of the certificate in {certificate}")]
    OtherKey {
        /// The key's file.
        key: String,
        /// The certificate's file.
        certificate: String,
    },
}

/// One PEM text and where it came from.
struct Source<'a> {
    file: &'a str,
    pem: &'a [u8],
}

impl Source<'_> {
    fn bad(&self, why: impl Into<String>) -> CredentialsError {
        CredentialsError::Content { file: self.file.to_owned(), why: why.into() }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.pem).collect();
        let read = read.map_err(|error| self.bad(format!("it is not PEM: {error:?}")))?;
        if read.is_empty() { Err(self.bad("it holds no certificate in PEM")) } else { Ok(read) }
    }
}

impl Credentials {
    /// Reads the three PEM files.
    pub fn load(ca: &Path, certificate: &Path, key: &Path) -> Result<Credentials, CredentialsError> {
        let read = |path: &Path| {
            let file = path.display().to_string();
            match fs::read(path) {
                Ok(pem) => Ok((file, pem)),
                Err(why) => Err(CredentialsError::Unreadable { file, why }),
            }
        };
        let (ca, certificate, key) = (read(ca)?, read(certificate)?, read(key)?);
        Credentials::build(
            &Source { file: &ca.0, pem: &ca.1 },
            &Source { file: &certificate.0, pem: &certificate.1 },
            &Source { file: &key.0, pem: &key.1 },
        )
    }

    /// From three PEM texts.
    pub fn from_pem(ca: &str, certificate: &str, key: &str) -> Result<Credentials, CredentialsError> {
        Credentials::build(
            &Source { file: "authority", pem: ca.as_bytes() },
            &Source { file: "certificate", pem: certificate.as_bytes() },
            &Source { file: "private key", pem: key.as_bytes() },
        )
    }

    fn build(
        ca: &Source<'_>,
        certificate: &Source<'_>,
        key: &Source<'_>,
    ) -> Result<Credentials, CredentialsError> {
        let mut roots = RootCertStore::empty();
        for root in ca.certificates()? {
            roots.add(root).map_err(|error| ca.bad(format!("it can't be an authority: {error}")))?;
        }
        let chain = certificate.certificates()?;
        let leaf = chain.first().ok_or_else(|| certificate.bad("it holds no certificate"))?;
        let passport = Passport::of_certificate(leaf)
            .map_err(|why| CredentialsError::Identity { file: certificate.file.to_owned(), why })?;
        let der =
            PrivateKeyDer::from_pem_slice(key.pem).map_err(|_| key.bad("it holds no private key in PEM"))?;
        let secret = blake3::derive_key("anser-quic 2026 secrets of an endpoint", der.secret_der());
        let signer =
            any_supported_type(&der).map_err(|error| key.bad(format!("the key can't be used: {error}")))?;
        let leaf = CertifiedKey::new(chain, signer);
        leaf.keys_match().map_err(|_| CredentialsError::OtherKey {
            key: key.file.to_owned(),
            certificate: certificate.file.to_owned(),
        })?;
        Ok(Credentials(Arc::new(Inner { passport, roots: Arc::new(roots), leaf: Arc::new(leaf), secret })))
    }

    /// Who they say the holder is.
    pub fn identity(&self) -> &Identity {
        &self.0.passport.identity
    }

    /// Seconds since 1970 from which the certificate is no longer valid.
    pub fn expires_at_s(&self) -> i64 {
        self.0.passport.expires_at_s
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0.roots)
    }

    pub(crate) fn leaf(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.leaf)
    }

    /// A secret for one purpose, the same at every start.
    pub(crate) fn secret(&self, purpose: &str) -> [u8; 32] {
        *blake3::keyed_hash(&self.0.secret, purpose.as_bytes()).as_bytes()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Credentials").field(self.identity()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::{create_ca, issue};
    use crate::identity::Kind;

    #[test]
    fn errors_name_the_file_and_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let ca = create_ca("prod").unwrap();
        let leaf = issue(&ca.certificate, &ca.key, "prod", Kind::Node, "n1", 10).unwrap();
        let other = issue(&ca.certificate, &ca.key, "prod", Kind::Node, "n1", 10).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let good = (
            write("ca.pem", &ca.certificate),
            write("n1.pem", &leaf.certificate),
            write("n1.key", &leaf.key),
        );
        let loaded = Credentials::load(&good.0, &good.1, &good.2).unwrap();
        assert_eq!(loaded.identity().name, "n1");
        let fails = |ca: &Path, certificate: &Path, key: &Path, words: &[&str]| {
            let said = Credentials::load(ca, certificate, key).err().unwrap().to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        };
        let empty = write("empty.pem", "");
        fails(&folder.path().join("none.pem"), &good.1, &good.2, &["none.pem", "No such file"]);
        fails(&empty, &good.1, &good.2, &["empty.pem", "no certificate"]);
        fails(&good.0, &good.2, &good.2, &["n1.key", "no certificate"]);
        fails(&good.0, &good.0, &good.2, &["ca.pem", "anser://"]);
        fails(&good.0, &good.1, &good.1, &["n1.pem", "no private key"]);
        fails(
            &good.0,
            &good.1,
            &write("other.key", &other.key),
            &["other.key", "n1.pem", "not the private key"],
        );
    }

    #[test]
    fn secrets_are_the_keys_own_and_stay_the_same() {
        let ca = create_ca("prod").unwrap();
        let make = || issue(&ca.certificate, &ca.key, "prod", Kind::Node, "n1", 10).unwrap();
        let (one, two) = (make(), make());
        let load = |pair: &crate::PemPair| {
            Credentials::from_pem(&ca.certificate, &pair.certificate, &pair.key).unwrap()
        };
        assert_eq!(load(&one).secret("reset"), load(&one).secret("reset"));
        assert_ne!(load(&one).secret("reset"), load(&two).secret("reset"));
        assert_ne!(load(&one).secret("reset"), load(&one).secret("ids"));
    }
}
