//! What really happened, as nobody in the cluster knows it: every write, every version minted, and what each copy of each
//! key holds in memory and on disk. The invariants judge by it.

mod copies;
mod losses;

use anser_machine::Lsn;
use anser_model::level::Site;
use anser_model::ring::{Durability, QuorumKind, Record};
use anser_model::state::{SETTLED_MAX, Seen};
use anser_model::{
    Actor as Minter, Context, Dot, Hlc, Key, KeyState, KeyspaceId, KeyspaceName, Level, NodeId, PartitionId,
    Rid, Token,
};
use anser_storage::StoreKey;
use bytes::Bytes;
pub(crate) use copies::{Backup, Copies, Stored};
pub(crate) use losses::Loss;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

/// What is to be expected of the folder that a node was founded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folder {
    /// It has all that was synced.
    Whole,
    /// Something in it is not what was written, noticed or not.
    Damaged,
    /// It has, and a copy of it will be put back in its place.
    Copied,
    /// It was put back from an old copy: it answers nothing.
    Old,
}

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
    /// The request id as tokens name it.
    pub hash: u64,
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
    /// Whether a write settled it that named it by its request id alone, and none of its dots.
    pub named_by_id: bool,
    /// How often it was tried.
    pub attempts: u32,
    /// The value's length; a value is its write's number and then dots.
    pub length: usize,
    /// The nodes that held it when it was acknowledged: durably, or where the keyspace says so in memory.
    pub held_by: Vec<usize>,
    /// Those of them whose copies have not been lost since, or know it again.
    pub kept_by: Vec<usize>,
}

/// One key under test, in one keyspace.
#[derive(Debug)]
pub(crate) struct Slot {
    pub keyspace: KeyspaceId,
    pub keyspace_name: KeyspaceName,
    pub key: Key,
    pub store_key: Bytes,
    pub sites: Vec<Site>,
    /// The places of the nodes that hold it, as `sites` has them.
    pub nodes: Vec<usize>,
    pub strict: bool,
    /// Whether it is acknowledged and shown from memory.
    pub interval: bool,
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
    /// The state that was appended last anywhere: replicas mostly append the same.
    last: Option<(Bytes, Rc<KeyState>)>,
    /// The last dot of each name.
    last_minted: HashMap<Minter, Dot>,
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
    /// What each node's copies hold. Of a folder that is gone: what it held.
    pub copies: Vec<Copies>,
    /// What became of each node's folder.
    pub folders: Vec<Folder>,
    /// Each node's partitions that lost what they held, and are not refilled yet.
    pub lost: Vec<BTreeMap<PartitionId, Loss>>,
}

/// What a mint did, for the invariants to judge.
#[derive(Debug)]
pub(crate) struct Mint {
    pub write: usize,
    pub dot: Dot,
    /// Whether the dot had been given to another write.
    pub reused: Option<usize>,
    /// An earlier dot of the same name for the same key, if the copy did not know it.
    pub forgot: Option<Dot>,
    /// The writes that it took off the copy, and those that are live beside it.
    pub took_off: Vec<usize>,
    pub beside: Vec<usize>,
}

/// What a copy appended.
#[derive(Debug)]
pub(crate) struct Appended {
    pub before: Rc<KeyState>,
    pub after: Rc<KeyState>,
    pub mints: Vec<Mint>,
}

impl Slot {
    /// Its partition.
    pub fn partition(&self) -> PartitionId {
        PartitionId(u16::from_be_bytes([self.store_key[0], self.store_key[1]]))
    }

    /// The shard that has it, of so many.
    pub fn shard(&self, shards: u32) -> usize {
        (u32::from(self.partition().0) % shards) as usize
    }

    fn decode(&mut self, state: &Bytes) -> Rc<KeyState> {
        if let Some((bytes, decoded)) = &self.last
            && bytes == state
        {
            return decoded.clone();
        }
        let decoded = Rc::new(KeyState::decode(state).expect("a copy appends states"));
        self.last = Some((state.clone(), decoded.clone()));
        decoded
    }
}

impl Truth {
    /// Before anything was written.
    pub fn new(record: Arc<Record>, keys: usize, nodes: usize) -> Truth {
        let mut slots = Vec::new();
        let place = |site: &Site| record.roster.iter().position(|entry| entry.member.node == site.node);
        for keyspace in &record.keyspaces {
            for number in 0..keys {
                let key = Key::new(format!("key-{number}").into_bytes()).expect("a short key");
                let partition = record.partition_of(keyspace.id, &key);
                let sites = record.sites(record.read_placement(), &keyspace.replicas, partition);
                slots.push(Slot {
                    keyspace: keyspace.id,
                    keyspace_name: keyspace.name.clone(),
                    store_key: StoreKey::of(&record, keyspace.id, &key).as_bytes().clone(),
                    key,
                    acked: vec![Context::default(); sites.len() + 1],
                    nodes: sites.iter().filter_map(place).collect(),
                    sites,
                    strict: keyspace.quorum == QuorumKind::Strict,
                    interval: keyspace.durability == Durability::Interval,
                    read: keyspace.read,
                    write: keyspace.write,
                    writes: Vec::new(),
                    acked_twice: Vec::new(),
                    shown: Context::default(),
                    shown_writes: BTreeMap::new(),
                    last: None,
                    last_minted: HashMap::new(),
                });
            }
        }
        let by_store_key = slots.iter().enumerate().map(|(at, slot)| (slot.store_key.clone(), at)).collect();
        Truth {
            record,
            copies: (0..nodes).map(|_| Copies::new(slots.len())).collect(),
            folders: vec![Folder::Whole; nodes],
            lost: vec![BTreeMap::new(); nodes],
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

    /// The places of the nodes whose copies of a key are whole.
    pub fn whole_replicas(&self, slot: usize) -> impl Iterator<Item = usize> + '_ {
        let partition = self.slots[slot].partition();
        let whole = move |node: &usize| {
            self.folders[*node] == Folder::Whole && !self.lost[*node].contains_key(&partition)
        };
        self.slots[slot].nodes.iter().copied().filter(whole)
    }

    /// Whether a node may lose what it holds: all others are whole, since a copy is refilled from all other replicas.
    pub fn may_lose_any(&self) -> bool {
        self.folders.iter().all(|folder| *folder == Folder::Whole) && self.lost.iter().all(BTreeMap::is_empty)
    }

    /// The partitions that a node holds.
    fn held(&self, node: usize) -> Vec<PartitionId> {
        let id = self.record.roster[node].member.node;
        let placement = self.record.read_placement();
        let holds = |partition: &PartitionId| {
            let profiles = self.record.keyspaces.iter().map(|keyspace| &keyspace.replicas);
            profiles
                .into_iter()
                .any(|profile| placement.replicas(profile, *partition).any(|member| member.node == id))
        };
        (0..self.record.partitions).map(PartitionId).filter(holds).collect()
    }

    /// Whether a node has a partition of some keyspace that no other has.
    pub fn is_alone(&self, node: usize, partition: PartitionId) -> bool {
        let id = self.record.roster[node].member.node;
        let placement = self.record.read_placement();
        self.record.keyspaces.iter().any(|keyspace| {
            let mut replicas = placement.replicas(&keyspace.replicas, partition);
            replicas.next().is_some_and(|member| member.node == id) && replicas.next().is_none()
        })
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

    /// The writes that a token has seen: those of its requests; and those of its dots, as long as none may be forgotten,
    /// whether it names their requests or not.
    pub fn seen(&self, slot: usize, context: &Context, rids: &[u64]) -> Vec<usize> {
        let mut seen: Vec<usize> = rids.iter().filter_map(|hash| self.by_hash.get(hash)).copied().collect();
        let writes = &self.slots[slot].writes;
        if writes.len() < SETTLED_MAX {
            let has_dot = |write: &usize| self.writes[*write].dots.iter().any(|dot| context.contains(dot));
            seen.extend(writes.iter().copied().filter(has_dot));
            seen.sort_unstable();
            seen.dedup();
        }
        seen
    }

    /// Notes which of the writes that a token has seen it names by their ids alone.
    pub fn note_named_by_id(&mut self, seen: &[usize], context: &Context) {
        for write in seen {
            let written = &mut self.writes[*write];
            written.named_by_id |= !written.dots.iter().any(|dot| context.contains(dot));
        }
    }

    /// A client begins a write, having seen these.
    pub fn begin(&mut self, rid: Rid, slot: usize, issued: Hlc, is_delete: bool, seen: Vec<usize>) -> usize {
        let number = self.writes.len();
        for write in seen {
            self.writes[write].seen_by.push(number);
        }
        let hash = rid.hash64();
        self.by_rid.insert(rid, number);
        self.by_hash.insert(hash, number);
        self.slots[slot].writes.push(number);
        self.writes.push(Written {
            rid,
            hash,
            slot,
            issued,
            is_delete,
            fate: Fate::Open,
            dots: Vec::new(),
            seen_by: Vec::new(),
            settled_by: Vec::new(),
            named_by_id: false,
            attempts: 0,
            length: 0,
            held_by: Vec::new(),
            kept_by: Vec::new(),
        });
        number
    }

    /// A write was acknowledged by as many replicas as its level needs; these hold it.
    pub fn acknowledge(&mut self, write: usize, needed: usize, at: u64, held_by: Vec<usize>) {
        let slot = self.writes[write].slot;
        let (replicas, interval) = (self.slots[slot].nodes.len(), self.slots[slot].interval);
        let now = |node: &usize| self.knows(self.counted(*node, slot), write);
        let kept_by: Vec<usize> = held_by.iter().copied().filter(now).collect();
        // A copy may have forgotten or lost it while the answer was on its way to the client.
        let kept = if interval || 2 * needed <= replicas { needed.min(kept_by.len()) } else { needed };
        let written = &mut self.writes[write];
        written.fate = Fate::Acked { needed: kept, at };
        written.held_by = if interval { kept_by.clone() } else { held_by };
        written.kept_by = kept_by;
        let slot = &mut self.slots[written.slot];
        match written.dots.as_slice() {
            [dot] => slot.acked.iter_mut().take(needed + 1).for_each(|context| context.insert(dot)),
            _ => slot.acked_twice.push(write),
        }
    }

    /// A copy appends a key's new state to its log. Gives the state before and after, and what its actor minted in it.
    pub fn append(
        &mut self,
        node: usize,
        shard: u32,
        lsn: Lsn,
        slot: usize,
        state: &Bytes,
        mine: &dyn Fn(&Dot) -> bool,
    ) -> Appended {
        let after = self.slots[slot].decode(state);
        let before = self.copies[node].append(shard, lsn, slot, after.clone());
        let mut mints = Vec::new();
        for (rid, version) in after.live() {
            for dot in version.dots.iter().filter(|dot| mine(dot) && !before.context().contains(dot)) {
                let Some(write) = self.write_of(rid) else { continue };
                let reused = self.dots.insert(*dot, write).filter(|other| *other != write);
                self.writes[write].dots.push(*dot);
                let gone =
                    before.live().iter().filter(|(rid, _)| !after.live().iter().any(|(r, _)| r == rid));
                let took_off: Vec<usize> = gone.filter_map(|(rid, _)| self.write_of(rid)).collect();
                for gone in &took_off {
                    self.writes[*gone].settled_by.push((write, *dot));
                }
                let last = self.slots[slot].last_minted.insert(dot.actor, *dot);
                let forgot = last.filter(|last| !before.context().contains(last));
                let others = after.live().iter().filter(|(other, _)| other != rid);
                let beside = others.filter_map(|(other, _)| self.write_of(other)).collect();
                mints.push(Mint { write, dot: *dot, reused, forgot, took_off, beside });
            }
        }
        Appended { before, after, mints }
    }

    /// A shard's copy reads back a key's state.
    pub fn read_back(&mut self, node: usize, lsn: Lsn, slot: usize, state: &Bytes) {
        let slots = &mut self.slots;
        self.copies[node].read_back(lsn, slot, || slots[slot].decode(state));
    }

    /// The writes that settled one: by taking it off a copy, or because their token had seen it.
    pub fn settlers(&self, write: usize) -> impl Iterator<Item = usize> + '_ {
        let written = &self.writes[write];
        let minted = |write: &usize| !self.writes[*write].dots.is_empty();
        let taken_off = written.settled_by.iter().map(|(write, _)| *write);
        taken_off.chain(written.seen_by.iter().copied().filter(minted))
    }

    /// Whether a request settled a write itself.
    pub fn is_heir(&self, rid: &Rid, write: usize) -> bool {
        self.write_of(rid).is_some_and(|heir| self.settlers(write).any(|settler| settler == heir))
    }

    /// Whether a copy may no longer know that a write was settled: then it may show again as a sibling (it never supersedes
    /// anything), which is the price of a bounded memory. So it is with a retry that comes late, and with a write that was
    /// settled by its id alone (a receipt's token can't tell its dot from an unseen one of the same name before it) while a
    /// copy that holds it was away. Not only the oldest go: ids that a token brings back count as new, and push out others.
    pub fn may_be_forgotten(&self, write: usize) -> bool {
        let written = &self.writes[write];
        let by_id = written.attempts > 1 || written.dots.len() > 1 || written.named_by_id;
        by_id && self.slots[written.slot].writes.len() >= SETTLED_MAX
    }

    /// All that the replicas of a key hold durably in whole folders, merged.
    pub fn merged(&self, slot: usize) -> KeyState {
        let mut merged = KeyState::default();
        for node in self.whole_replicas(slot) {
            merged.merge(self.copies[node].durable(slot));
        }
        merged
    }

    /// The nodes that hold a write durably, or did until their folder was lost.
    pub fn holders(&self, slot: usize, write: usize) -> impl Iterator<Item = usize> + '_ {
        let holds = move |node: &usize| self.copies[*node].held(slot).any(|state| self.knows(state, write));
        self.slots[slot].nodes.iter().copied().filter(holds)
    }

    /// What a node's copy of a key holds where it counts: durably, or where the keyspace says so in memory.
    fn counted(&self, node: usize, slot: usize) -> &KeyState {
        let copies = &self.copies[node];
        if self.slots[slot].interval { copies.memory(slot) } else { copies.durable(slot) }
    }

    /// The nodes whose copies have had a write where it counts: durably, or where the keyspace says so in memory.
    pub fn acknowledgers(&self, slot: usize, write: usize) -> Vec<usize> {
        let known = &self.slots[slot];
        if !known.interval {
            return self.holders(slot, write).collect();
        }
        let told = |node: &usize| self.copies[*node].told(slot).any(|state| self.knows(state, write));
        known.nodes.iter().copied().filter(told).collect()
    }

    /// Whether a copy's state knows of a write: it is live there, or settled.
    pub fn knows(&self, state: &KeyState, write: usize) -> bool {
        let written = &self.writes[write];
        written.dots.iter().any(|dot| state.context().contains(dot)) || state.knows(&written.rid)
    }
}
