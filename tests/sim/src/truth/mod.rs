//! What really happened, as nobody in the cluster knows it: every write, every version minted, and what each copy of each
//! key holds in memory and on disk. The invariants judge by it.

mod copies;

use anser_machine::Lsn;
use anser_model::level::Site;
use anser_model::ring::{QuorumKind, Record};
use anser_model::state::{SETTLED_MAX, Seen};
use anser_model::{Context, Dot, Hlc, Key, KeyState, KeyspaceId, KeyspaceName, Level, NodeId, Rid, Token};
use anser_storage::StoreKey;
use bytes::Bytes;
pub(crate) use copies::Copies;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How a write ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has not ended.
    Open,
    /// Acknowledged, at a level of so many replicas.
    Acked { needed: usize, at: u64 },
    /// Nothing happened, its client was told.
    Failed,
    /// Nobody told.
    Unknown,
}

/// One write of a client.
#[derive(Debug)]
pub(crate) struct Written {
    pub rid: Rid,
    pub slot: usize,
    pub issued: Hlc,
    pub is_delete: bool,
    pub fate: Fate,
    /// The dots that it was minted with.
    pub dots: Vec<Dot>,
    /// Writes whose tokens had seen this one.
    pub seen_by: Vec<usize>,
    /// Mints that took this one off the copy that they were made at.
    pub settled_by: Vec<(usize, Dot)>,
    /// How often it was tried.
    pub attempts: u32,
}

/// One key under test, in one keyspace.
#[derive(Debug)]
pub(crate) struct Slot {
    pub keyspace: KeyspaceId,
    pub keyspace_name: KeyspaceName,
    pub key: Key,
    pub store_key: Bytes,
    pub sites: Vec<Site>,
    pub strict: bool,
    pub read: Level,
    pub write: Level,
    /// For each number of replicas: the dots of all writes acknowledged by at least so many.
    pub acked: Vec<Context>,
    /// The writes of this key, in their order.
    pub writes: Vec<usize>,
    /// Writes acknowledged that were minted more than once by then.
    pub acked_twice: Vec<usize>,
    /// The dots that strict reads have shown.
    pub shown: Context,
    /// The writes that strict reads have shown, and when each was shown first.
    pub shown_writes: BTreeMap<usize, u64>,
}

/// What really happened.
#[derive(Debug)]
pub(crate) struct Truth {
    pub record: Arc<Record>,
    pub slots: Vec<Slot>,
    pub writes: Vec<Written>,
    pub dots: HashMap<Dot, usize>,
    by_rid: HashMap<Rid, usize>,
    by_hash: HashMap<u64, usize>,
    by_store_key: HashMap<Bytes, usize>,
    /// What each node's copies hold.
    pub copies: Vec<Copies>,
}

/// What a mint did, for the invariants to judge.
#[derive(Debug)]
pub(crate) struct Mint {
    pub write: usize,
    pub dot: Dot,
    /// Whether the dot had been given to another write.
    pub reused: Option<usize>,
}

impl Slot {
    /// The shard that has it, of so many.
    pub fn shard(&self, shards: u32) -> usize {
        let partition = u32::from(u16::from_be_bytes([self.store_key[0], self.store_key[1]]));
        (partition % shards) as usize
    }
}

impl Truth {
    /// Before anything was written.
    pub fn new(record: Arc<Record>, keys: usize, nodes: usize) -> Truth {
        let mut slots = Vec::new();
        for keyspace in &record.keyspaces {
            for number in 0..keys {
                let key = Key::new(format!("key-{number}").into_bytes()).expect("a short key");
                let partition = record.partition_of(keyspace.id, &key);
                let sites = record.sites(record.read_placement(), &keyspace.replicas, partition);
                slots.push(Slot {
                    keyspace: keyspace.id,
                    keyspace_name: keyspace.name.clone(),
                    store_key: StoreKey::new(partition, keyspace.id, &key).as_bytes().clone(),
                    key,
                    acked: vec![Context::default(); sites.len() + 1],
                    sites,
                    strict: keyspace.quorum == QuorumKind::Strict,
                    read: keyspace.read,
                    write: keyspace.write,
                    writes: Vec::new(),
                    acked_twice: Vec::new(),
                    shown: Context::default(),
                    shown_writes: BTreeMap::new(),
                });
            }
        }
        let by_store_key = slots.iter().enumerate().map(|(at, slot)| (slot.store_key.clone(), at)).collect();
        Truth {
            record,
            copies: (0..nodes).map(|_| Copies::new(slots.len())).collect(),
            slots,
            writes: Vec::new(),
            dots: HashMap::new(),
            by_rid: HashMap::new(),
            by_hash: HashMap::new(),
            by_store_key,
        }
    }

    /// The key that a stored key is of.
    pub fn slot_of(&self, store_key: &Bytes) -> Option<usize> {
        self.by_store_key.get(store_key).copied()
    }

    /// A node's place.
    pub fn node(&self, id: &NodeId) -> usize {
        self.record.roster.iter().position(|entry| entry.member.node == *id).expect("a member")
    }

    /// The places of the nodes that hold a key.
    pub fn replicas(&self, slot: usize) -> Vec<usize> {
        self.slots[slot].sites.iter().map(|site| self.node(&site.node)).collect()
    }

    /// The write of a request.
    pub fn write_of(&self, rid: &Rid) -> Option<usize> {
        self.by_rid.get(rid).copied()
    }

    /// What a token has seen.
    pub fn open(&self, slot: usize, token: &str) -> Result<(Context, Vec<u64>), String> {
        let slot = &self.slots[slot];
        let token = Token::open(token, &self.record.mac_keys, slot.keyspace, &slot.key);
        match token.map_err(|error| format!("a token that can't be read: {error}"))?.into_seen() {
            Seen::Token { context, rids } => Ok((context, rids)),
            Seen::Present | Seen::Nothing => Err("a token that has seen nothing".into()),
        }
    }

    /// A client begins a write.
    pub fn begin(
        &mut self,
        rid: Rid,
        slot: usize,
        issued: Hlc,
        is_delete: bool,
        token: Option<&str>,
    ) -> usize {
        let number = self.writes.len();
        let seen = token.and_then(|token| self.open(slot, token).ok()).map_or(Vec::new(), |(_, seen)| seen);
        for hash in &seen {
            if let Some(&write) = self.by_hash.get(hash) {
                self.writes[write].seen_by.push(number);
            }
        }
        self.by_rid.insert(rid, number);
        self.by_hash.insert(rid.hash64(), number);
        self.slots[slot].writes.push(number);
        let (dots, seen_by, settled_by) = (Vec::new(), Vec::new(), Vec::new());
        let fate = Fate::Open;
        self.writes.push(Written {
            rid,
            slot,
            issued,
            is_delete,
            fate,
            dots,
            seen_by,
            settled_by,
            attempts: 0,
        });
        number
    }

    /// A write was acknowledged by as many replicas as its level needs.
    pub fn acknowledge(&mut self, write: usize, needed: usize, at: u64) {
        let written = &mut self.writes[write];
        written.fate = Fate::Acked { needed, at };
        let slot = &mut self.slots[written.slot];
        match written.dots.as_slice() {
            [dot] => slot.acked.iter_mut().take(needed + 1).for_each(|context| context.insert(dot)),
            _ => slot.acked_twice.push(write),
        }
    }

    /// A copy appends a key's new state to its log. The versions that its actor minted in it.
    pub fn append(
        &mut self,
        node: usize,
        shard: u32,
        lsn: Lsn,
        slot: usize,
        state: &Bytes,
        mine: &dyn Fn(&Dot) -> bool,
    ) -> Vec<Mint> {
        let after = KeyState::decode(state).expect("a copy appends states");
        let before = self.copies[node].append(shard, lsn, slot, state.clone(), after.clone());
        let mut mints = Vec::new();
        for (rid, version) in after.live() {
            for dot in version.dots.iter().filter(|dot| mine(dot) && !before.context().contains(dot)) {
                let Some(write) = self.write_of(rid) else { continue };
                let reused = self.dots.insert(*dot, write).filter(|other| *other != write);
                self.writes[write].dots.push(*dot);
                mints.push(Mint { write, dot: *dot, reused });
                for (gone, _) in
                    before.live().iter().filter(|(rid, _)| !after.live().iter().any(|(r, _)| r == rid))
                {
                    if let Some(gone) = self.write_of(gone) {
                        self.writes[gone].settled_by.push((write, *dot));
                    }
                }
            }
        }
        mints
    }

    /// Whether a retry of a write may have come when a copy no longer knew its request: then it may show again as a sibling
    /// (it never supersedes anything), which is the price of a bounded memory. Not only the oldest go: ids that a token
    /// brings back count as new, and push out others.
    pub fn may_be_forgotten(&self, write: usize) -> bool {
        let written = &self.writes[write];
        let retried = written.attempts > 1 || written.dots.len() > 1;
        retried && self.slots[written.slot].writes.len() >= SETTLED_MAX
    }

    /// All that the replicas of a key hold durably, merged.
    pub fn merged(&self, slot: usize) -> KeyState {
        let mut merged = KeyState::default();
        for node in self.replicas(slot) {
            merged.merge(&self.copies[node].durable(slot));
        }
        merged
    }

    /// Whether a copy's state knows of a write: it is live there, or settled.
    pub fn knows(&self, state: &KeyState, write: usize) -> bool {
        let written = &self.writes[write];
        state.knows(&written.rid) || written.dots.iter().any(|dot| state.context().contains(dot))
    }
}
