//! Where a cluster is and who the client is: what a profile file says, already parsed.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A cluster's addresses and the client's credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// QUIC addresses of some of its nodes; the others are learned from those. At least one.
    pub addresses: Vec<SocketAddr>,
    /// The cluster's certificate authority, a PEM file.
    pub ca: PathBuf,
    /// The client's certificate, a PEM file.
    pub cert: PathBuf,
    /// The certificate's private key, a PEM file.
    pub key: PathBuf,
}
