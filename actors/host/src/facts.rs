//! The newest fact of each kind. A fact is a whole, so this is all a rebuilt machine needs to be told; and since newer
//! facts replace older ones, facts that wait for an actor take bounded room.

use anser_machine::{CopiesSummary, Fact, FolderTrust, Peers, Room, TableSummary};
use anser_model::NodeId;
use anser_model::ring::Record;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Addresses remembered at most for which [`Fact::PeerSeen`] waits; the surplus is dropped, as it is told again at the
/// next dial.
const SEEN_MAX: usize = 4096;

/// The newest fact of each kind; of shards, the newest for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    ring: Option<Arc<Record>>,
    peers: Option<Arc<Peers>>,
    shards: BTreeMap<u32, bool>,
    copies: BTreeMap<u32, Arc<CopiesSummary>>,
    tables: BTreeMap<u32, Arc<[TableSummary]>>,
    room: Option<Room>,
    grown: BTreeMap<u32, Option<u64>>,
    folder: Option<FolderTrust>,
    seen: BTreeMap<SocketAddr, NodeId>,
}

impl Facts {
    /// Takes a fact in, in place of the one before it.
    pub(crate) fn learn(&mut self, fact: Fact) {
        match fact {
            Fact::RingAdopted(record) => self.ring = Some(record),
            Fact::PeersChanged(peers) => self.peers = Some(peers),
            Fact::ShardChanged { shard, serving } => {
                self.shards.insert(shard, serving);
            }
            Fact::CopiesChanged { shard, copies } => {
                self.copies.insert(shard, copies);
            }
            Fact::TablesChanged { shard, tables } => {
                self.tables.insert(shard, tables);
            }
            Fact::RoomChanged(room) => self.room = Some(room),
            Fact::LogGrown { shard, records } => {
                self.grown.insert(shard, records);
            }
            Fact::FolderJudged(trust) => self.folder = Some(trust),
            Fact::PeerSeen { node, address } => {
                if self.seen.len() < SEEN_MAX || self.seen.contains_key(&address) {
                    self.seen.insert(address, node);
                }
            }
        }
    }

    /// Forgets what is told only once.
    pub(crate) fn forget_events(&mut self) {
        self.seen.clear();
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        let wholes = self.ring.is_none() && self.peers.is_none() && self.shards.is_empty();
        let shards = self.copies.is_empty() && self.tables.is_empty() && self.grown.is_empty();
        wholes && shards && self.room.is_none() && self.folder.is_none() && self.seen.is_empty()
    }

    /// All of them, in a fixed order.
    pub(crate) fn all(&self) -> Vec<Fact> {
        let ring = self.ring.iter().cloned().map(Fact::RingAdopted);
        let peers = self.peers.iter().cloned().map(Fact::PeersChanged);
        let shards = self.shards.iter().map(|(&shard, &serving)| Fact::ShardChanged { shard, serving });
        let copies =
            self.copies.iter().map(|(&shard, copies)| Fact::CopiesChanged { shard, copies: copies.clone() });
        let tables =
            self.tables.iter().map(|(&shard, tables)| Fact::TablesChanged { shard, tables: tables.clone() });
        let room = self.room.iter().copied().map(Fact::RoomChanged);
        let grown = self.grown.iter().map(|(&shard, &records)| Fact::LogGrown { shard, records });
        let folder = self.folder.iter().copied().map(Fact::FolderJudged);
        let seen = self.seen.iter().map(|(&address, &node)| Fact::PeerSeen { node, address });
        let wholes = ring.chain(peers).chain(room).chain(folder);
        wholes.chain(shards).chain(copies).chain(tables).chain(grown).chain(seen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_kind_and_shard_is_kept() {
        let mut facts = Facts::default();
        assert!(facts.is_empty());
        for (shard, serving) in [(1, true), (0, false), (1, false), (0, true), (0, false)] {
            facts.learn(Fact::ShardChanged { shard, serving });
        }
        facts.learn(Fact::PeersChanged(Arc::new(Peers::new())));
        facts.learn(Fact::PeersChanged(Arc::new(Peers::new())));
        let all = facts.all();
        assert!(matches!(
            all.as_slice(),
            [
                Fact::PeersChanged(_),
                Fact::ShardChanged { shard: 0, serving: false },
                Fact::ShardChanged { shard: 1, serving: false },
            ]
        ));
    }
}
