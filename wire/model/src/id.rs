//! Identities: of nodes, folders, copies, writes and places. Newtypes, so that none can stand for another.

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Declares a 128-bit identity that is shown as 32 hexadecimal digits.
macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl core::str::FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let mut bytes = [0; 16];
                if text.len() != 32 || !text.is_ascii() {
                    return Err(BadId);
                }
                for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
                    let digits = text.get(at..at + 2).ok_or(BadId)?;
                    *byte = u8::from_str_radix(digits, 16).map_err(|_| BadId)?;
                }
                Ok($name(bytes))
            }
        }
    };
}

/// A text that is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hexadecimal digits")]
pub struct BadId;

id128! {
    /// A node: the hash of its public key. Never reused.
    NodeId
}
id128! {
    /// A data folder: drawn when the folder is made.
    FolderId
}
id128! {
    /// A cluster: drawn at `init`, part of every handshake, so that two clusters can't merge by accident.
    ClusterId
}

impl NodeId {
    /// The identity that belongs to a public key, given in its DER form (SubjectPublicKeyInfo).
    pub fn of_public_key(der: &[u8]) -> NodeId {
        let mut id = [0; 16];
        blake3::Hasher::new().update(der).finalize_xof().fill(&mut id);
        NodeId(id)
    }

    /// The first eight digits: enough for a table or a log line.
    pub fn short(&self) -> String {
        alloc::format!("{self}").chars().take(8).collect()
    }
}

/// A node together with the data folder it serves. A node with a new folder is another member, and the old one's
/// data is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Who serves.
    pub node: NodeId,
    /// From which folder.
    pub folder: FolderId,
}

/// The life of one copy, random, drawn when the copy begins and never stored as the holder's own: no counter is ever
/// reused or claimed by a copy that forgot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Life(pub u64);

impl Life {
    /// The life that follows when the copy forgets while its process goes on. As random as the one before, from which it is
    /// made: one to one, so that two copies never come to share one that way. Source: Steele et al., SplitMix64 (2014).
    #[must_use]
    pub fn next(self) -> Life {
        let mut mixed = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Life(mixed ^ (mixed >> 31))
    }
}

/// Who mints dots: one life of one node's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// The node.
    pub node: NodeId,
    /// Its copy's life.
    pub life: Life,
}

/// The identity of one write: the `counter`-th one (from 1) of its actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Who minted it.
    pub actor: Actor,
    /// Which of its writes, from 1.
    pub counter: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}.{}", self.actor.node.short(), self.actor.life.0, self.counter)
    }
}

/// A request's identity, fixed by the client over all retries of one mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rid {
    /// Drawn at random for each run of a client.
    pub writer: u128,
    /// The client's own count.
    pub seq: u64,
}

impl Rid {
    /// A 64-bit hash, as context tokens carry it. Its value is persisted by clients: it never changes.
    pub fn hash64(&self) -> u64 {
        let mut bytes = [0; 24];
        let (writer, seq) = bytes.split_at_mut(16);
        writer.copy_from_slice(&self.writer.to_le_bytes());
        seq.copy_from_slice(&self.seq.to_le_bytes());
        xxhash_rust::xxh3::xxh3_64(&bytes)
    }
}

/// An index in the ring chain; grows by one with each decided record. Step 0 is "no record yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Step(pub u64);

/// A partition's collection round; only grows, apart from the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Round(pub u64);

/// A keyspace; never reused, even for a name created again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyspaceId(pub u32);

/// One of the ring's fixed, equal partitions (the virtual nodes), from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId(pub u16);
