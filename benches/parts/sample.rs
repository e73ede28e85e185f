//! The values that all parts are measured with: a value of 100 bytes under a key of 16.

use anser_model::ring::{DcName, Founding, MemberState, NodeName, Record, RosterEntry, Weight, ZoneName};
use anser_model::state::{Body, Seen, Write};
use anser_model::{Actor, ClusterId, FolderId, Hlc, Key, KeyState, KeyspaceId, Life, Member, NodeId, Rid};
use bytes::Bytes;

/// Bytes of every value.
pub const VALUE_BYTES: usize = 100;
/// The present, in milliseconds since 1970.
pub const WALL_MS: u64 = 1_760_000_000_000;
/// The keyspace that a cluster begins with.
pub const KEYSPACE: KeyspaceId = KeyspaceId(1);
/// The run of the client whose writes these are.
const WRITER: u128 = 0x5eed;

/// The `n`-th key, 16 bytes.
pub fn key(n: u64) -> Key {
    Key::new(format!("user:{n:011}").into_bytes()).unwrap()
}

/// A value.
pub fn value() -> Bytes {
    Bytes::from(vec![b'v'; VALUE_BYTES])
}

/// The `n`-th node.
pub fn node(n: u16) -> NodeId {
    let mut id = [0x5a; 16];
    id[..2].copy_from_slice(&n.to_be_bytes());
    NodeId(id)
}

/// The member that serves from the `n`-th node.
pub fn member(n: u16) -> Member {
    Member { node: node(n), folder: FolderId(node(n).0) }
}

/// The `n`-th node's copy, as it mints.
pub fn actor(n: u16) -> Actor {
    Actor { node: node(n), life: Life(u64::from(n) + 1) }
}

/// The `n`-th request.
pub fn rid(n: u64) -> Rid {
    Rid { writer: WRITER, seq: n }
}

/// The client's clock at the `n`-th request: no two are equal.
pub fn issued(n: u64) -> Hlc {
    Hlc(Hlc::from_ms(WALL_MS).0 + n)
}

/// The `n`-th write: it supersedes what its minting copy holds.
pub fn write(n: u64) -> Write {
    Write { rid: rid(n), issued: issued(n), expires: None, body: Body::Value(value()), seen: Seen::Present }
}

/// A key written once, at the `n`-th node.
pub fn state(n: u16) -> KeyState {
    let mut state = KeyState::default();
    state.mint(actor(n), 1, &write(u64::from(n))).unwrap();
    state
}

/// So many nodes, in that many data centres of ten zones each.
pub fn roster(nodes: u16, dcs: u16) -> Vec<RosterEntry> {
    (0..nodes)
        .map(|n| RosterEntry {
            member: member(n),
            name: NodeName::new(format!("n{n}")).unwrap(),
            dc: DcName::new(format!("dc{}", n % dcs)).unwrap(),
            zone: ZoneName::new(format!("z{}", n / dcs % 10)).unwrap(),
            weight: Weight::default(),
            state: MemberState::Member,
        })
        .collect()
}

/// The first ring record of a cluster.
pub fn genesis(roster: Vec<RosterEntry>, partitions: u16) -> Record {
    Record::genesis(Founding {
        cluster: ClusterId([1; 16]),
        cluster_name: "bench".into(),
        roster,
        partitions,
        seed: 42,
        mac_key: [7; 32],
    })
    .unwrap()
}
