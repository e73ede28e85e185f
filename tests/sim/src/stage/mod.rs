//! A stage for stories: a small cluster of the production machines, hosted as in every run of the simulator, but with the
//! network, the disks and the time in the hands of a script.
//!
//! Between two commands nothing happens. A command takes two milliseconds of virtual time, in which all that is not held
//! arrives and is synced. What the machines do is told in the order that they do it. Deliberately absent: chance (every
//! message takes the same time), and judgement: a script says what must come out.

mod client;
mod commands;
mod names;
mod script;
mod seen;
mod wires;
mod words;

pub use script::{Scene, play, rewritten};
pub(crate) use seen::Seen;

use crate::Options;
use crate::disk::{FIRST_SHARD, Health, Turn};
use crate::profile::Profile;
use crate::schedule::MS;
use crate::truth::Copies;
use crate::world::route::OPERATOR;
use crate::world::{Job, World};
use anser_machine::{DiskRequest, Fact, Feedback, Peers};
use anser_model::KeyState;
use anser_proto::{Body, Envelope, Role};
use anser_replica::{EngineLimits, Limits};
use anser_storage::record;
use bytes::Bytes;
use client::Player;
use names::Names;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use wires::{Held, Wire};

/// Virtual time that a command takes.
const COMMAND_US: u64 = 2 * MS;
/// Clients of a stage.
const CLIENTS: usize = 4;
/// Most keys of a story.
const KEYS_MAX: usize = 64;
/// The seed of every stage.
const SEED: u64 = 1;

/// What is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Telling {
    /// What clients say and hear.
    Clients,
    /// What nodes say to each other, and within.
    Nodes,
    /// What disks are asked and answer.
    Disks,
    /// What nodes believe of each other, and other facts.
    Facts,
    /// Gossip.
    Gossip,
}

/// See the module.
struct Stage {
    world: World,
    names: Names,
    players: Vec<Player>,
    /// What is held back.
    wires: Vec<Wire>,
    held: Vec<Held>,
    /// Nodes whose disks end their work only when told to, and the work that waits.
    slow_disks: BTreeSet<usize>,
    turns: Vec<(usize, u32, Turn)>,
    telling: BTreeSet<Telling>,
    /// Kinds of messages that are told of whatever else is.
    kinds: BTreeSet<String>,
    beliefs: BTreeMap<usize, Arc<Peers>>,
    copies: Vec<Copies>,
    keys: Vec<Bytes>,
    /// When the present command began, if it lets time pass: lines then say how much.
    since: Option<u64>,
    lines: Vec<String>,
}

impl Stage {
    /// A cluster that was founded, and whose nodes know each other.
    fn new(dcs: usize, nodes_per_dc: usize, memtable_bytes: Option<usize>) -> Stage {
        let nodes = nodes_per_dc as u64;
        let profile = Profile {
            name: "stage",
            dcs,
            nodes_per_dc: (nodes, nodes),
            partitions: 8,
            clients: CLIENTS,
            keys: 1,
            think_ms: 0,
            turn_ms: 0,
            faults_ms: 0,
            loss: 0,
            late: 0,
            faults: &[],
        };
        let mut world = World::new(SEED, profile, Options::default());
        (world.network.steady, world.network.not_sent) = (true, 0);
        let usual = EngineLimits::default();
        let engine = EngineLimits { memtable_bytes: memtable_bytes.unwrap_or(usual.memtable_bytes), ..usual };
        for (node, seed) in world.nodes.iter_mut().zip(1..) {
            // Not drawn, so that stories stay as they are when the simulator draws more or less elsewhere.
            node.machine_seed = Some(seed);
            node.disk.health = Health { sync_us: 0, bad_blocks: 0, fails: false };
            node.bounds.replica = Limits { engine, ..Limits::default() };
            (node.bounds.inflight, node.bounds.requests) = (4096, 4096);
        }
        world.found_cluster();
        let names = Names::of(&world);
        let nodes = world.nodes.iter().enumerate();
        let beliefs = nodes.filter_map(|(n, node)| Some((n, node.view.clone()?))).collect();
        let copies = world.nodes.iter().map(|_| Copies::new(KEYS_MAX)).collect();
        world.seen = Some(Vec::new());
        Stage {
            world,
            names,
            players: (0..CLIENTS).map(Player::new).collect(),
            wires: Vec::new(),
            held: Vec::new(),
            slow_disks: BTreeSet::new(),
            turns: Vec::new(),
            telling: [Telling::Clients, Telling::Nodes, Telling::Disks, Telling::Facts].into(),
            kinds: BTreeSet::new(),
            beliefs,
            copies,
            keys: Vec::new(),
            since: None,
            lines: Vec::new(),
        }
    }

    /// Lets time pass, and things happen that are not held.
    fn pass(&mut self, us: u64) {
        let until = self.world.now() + us;
        while let Some(job) = self.world.schedule.next(until) {
            self.meet(job);
        }
    }

    /// Something is about to happen: it does, or is held.
    fn meet(&mut self, job: Job) {
        match job {
            Job::Disk { node, boot, turn } if turn != Turn::Fetch && self.slow_disks.contains(&node) => {
                self.turns.push((node, boot, turn));
            }
            Job::Frame { .. } | Job::Reply { .. } => self.carry(job),
            Job::Mail { .. }
            | Job::Wake { .. }
            | Job::Rebuild { .. }
            | Job::Disk { .. }
            | Job::Start { .. }
            | Job::Client { .. }
            | Job::ClientNotSent { .. }
            | Job::Stop { .. }
            | Job::Away { .. }
            | Job::PutBack { .. }
            | Job::SetAside { .. }
            | Job::Seeds { .. }
            | Job::Fault(_)
            | Job::Undo(_) => self.let_happen(job),
        }
    }

    fn let_happen(&mut self, job: Job) {
        self.world.happen(job);
        self.hear();
    }

    /// Tells what was done since it was last told.
    fn hear(&mut self) {
        let seen = self.world.seen.as_mut().map(std::mem::take).unwrap_or_default();
        for seen in seen {
            match seen {
                Seen::Said { node, envelope } if envelope.to.slot != OPERATOR => {
                    self.hear_message(node, &envelope);
                }
                Seen::Said { .. } => {}
                Seen::Asked { node, actor, request } => self.hear_request(node, actor, &request),
                Seen::Answered { node, actor, feedback } => self.hear_feedback(node, actor, &feedback),
                Seen::Learnt { node, fact } => self.hear_fact(node, &fact),
                Seen::Panicked { node, actor } => {
                    let line = format!("{}.{} panics", self.names.node(node), words::actor(actor));
                    self.line(Telling::Facts, line);
                }
            }
        }
        if let Some(broken) = self.world.verdicts.broken() {
            let line = format!("BROKEN {}: {}", broken.invariant, broken.what);
            self.line(Telling::Clients, line);
        }
    }

    fn hear_message(&mut self, n: usize, envelope: &Envelope) {
        let telling = match (&envelope.body, envelope.to.role) {
            (Body::Gossip(_), _) => Telling::Gossip,
            (_, Role::Session) => Telling::Clients,
            _ => Telling::Nodes,
        };
        // The states in a message get their names here, told of or not.
        let (body, mark) = (self.names.body(&envelope.body), self.mark(n, envelope));
        let (from, to) = (self.names.address(&envelope.from), self.names.address(&envelope.to));
        if self.telling.contains(&telling) || self.kinds.contains(words::kind(&envelope.body)) {
            self.add_line(&format!("{from} -> {to} {body}{mark}"));
        }
    }

    fn hear_request(&mut self, n: usize, actor: usize, request: &DiskRequest) {
        if let DiskRequest::Append(log_record) = request {
            let record = record::decode(&log_record.bytes).expect("a shard appends records");
            let state = KeyState::decode(&record.state).expect("a shard appends states");
            let (slot, shard) = (self.slot(record.key.as_bytes()), shard_of(actor));
            self.copies[n].append(shard, log_record.lsn, slot, Rc::new(state));
        }
        if let Some(words) = self.names.request_to_disk(request) {
            let line = format!("{}.{} {words}", self.names.node(n), words::actor(actor));
            self.line(Telling::Disks, line);
        }
    }

    fn hear_feedback(&mut self, n: usize, actor: usize, feedback: &Feedback) {
        match feedback {
            Feedback::Durable { through } | Feedback::Flushed { through, .. } => {
                self.copies[n].synced(shard_of(actor), *through);
            }
            Feedback::RecoveredLog { records, next } => {
                for log_record in records {
                    let record = record::decode(&log_record.bytes).expect("what is read back is a record");
                    let slot = self.slot(record.key.as_bytes());
                    let state = KeyState::decode(&record.state).expect("what is read back is a state");
                    self.copies[n].read_back(log_record.lsn, slot, || Rc::new(state));
                }
                for slot in (0..self.keys.len()).filter(|_| next.is_some()) {
                    if Stage::shard_actor(partition_of(&self.keys[slot])) == actor {
                        self.copies[n].remember(slot);
                    }
                }
            }
            Feedback::RecoveredTables { .. }
            | Feedback::Fetched { .. }
            | Feedback::FetchFailed { .. }
            | Feedback::TableGone { .. }
            | Feedback::TablesReplaced { .. }
            | Feedback::Merged { .. }
            | Feedback::GroupDamaged { .. }
            | Feedback::Wiped { .. }
            | Feedback::Saved { .. }
            | Feedback::Loaded { .. }
            | Feedback::DiskFailed => {}
        }
        if let Some(words) = words::feedback(feedback) {
            let shard = if actor < FIRST_SHARD { "" } else { ".replica" };
            let line = format!("{}.disk -> {}{shard} {words}", self.names.node(n), self.names.node(n));
            self.line(Telling::Disks, line);
        }
    }

    fn hear_fact(&mut self, n: usize, fact: &Fact) {
        if let Fact::PeersChanged(peers) = fact {
            let before = self.beliefs.insert(n, Arc::clone(peers)).unwrap_or_default();
            for (id, peer) in peers.iter() {
                let news = before
                    .get(id)
                    .is_none_or(|known| (known.state, known.incarnation) != (peer.state, peer.incarnation));
                if news {
                    let (who, whom) = (self.names.node(n), self.names.id(id));
                    let (state, incarnation) = (peer.state.name(), peer.incarnation);
                    self.line(Telling::Facts, format!("{who} believes {whom} {state} {incarnation}"));
                }
            }
        }
        if let Some(words) = words::fact(fact) {
            let line = format!("{} {words}", self.names.node(n));
            self.line(Telling::Facts, line);
        }
    }

    fn line(&mut self, telling: Telling, line: String) {
        if self.telling.contains(&telling) {
            self.add_line(&line);
        }
    }

    fn add_line(&mut self, line: &str) {
        let passed = self.since.map(|since| (self.world.now() - since + 50 * MS) / (100 * MS));
        let passed = passed.map(|tenths| format!("+{}.{}s ", tenths / 10, tenths % 10));
        self.lines.push(passed.unwrap_or_default() + line);
    }

    /// The place of a key among those that the story wrote.
    fn slot(&mut self, store_key: &Bytes) -> usize {
        self.keys.iter().position(|known| known == store_key).unwrap_or_else(|| {
            assert!(self.keys.len() < KEYS_MAX, "a story has at most {KEYS_MAX} keys");
            self.keys.push(store_key.clone());
            self.keys.len() - 1
        })
    }
}

fn partition_of(store_key: &Bytes) -> u16 {
    u16::from_be_bytes([store_key[0], store_key[1]])
}

fn shard_of(actor: usize) -> u32 {
    u32::try_from(actor - FIRST_SHARD).expect("few shards")
}
