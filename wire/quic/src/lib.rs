//! QUIC with mutual TLS: identities, certificates, endpoints, lanes. The only crate that names quinn and rustls.
//!
//! A node holds a [`NodeNetwork`]: one endpoint for control, data and sessions, and one for bulk on a thread of its own.
//! A client holds a [`ClientEndpoint`] and any number of [`ClientConnection`]s. Between two nodes there is at most one
//! connection kept for each purpose; messages travel in frames on long-lived streams (lanes), small gossip in datagrams,
//! frames too large for a lane on a stream of their own. Keeps: whoever speaks is who its certificate says; no queue grows
//! past its bound; a request is only ever answered "not sent" when nothing of it left the process. Deliberately absent:
//! order across streams, retries of requests, and any knowledge of what messages mean beyond their class.

mod accept;
mod call;
mod certificates;
mod client;
mod credentials;
mod dial;
mod handshake;
mod identity;
mod install;
mod lane;
mod network;
mod peer;
mod queue;
mod reader;
mod rejection;
mod route;
#[cfg(test)]
mod samples;
mod session;
mod settings;
mod shared;
mod start;
mod stats;
#[cfg(test)]
mod tests;
mod under_way;
mod verify;

pub use certificates::{
    AUTHORITY_DAYS, CertificateError, LEAF_DAYS, PemPair, cluster_of_authority, create_ca, issue, renew,
};
pub use client::{CallError, ClientConnection, ClientEndpoint, OUTSTANDING_MAX};
pub use credentials::{Credentials, CredentialsError};
pub use identity::{BadIdentity, Identity, Kind, Passport, is_name};
pub use network::{
    BindError, Clock, ClusterCell, Inbound, Limits, NetworkConfig, NetworkHandle, NodeNetwork, Source,
};
pub use rejection::{ConnectError, Rejection};
pub use stats::{Direction, Stats, Traffic};
