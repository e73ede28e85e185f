//! Keys and keyspace names, parsed once: a value of these types can't hold a bad one.

use alloc::string::String;
use bytes::Bytes;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 16 * 1024;
/// Largest value that any configuration may allow, and the default limit, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest keyspace name, in bytes.
pub const KEYSPACE_NAME_BYTES_MAX: usize = 64;

/// A key: 1 byte to 16 KiB of anything.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct Key(Bytes);

/// Why some bytes are no key. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// No byte at all.
    #[error("the key is empty; a key has 1 to {KEY_BYTES_MAX} bytes")]
    Empty,
    /// Longer than [`KEY_BYTES_MAX`].
    #[error("the key has {0} bytes; the limit is {KEY_BYTES_MAX}")]
    TooLong(usize),
}

impl Key {
    /// Parses a key.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Key, BadKey> {
        let bytes = bytes.into();
        match bytes.len() {
            0 => Err(BadKey::Empty),
            length if Key::is_length(length) => Ok(Key(bytes)),
            long => Err(BadKey::TooLong(long)),
        }
    }

    /// Whether a key may have so many bytes.
    pub fn is_length(bytes: usize) -> bool {
        (1..=KEY_BYTES_MAX).contains(&bytes)
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl TryFrom<Bytes> for Key {
    type Error = BadKey;

    fn try_from(bytes: Bytes) -> Result<Key, BadKey> {
        Key::new(bytes)
    }
}

impl From<Key> for Bytes {
    fn from(key: Key) -> Bytes {
        key.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.escape_ascii())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match core::str::from_utf8(&self.0) {
            Ok(text) => f.write_str(text),
            Err(_) => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

/// A keyspace's name: `[a-z0-9_-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyspaceName(String);

/// A text that is no keyspace name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no keyspace name: 1 to {KEYSPACE_NAME_BYTES_MAX} of the characters a-z, 0-9, _ and -")]
pub struct BadKeyspaceName(pub String);

impl KeyspaceName {
    /// Parses a name.
    pub fn new(name: impl Into<String>) -> Result<KeyspaceName, BadKeyspaceName> {
        let name = name.into();
        let fine = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
        if (1..=KEYSPACE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fine) {
            Ok(KeyspaceName(name))
        } else {
            Err(BadKeyspaceName(name))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for KeyspaceName {
    /// The name of the keyspace that every cluster begins with.
    fn default() -> KeyspaceName {
        KeyspaceName(String::from("default"))
    }
}

impl TryFrom<String> for KeyspaceName {
    type Error = BadKeyspaceName;

    fn try_from(name: String) -> Result<KeyspaceName, BadKeyspaceName> {
        KeyspaceName::new(name)
    }
}

impl From<KeyspaceName> for String {
    fn from(name: KeyspaceName) -> String {
        name.0
    }
}

impl fmt::Display for KeyspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
