//! The client SDK: puts, gets and deletes over QUIC, straight to a replica, through nodes that fail.
//!
//! Keeps: an error never says *failed* of a write that may have been carried out; all attempts of a write carry one
//! request id, so a retry never makes a second version. `pursuit`, `route`, `attempt` and `error` decide and touch nothing;
//! `client`, `peer` and `clock` are the shell that reaches sockets and time. Deliberately absent: parsing of profile
//! files, resolving of conflicts, and caching of values.

mod attempt;
mod bootstrap;
mod client;
mod clock;
mod error;
mod keeper;
mod options;
mod peer;
mod profile;
mod pursuit;
mod route;
mod view;

pub use anser_model::{Key, KeyspaceName, Level};
pub use anser_proto::client::{ClusterReply, ContextArg, GetReceipt, MemberView, PutReceipt, ShownVersion};
pub use client::{Client, Counts};
pub use error::{Certainty, ClusterError, ConnectError, GetError, PutError, Tried};
pub use options::{Found, GetOptions, PutOptions, TIMEOUT_DEFAULT, TIMEOUT_MAX, Written};
pub use profile::Profile;
