//! The roster: the cluster's members, where they are and how strong.

use crate::id::Member;
use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Declares a name of 1 to 63 of the characters a-z, 0-9 and -, as in host names.
macro_rules! place_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses a name.
            pub fn new(name: impl Into<String>) -> Result<$name, BadName> {
                let name = name.into();
                let fine = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
                if (1..=63).contains(&name.len()) && name.bytes().all(fine) {
                    Ok($name(name))
                } else {
                    Err(BadName(name))
                }
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(name: String) -> Result<$name, BadName> {
                $name::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// A text that is no name of a node, data centre or zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name: 1 to 63 of the characters a-z, 0-9 and -")]
pub struct BadName(pub String);

place_name! {
    /// A node's name, as its certificate says it.
    NodeName
}
place_name! {
    /// A data centre's name.
    DcName
}
place_name! {
    /// A zone's name, within its data centre: what fails together (a rack, a room).
    ZoneName
}

/// How strong a member is beside the others: its share of partitions grows with it. 1 to 1000, usually 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Weight(u16);

impl Weight {
    /// Parses a weight.
    pub fn new(weight: u16) -> Option<Weight> {
        (1..=1000).contains(&weight).then_some(Weight(weight))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Weight {
        Weight(100)
    }
}

impl TryFrom<u16> for Weight {
    type Error = &'static str;

    fn try_from(weight: u16) -> Result<Weight, &'static str> {
        Weight::new(weight).ok_or("a weight is 1 to 1000")
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> u16 {
        weight.0
    }
}

/// What the chain has decided about a member (not whether it seems alive).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MemberState {
    /// In service.
    Member,
    /// Replaced while away; its data drains when it returns.
    Absent,
    /// On its way out, by an operator's word.
    Leaving,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterEntry {
    /// Its identity.
    pub member: Member,
    /// Its name.
    pub name: NodeName,
    /// Its data centre.
    pub dc: DcName,
    /// Its zone.
    pub zone: ZoneName,
    /// Its strength.
    pub weight: Weight,
    /// What the chain says of it.
    pub state: MemberState,
}
