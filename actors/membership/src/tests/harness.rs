//! A small cluster of membership machines in virtual time: a queue of deliveries with delay and loss, and a disk a node.
//!
//! Every datagram that is sent is encoded, and asserted to fit.

use crate::slots::{KeptPeers, encode_peers};
use crate::{Config, Membership, Probing};
use anser_machine::{
    DiskRequest, Effect, Event, Fact, Feedback, FolderTrust, Machine, Now, Outbox, Peers, Random, SlotName,
};
use anser_model::ring::{DcName, Founding, MemberState, NodeName, Record, RosterEntry, Weight, ZoneName};
use anser_model::{ClusterId, FolderId, Member, NodeId};
use anser_proto::admin::AdminRequest;
use anser_proto::frame::{self, DATAGRAM_BYTES_MAX};
use anser_proto::gossip::{Gossip, Heard, Mark, PeerState, Rumour};
use anser_proto::{Address, Body, Class, Envelope, OpId, Role, Tick};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

pub const WALL_MS: u64 = 1_700_000_000_000;
const DISK_US: u64 = 5_000;

pub fn member(n: usize) -> Member {
    let mut node = [0; 16];
    node[..8].copy_from_slice(&(n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    node[8..].copy_from_slice(&(n as u64).to_be_bytes());
    Member { node: NodeId(node), folder: FolderId([7; 16]) }
}

pub fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4000 + n as u16))
}

pub fn membership(node: NodeId) -> Address {
    Address { node, role: Role::Membership, slot: 0 }
}

pub fn session(node: NodeId) -> Address {
    Address { node, role: Role::Session, slot: 9 }
}

/// The slot of peers of whom only the addresses are known.
pub fn addresses_slot(addresses: &[(NodeId, SocketAddr)]) -> Bytes {
    encode_peers(&KeptPeers { addresses: addresses.to_vec(), folders: Vec::new() })
}

/// A probe of a node of whose folder nothing is known.
pub fn probe(rumours: Vec<Rumour>) -> Gossip {
    Gossip::Probe { rumours, mark: Mark::default() }
}

/// The answer to one.
pub fn ack(rumours: Vec<Rumour>) -> Gossip {
    Gossip::ProbeAck { rumours, mark: Mark::default(), heard: Heard::Nothing }
}

pub fn config(n: usize, seed: u64) -> Config {
    Config {
        shards: 1,
        member: member(n),
        name: NodeName::new(format!("n{n}")).unwrap(),
        dc: DcName::new("dc1").unwrap(),
        zone: ZoneName::new("z1").unwrap(),
        weight: Weight::default(),
        address: address(n),
        cluster_name: "tests".into(),
        probing: Probing::default(),
        life: 0,
        random_seed: seed * 1000 + n as u64,
    }
}

pub fn genesis(n: usize) -> Record {
    genesis_of(ClusterId([1; 16]), "tests", n)
}

pub fn genesis_of(cluster: ClusterId, name: &str, n: usize) -> Record {
    let entry = |n| RosterEntry {
        member: member(n),
        name: NodeName::new(format!("n{n}")).unwrap(),
        dc: DcName::new("dc1").unwrap(),
        zone: ZoneName::new("z1").unwrap(),
        weight: Weight::default(),
        state: MemberState::Member,
    };
    let mut roster: Vec<RosterEntry> = (0..n).map(entry).collect();
    roster.sort_by_key(|entry| entry.member);
    Record::genesis(Founding {
        cluster,
        cluster_name: name.into(),
        roster,
        partitions: 16,
        seed: 5,
        mac_key: [3; 32],
    })
    .unwrap()
}

#[allow(clippy::large_enum_variant, reason = "a test's few messages")]
enum Delivery {
    Message(Envelope),
    Feedback(NodeId, Feedback),
}

pub struct Host {
    pub machine: Membership,
    pub slots: BTreeMap<SlotName, Bytes>,
    pub running: bool,
    pub peers: Arc<Peers>,
    pub ring: Option<Arc<Record>>,
    /// How many records its log holds.
    pub records: u64,
    /// What it makes of its folder.
    pub trust: Option<FolderTrust>,
    /// Every change of a peer's state, as published.
    pub turns: Vec<(u64, NodeId, PeerState)>,
    due: Option<u64>,
}

pub struct Cluster {
    pub now_us: u64,
    pub hosts: BTreeMap<NodeId, Host>,
    pub ids: Vec<NodeId>,
    pub loss_percent: u64,
    /// Links that carry nothing, from and to.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// What sessions were sent.
    pub replies: Vec<Envelope>,
    pub messages: u64,
    /// Whether something was published since it was last looked at.
    news: bool,
    queue: BTreeMap<(u64, u64), Delivery>,
    seq: u64,
    seed: u64,
    random: Random,
}

impl Cluster {
    /// Machines that know nothing of each other.
    pub fn new(n: usize, seed: u64) -> Cluster {
        let mut cluster = Cluster {
            now_us: 1_000_000,
            hosts: BTreeMap::new(),
            ids: (0..n).map(|n| member(n).node).collect(),
            loss_percent: 0,
            cut: BTreeSet::new(),
            replies: Vec::new(),
            messages: 0,
            news: false,
            queue: BTreeMap::new(),
            seq: 0,
            seed,
            random: Random::new(seed),
        };
        for n in 0..n {
            let machine = Membership::new(config(n, seed));
            let host = Host {
                machine,
                slots: BTreeMap::new(),
                running: true,
                peers: Arc::default(),
                ring: None,
                records: 0,
                trust: None,
                turns: Vec::new(),
                due: Some(0),
            };
            cluster.hosts.insert(member(n).node, host);
            cluster.grow(n, 0);
        }
        cluster
    }

    /// A cluster founded by an operator at each node, and settled.
    pub fn founded(n: usize, seed: u64) -> Cluster {
        let mut cluster = Cluster::new(n, seed);
        cluster.run_ms(50);
        for i in 0..n {
            cluster.found(i, n);
        }
        cluster.run_ms(3000);
        assert!(cluster.all_agree(PeerState::Alive, &cluster.ids.clone()), "settled");
        cluster
    }

    /// An operator founds the cluster of the first `n` at one node.
    pub fn found(&mut self, at: usize, n: usize) {
        let addresses = (0..n).map(|n| (member(n).node, address(n))).collect();
        let request = AdminRequest::FoundCluster { record: genesis(n).encode(), addresses };
        self.ask(self.ids[at], Body::Admin(request));
    }

    /// Somebody's session at a node asks something.
    pub fn ask(&mut self, node: NodeId, body: Body) {
        let envelope = Envelope {
            from: session(node),
            to: membership(node),
            op: OpId { life: 0, seq: 1 },
            step: Default::default(),
            deadline: Tick(u64::MAX),
            body,
        };
        self.step(node, Some(Event::Message(envelope)));
    }

    /// The process is stopped: it neither hears nor speaks.
    pub fn stop(&mut self, node: NodeId) {
        self.hosts.get_mut(&node).unwrap().running = false;
    }

    /// The stopped process goes on.
    pub fn resume(&mut self, node: NodeId) {
        self.hosts.get_mut(&node).unwrap().running = true;
    }

    /// The process ends; a new one starts on its disk.
    pub fn restart(&mut self, n: usize) {
        let node = self.ids[n];
        let gone = |delivery: &Delivery| matches!(delivery, Delivery::Feedback(of, _) if *of == node);
        self.queue.retain(|_, delivery| !gone(delivery));
        let machine = Membership::new(config(n, self.seed + self.now_us));
        let host = self.hosts.get_mut(&node).unwrap();
        host.machine = machine;
        host.running = true;
        host.due = Some(0);
        host.trust = None;
        self.grow(n, 0);
    }

    /// Its log has so many records more.
    pub fn grow(&mut self, n: usize, by: u64) {
        let host = self.hosts.get_mut(&self.ids[n]).unwrap();
        host.records += by;
        let fact = Fact::LogGrown { shard: 0, records: Some(host.records) };
        self.step(self.ids[n], Some(Event::Fact(fact)));
        let fact = Fact::CopiesChanged { shard: 0, copies: Arc::default() };
        self.step(self.ids[n], Some(Event::Fact(fact)));
    }

    pub fn run_ms(&mut self, ms: u64) {
        self.run_until(ms, |_| false);
    }

    /// Runs for at most `ms`; true as soon as `done`, which looks at what was published.
    pub fn run_until(&mut self, ms: u64, mut done: impl FnMut(&Cluster) -> bool) -> bool {
        self.news = true;
        let end_us = self.now_us + ms * 1000;
        loop {
            let delivery = self.queue.first_key_value().map(|((at, _), _)| *at).unwrap_or(u64::MAX);
            let running = self.hosts.iter().filter(|(_, host)| host.running);
            let timer = running.filter_map(|(node, host)| host.due.map(|due| (due, *node))).min();
            let timer_at = timer.map_or(u64::MAX, |(at, _)| at);
            let next = delivery.min(timer_at).max(self.now_us);
            if next > end_us {
                self.now_us = end_us;
                return done(self);
            }
            self.now_us = next;
            if timer_at <= delivery {
                self.step(timer.unwrap().1, None);
            } else {
                let (_, delivery) = self.queue.pop_first().unwrap();
                match delivery {
                    Delivery::Feedback(node, feedback) => self.step(node, Some(Event::Own(feedback))),
                    Delivery::Message(envelope) if self.hosts[&envelope.to.node].running => {
                        self.step(envelope.to.node, Some(Event::Message(envelope)));
                    }
                    Delivery::Message(_) => {}
                }
            }
            if std::mem::take(&mut self.news) && done(self) {
                return true;
            }
        }
    }

    /// Whether every running node but they themselves believes this of these.
    pub fn all_agree(&self, state: PeerState, of: &[NodeId]) -> bool {
        self.all_say(of, |seen| seen == state)
    }

    /// Whether every running node but they themselves says so of these.
    pub fn all_say(&self, of: &[NodeId], says: impl Fn(PeerState) -> bool) -> bool {
        self.hosts.iter().filter(|(_, host)| host.running).all(|(at, host)| {
            let others = of.iter().filter(|node| *node != at);
            others.into_iter().all(|node| host.peers.get(node).is_some_and(|peer| says(peer.state)))
        })
    }

    /// How often anybody published this of anybody since.
    pub fn turns_to(&self, state: PeerState, since_us: u64) -> usize {
        let turns = self.hosts.values().flat_map(|host| &host.turns);
        turns.filter(|(at, _, to)| *at >= since_us && *to == state).count()
    }

    /// One step of a machine: an event, or its timeout.
    pub fn step(&mut self, node: NodeId, event: Option<Event>) {
        let now = Now { tick: Tick(self.now_us), wall_ms: WALL_MS + self.now_us / 1000 };
        let mut out = Outbox::new();
        let host = self.hosts.get_mut(&node).unwrap();
        match event {
            Some(event) => host.machine.handle(now, event, &mut out),
            None => host.machine.handle_timeout(now, &mut out),
        }
        host.due = host.machine.next_timeout().map(|(at, _)| at.0);
        for effect in out.drain() {
            self.carry_out(node, effect);
        }
    }

    fn carry_out(&mut self, node: NodeId, effect: Effect) {
        match effect {
            Effect::Send(envelope) => self.send(envelope),
            Effect::Disk(request) => {
                let host = self.hosts.get_mut(&node).unwrap();
                let feedback = match request {
                    DiskRequest::Load { slot } => {
                        Feedback::Loaded { slot, bytes: host.slots.get(&slot).cloned() }
                    }
                    DiskRequest::Save { slot, bytes } => {
                        host.slots.insert(slot, bytes);
                        Feedback::Saved { slot }
                    }
                    other => panic!("not membership's: {other:?}"),
                };
                self.enqueue(self.now_us + DISK_US, Delivery::Feedback(node, feedback));
            }
            Effect::Publish(Fact::PeersChanged(peers)) => {
                self.news = true;
                let host = self.hosts.get_mut(&node).unwrap();
                for (peer, view) in peers.iter() {
                    if host.peers.get(peer).map(|before| before.state) != Some(view.state) {
                        host.turns.push((self.now_us, *peer, view.state));
                    }
                }
                host.peers = peers;
            }
            Effect::Publish(Fact::RingAdopted(record)) => {
                self.news = true;
                let saved = crate::slots::encode_ring(&[record.encode()]);
                assert_eq!(self.hosts[&node].slots[&SlotName::Ring], saved, "durable before it is said");
                self.hosts.get_mut(&node).unwrap().ring = Some(record);
            }
            Effect::Publish(Fact::FolderJudged(trust)) => {
                self.news = true;
                self.hosts.get_mut(&node).unwrap().trust = Some(trust);
            }
            other => panic!("not membership's: {other:?}"),
        }
    }

    fn send(&mut self, envelope: Envelope) {
        if envelope.to.role == Role::Session {
            self.replies.push(envelope);
            return;
        }
        self.messages += 1;
        let class = envelope.body.class();
        if class == Class::Datagram {
            let mut frame = BytesMut::new();
            frame::encode(&envelope, Tick(self.now_us), &mut frame).unwrap();
            assert!(frame.len() <= DATAGRAM_BYTES_MAX, "{} bytes", frame.len());
        }
        let (from, to) = (envelope.from.node, envelope.to.node);
        if !self.hosts.contains_key(&to) || self.cut.contains(&(from, to)) {
            return;
        }
        let mut delay_us = 500 + self.random.below(2_000);
        while self.random.below(100) < self.loss_percent {
            if class == Class::Datagram {
                return;
            }
            // A lane repeats what is lost.
            delay_us += 50_000;
        }
        self.enqueue(self.now_us + delay_us, Delivery::Message(envelope));
    }

    fn enqueue(&mut self, at_us: u64, delivery: Delivery) {
        self.seq += 1;
        self.queue.insert((at_us, self.seq), delivery);
    }
}
