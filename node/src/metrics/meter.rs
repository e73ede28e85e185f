//! From what machines count to the metrics page. Handles are looked up once, not per request.

use anser_machine::{Count, Fact, Op, OutcomeKind, Peers};
use anser_model::ring::Record;
use anser_model::{KeyspaceId, NodeId};
use anser_proto::gossip::PeerState;
use anser_quic::Rejection;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// Counters of one keyspace's requests, by operation and outcome.
type Requests = [[Counter; 4]; 3];

/// Keeps this node's metrics.
pub struct Meter {
    requests: RwLock<BTreeMap<Option<KeyspaceId>, Arc<Requests>>>,
    request_seconds: [Histogram; 3],
    shortfalls: [Counter; 3],
    siblings: Histogram,
    read_repairs: Counter,
    retries_known: Counter,
    body_clashes: Counter,
    bloom: [Counter; 2],
    cache: [Counter; 2],
    compaction_bytes: Counter,
    shards: OnceLock<Shards>,
    seen: Mutex<Seen>,
    me: NodeId,
}

/// Gauges that each shard has its own of.
struct Shards {
    memtable_bytes: Vec<Gauge>,
    tree_bytes: Vec<Gauge>,
    tables: Vec<Gauge>,
}

/// The newest facts that member counts are made of.
#[derive(Default)]
struct Seen {
    record: Option<Arc<Record>>,
    peers: Arc<Peers>,
}

impl Meter {
    /// The metrics of a node.
    pub fn new(me: NodeId) -> Meter {
        let by_op = |name: &'static str| Op::ALL.map(|op| counter!(name, "op" => op.name()));
        let meter = Meter {
            requests: RwLock::default(),
            request_seconds: Op::ALL.map(|op| histogram!("anser_request_seconds", "op" => op.name())),
            shortfalls: by_op("anser_quorum_shortfalls_total"),
            siblings: histogram!("anser_siblings"),
            read_repairs: counter!("anser_read_repairs_total"),
            retries_known: counter!("anser_retries_known_total"),
            body_clashes: counter!("anser_body_clashes_total"),
            bloom: ["maybe", "ruled_out"].map(|result| counter!("anser_bloom_total", "result" => result)),
            cache: ["miss", "hit"].map(|result| counter!("anser_cache_total", "result" => result)),
            compaction_bytes: counter!("anser_compaction_bytes_total"),
            shards: OnceLock::new(),
            seen: Mutex::default(),
            me,
        };
        meter.know_keyspace(None, "unknown");
        gauge!("anser_ring_step").set(0.0);
        for reason in Rejection::ALL.map(Rejection::words).into_iter().chain(["handshake failed"]) {
            counter!("anser_wire_rejected_total", "reason" => reason).absolute(0);
        }
        for state in ["serving", "joining", "starting"] {
            gauge!("anser_partitions", "state" => state).set(0.0);
        }
        meter
    }

    /// The node has so many shards.
    pub fn set_shards(&self, shards: u32) {
        let each = |name: &'static str| {
            (0..shards).map(|shard| gauge!(name, "shard" => shard.to_string())).collect()
        };
        self.shards.get_or_init(|| Shards {
            memtable_bytes: each("anser_memtable_bytes"),
            tree_bytes: each("anser_tree_bytes"),
            tables: each("anser_sstables"),
        });
    }

    fn of_shard(&self, shard: u32, gauges: impl Fn(&Shards) -> &Vec<Gauge>, value: u64) {
        let gauge = self.shards.get().and_then(|shards| gauges(shards).get(usize::try_from(shard).ok()?));
        if let Some(gauge) = gauge {
            gauge.set(value as f64);
        }
    }

    fn know_keyspace(&self, keyspace: Option<KeyspaceId>, name: &str) -> Arc<Requests> {
        let requests = Op::ALL.map(|op| {
            OutcomeKind::ALL.map(|outcome| {
                let labels = [
                    ("op", op.name().to_owned()),
                    ("keyspace", name.to_owned()),
                    ("outcome", outcome.name().to_owned()),
                ];
                counter!("anser_requests_total", &labels)
            })
        });
        let requests = Arc::new(requests);
        let mut known = self.requests.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(keyspace, requests.clone());
        requests
    }

    fn request(&self, op: Op, keyspace: Option<KeyspaceId>, outcome: OutcomeKind, us: u64) {
        let known = self.requests.read().unwrap_or_else(PoisonError::into_inner);
        let requests = known.get(&keyspace).or_else(|| known.get(&None));
        if let Some(counter) = requests.and_then(|by_op| by_op.get(op as usize)?.get(outcome as usize)) {
            counter.increment(1);
        }
        if let Some(seconds) = self.request_seconds.get(op as usize) {
            seconds.record(us as f64 / 1e6);
        }
    }

    /// Counts what a machine counted.
    pub fn count(&self, count: Count) {
        match count {
            Count::Request { op, keyspace, outcome, us } => self.request(op, keyspace, outcome, us),
            Count::QuorumShortfall(op) => {
                self.shortfalls.iter().skip(op as usize).take(1).for_each(|c| c.increment(1))
            }
            Count::Siblings(versions) => self.siblings.record(f64::from(versions)),
            Count::ReadRepair => self.read_repairs.increment(1),
            Count::RetryKnown => self.retries_known.increment(1),
            Count::BodyClash => self.body_clashes.increment(1),
            Count::Bloom { ruled_out } => pick(&self.bloom, ruled_out).increment(1),
            Count::Cache { hit } => pick(&self.cache, hit).increment(1),
            Count::MemtableBytes { shard, bytes } => {
                self.of_shard(shard, |shards| &shards.memtable_bytes, bytes);
            }
            Count::TreeBytes { shard, bytes } => self.of_shard(shard, |shards| &shards.tree_bytes, bytes),
            Count::Compacted { bytes } => self.compaction_bytes.increment(bytes),
            Count::Tables { shard, tables } => self.of_shard(shard, |shards| &shards.tables, tables),
        }
    }

    /// Follows the facts that gauges show.
    pub fn note(&self, fact: &Fact) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match fact {
            Fact::RingAdopted(record) => {
                gauge!("anser_ring_step").set(record.step.0 as f64);
                for keyspace in &record.keyspaces {
                    self.know_keyspace(Some(keyspace.id), keyspace.name.as_str());
                }
                seen.record = Some(record.clone());
            }
            Fact::PeersChanged(peers) => seen.peers = peers.clone(),
            Fact::ShardChanged { .. }
            | Fact::TablesChanged { .. }
            | Fact::CopiesChanged { .. }
            | Fact::RoomChanged(_)
            | Fact::LogGrown { .. }
            | Fact::FolderJudged(_)
            | Fact::PeerSeen { .. } => return,
        }
        if let Some(record) = &seen.record {
            self.show_members(record, &seen.peers);
        }
    }

    fn show_members(&self, record: &Record, peers: &Peers) {
        let mut counts: BTreeMap<(&str, PeerState), u64> = BTreeMap::new();
        for entry in &record.roster {
            for state in [PeerState::Alive, PeerState::Suspect, PeerState::Dead] {
                counts.entry((entry.dc.as_str(), state)).or_default();
            }
            let node = entry.member.node;
            let state = match peers.get(&node) {
                Some(peer) => peer.state,
                None if node == self.me => PeerState::Alive,
                None => PeerState::Dead,
            };
            *counts.entry((entry.dc.as_str(), state)).or_default() += 1;
        }
        for ((dc, state), count) in counts {
            gauge!("anser_members", "dc" => dc.to_owned(), "state" => state.name()).set(count as f64);
        }
    }
}

fn pick(pair: &[Counter; 2], second: bool) -> &Counter {
    let [no, yes] = pair;
    if second { yes } else { no }
}
