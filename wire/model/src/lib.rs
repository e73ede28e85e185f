//! The values every layer of Anser speaks: ids, keys, hybrid time, versions, tokens, quorums and the ring.
//!
//! Nothing in here can reach a clock, a socket, a disk or a thread: time comes in as a value, and every
//! function is total. Deliberately absent: any notion of a message, an actor or a file.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod context;
pub mod hlc;
pub mod id;
pub mod key;
mod layout;
pub mod level;
pub mod merkle;
pub mod minter;
pub mod ring;
pub mod state;
pub mod token;

pub use context::Context;
pub use hlc::Hlc;
pub use id::{
    Actor, ClusterId, Dot, FolderId, KeyspaceId, Life, Member, NodeId, PartitionId, Rid, Round, Step,
};
pub use key::{Key, KeyspaceName};
pub use level::{Level, Need};
pub use minter::minter_order;
pub use state::{Body, KeyState, Version};
pub use token::Token;
