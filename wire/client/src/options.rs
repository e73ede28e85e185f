//! What may be asked of a single operation, and what it answers.

use anser_model::Level;
use anser_proto::client::{ContextArg, GetReceipt, PutReceipt, ShownVersion};
use bytes::Bytes;
use std::time::Duration;

/// How long an operation may take over all its attempts, unless told.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
/// The longest that an operation may take. Request ids are remembered for 15 minutes: a retry within 5 is always known.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// Options of a put or a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOptions {
    /// What the write settles.
    pub context: ContextArg,
    /// The level; the keyspace's own if none.
    pub level: Option<Level>,
    /// After how long the version is not shown any more.
    pub ttl: Option<Duration>,
    /// How long it may take over all attempts; at most [`TIMEOUT_MAX`].
    pub timeout: Duration,
}

impl Default for PutOptions {
    fn default() -> PutOptions {
        PutOptions { context: ContextArg::Blind, level: None, ttl: None, timeout: TIMEOUT_DEFAULT }
    }
}

/// Options of a get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetOptions {
    /// The level; the keyspace's own if none.
    pub level: Option<Level>,
    /// How long it may take over all attempts; at most [`TIMEOUT_MAX`].
    pub timeout: Duration,
}

impl Default for GetOptions {
    fn default() -> GetOptions {
        GetOptions { level: None, timeout: TIMEOUT_DEFAULT }
    }
}

/// A write that met its level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// A token of the state it left: writing with it settles this write.
    pub context: String,
    /// Who holds it.
    pub receipt: PutReceipt,
}

/// A read that met its level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// None: the key does not exist. One: its version. Several: versions that conflict.
    pub versions: Vec<ShownVersion>,
    /// A token of what was shown: writing with it settles all of `versions`. There is one also for a key that does not
    /// exist.
    pub context: String,
    /// Who answered.
    pub receipt: GetReceipt,
}

impl Found {
    /// The value, if there is exactly one version.
    pub fn value(&self) -> Option<&Bytes> {
        match self.versions.as_slice() {
            [version] => Some(&version.value),
            _ => None,
        }
    }
}
