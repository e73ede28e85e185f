//! The opaque context token that a client gets with an answer and gives back with a write.
//!
//! It is bound to one keyspace and key, and carries a MAC, so that no client can claim to have seen what it was not
//! shown. It holds no ring step: it outlives ring changes.

use crate::context::Context;
use crate::id::KeyspaceId;
use crate::key::Key;
use crate::state::{KeyState, Seen};
use alloc::string::String;
use alloc::vec::Vec;

/// What a client was shown of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    context: Context,
    rids: Vec<u64>,
}

/// Why a text is no token for this key. Nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not base64url, too short, or not decodable.
    #[error("the context is damaged; use one exactly as `get` or `put` printed it")]
    Malformed,
    /// Of a version that this build doesn't know.
    #[error("the context is of version {0}, which this node doesn't know")]
    UnknownVersion(u8),
    /// Its MAC doesn't fit: another cluster's, another key's, or altered.
    #[error("the context is not of this cluster, keyspace and key; read the key again")]
    Forged,
}

impl Token {
    /// What a reader of `state` was shown.
    pub fn of(state: &KeyState) -> Token {
        todo!()
    }

    /// The token's text (base64url without padding), sealed with the newest MAC key.
    pub fn seal(&self, mac_key: &[u8; 32], keyspace: KeyspaceId, key: &Key) -> String {
        todo!()
    }

    /// Reads a token back; any of `mac_keys` may have sealed it.
    pub fn open(text: &str, mac_keys: &[[u8; 32]], keyspace: KeyspaceId, key: &Key) -> Result<Token, BadToken> {
        todo!()
    }

    /// What a write with this token has seen.
    pub fn into_seen(self) -> Seen {
        Seen::Token { context: self.context, rids: self.rids }
    }
}
