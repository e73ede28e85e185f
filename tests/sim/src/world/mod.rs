//! The world: nodes, clients and the network between them, driven by what happens next.
//!
//! One seed decides all. Nothing here decides for the machines: they get events, and their effects are carried out.

pub(crate) mod aim;
pub(crate) mod cell;
mod leaves;
mod losses;
mod mints;
pub(crate) mod network;
pub(crate) mod node;
mod observe;
pub(crate) mod old_copies;
mod power;
pub(crate) mod route;
mod steps;
mod strays;
mod talk;
mod unwritten;

use crate::clients::Client;
use crate::coverage::{Coverage, Situation};
use crate::dice::Dice;
use crate::disk::{Disk, Health, Turn};
use crate::faults::{Faults, Undo};
use crate::invariants::Read;
use crate::journal::Journal;
use crate::profile::Profile;
use crate::schedule::Schedule;
use crate::stage::Seen;
use crate::truth::Truth;
use crate::verdicts::{Invariant, Verdicts};
use crate::{Options, founding};
use anser_machine::Outbox;
use bytes::{Bytes, BytesMut};
use cell::Mail;
use mints::Mints;
use network::Network;
use node::Node;
use old_copies::OldCopy;

/// Microseconds that a healthy disk's sync takes on average.
pub(crate) const SYNC_US: u64 = 600;

/// What can happen.
#[derive(Debug)]
pub(crate) enum Job {
    /// A frame arrives at a node, for one of its boots.
    Frame { from: usize, to: usize, boot: u32, bytes: Bytes },
    /// A frame arrives at a client.
    Reply { client: usize, from: usize, bytes: Bytes },
    /// Something arrives in an actor's mailbox.
    Mail { node: usize, boot: u32, actor: usize, mail: Mail },
    /// An actor's timer goes off.
    Wake { node: usize, boot: u32, actor: usize, at: u64 },
    /// A machine is built again after a panic.
    Rebuild { node: usize, boot: u32, actor: usize },
    /// The disk has done something.
    Disk { node: usize, boot: u32, turn: Turn },
    /// A node's process starts.
    Start { node: usize, boot: u32 },
    /// A node that knows nobody dials its seeds.
    Seeds { node: usize, boot: u32 },
    /// A node's process ends, and starts again so many microseconds later.
    Stop { node: usize, us: u64 },
    /// A node's process ends, and starts again so many microseconds later, whatever else happens; another folder may be lost.
    Away { node: usize, us: u64, lost: Option<usize> },
    /// A node's disk is put back as it was.
    PutBack { node: usize, backup: Box<OldCopy>, tries: u32 },
    /// A node that knows that its folder is old sets it aside.
    SetAside { node: usize, boot: u32 },
    /// A client's pause or patience ends.
    Client { client: usize, generation: u64 },
    /// A client learns that its request never left.
    ClientNotSent { client: usize, generation: u64 },
    /// The next fault of a kind.
    Fault(usize),
    /// A fault ends.
    Undo(u64),
}

/// See the module.
pub(crate) struct World {
    pub seed: u64,
    pub profile: Profile,
    pub options: Options,
    pub schedule: Schedule<Job>,
    pub journal: Journal,
    pub verdicts: Verdicts,
    pub coverage: Coverage,
    pub truth: Truth,
    pub nodes: Vec<Node>,
    pub network: Network,
    pub clients: Vec<Client>,
    pub faults: Faults,
    /// Which nodes have answered the founding.
    pub founded: Vec<bool>,
    /// What the actors did, for a stage to tell of; none if nobody watches.
    pub seen: Option<Vec<Seen>>,
    mints: Mints,
    /// Whether the next store is a read repair.
    repairing: bool,
    /// Bytes of the largest state that was appended, and of the largest entry of a log.
    largest_state: usize,
    largest_entry: usize,
    /// Until when faults go on.
    pub suffer_until: u64,
    buffer: BytesMut,
    out: Outbox,
}

impl World {
    /// A world in which no process runs yet.
    pub fn new(seed: u64, profile: Profile, options: Options) -> World {
        let mut dice = Dice::new(seed, "world");
        let dcs = profile.dcs;
        let per_dc =
            usize::try_from(dice.between(profile.nodes_per_dc.0, profile.nodes_per_dc.1)).unwrap_or(3);
        let roster = founding::roster(&mut dice, dcs, per_dc);
        let record = founding::genesis(&mut dice, &roster, profile.partitions);
        let bounds = founding::bounds(&mut dice);
        let node = |(number, entry): (usize, &anser_model::ring::RosterEntry)| {
            let health = Health { sync_us: SYNC_US, bad_blocks: 0, fails: false };
            let disk = Disk::create(Dice::new(seed, &format!("disk-{number}")), health);
            if options.lying_disks {
                disk.lie();
            }
            Node::new(number, entry.clone(), bounds, Dice::new(seed, &format!("node-{number}")), disk)
        };
        let nodes: Vec<Node> = roster.iter().enumerate().map(node).collect();
        let dc_of = |node: &Node| usize::from(node.entry.dc.as_str() != "dc1");
        // Every second world has a key that nearly everybody works on: more writes than its settled ids are remembered.
        let hot = dice.chance(500_000).then(|| dice.index(profile.keys * record.keyspaces.len()));
        let clients: Vec<Client> = (0..profile.clients)
            .map(|number| {
                Client::new(number % dcs, hot, profile.think_ms, Dice::new(seed, &format!("client-{number}")))
            })
            .collect();
        let ends = nodes.iter().map(dc_of).chain(clients.iter().map(|client| client.dc)).collect();
        World {
            network: Network::new(Dice::new(seed, "network"), ends, profile.loss, profile.late),
            truth: Truth::new(record, profile.keys, nodes.len()),
            founded: vec![false; nodes.len()],
            seen: None,
            mints: Mints::default(),
            repairing: false,
            largest_state: 0,
            largest_entry: 0,
            suffer_until: 0,
            faults: Faults::new(seed),
            journal: Journal::new(options.log),
            schedule: Schedule::new(),
            verdicts: Verdicts::default(),
            coverage: Coverage::default(),
            buffer: BytesMut::new(),
            out: Outbox::new(),
            seed,
            profile,
            options,
            nodes,
            clients,
        }
    }

    /// Virtual time.
    pub fn now(&self) -> u64 {
        self.schedule.now()
    }

    /// Lets things happen until a time, or until a promise is broken.
    pub fn run_until(&mut self, until: u64) {
        while self.verdicts.broken().is_none() {
            let Some(job) = self.schedule.next(until) else { return };
            self.happen(job);
        }
    }

    /// Takes in what an evaluation of an invariant came to.
    pub fn judge(&mut self, invariant: Invariant, result: Result<(), String>) {
        let at = self.now();
        if let Err(what) = &result {
            self.journal.line(at, || format!("BROKEN {}: {what}", invariant.name()));
        }
        self.verdicts.judge(invariant, at, result);
    }

    /// Lets one thing happen.
    pub fn happen(&mut self, job: Job) {
        if let Job::Frame { to: node, .. }
        | Job::Mail { node, .. }
        | Job::Wake { node, .. }
        | Job::Rebuild { node, .. }
        | Job::Disk { node, .. } = &job
            && self.nodes[*node].paused
        {
            let node = *node;
            return self.nodes[node].held.push(job);
        }
        self.note(&job);
        let current = |world: &World, node: usize, boot: u32| world.nodes[node].boot == boot;
        match job {
            Job::Frame { from, to, boot, bytes } if current(self, to, boot) => self.arrive(from, to, &bytes),
            Job::Frame { .. } => self.coverage.sometimes(Situation::FormerBoot),
            Job::Mail { node, boot, actor, mail } if current(self, node, boot) => {
                self.hand(node, actor, mail)
            }
            Job::Wake { node, boot, actor, at } if current(self, node, boot) => self.wake(node, actor, at),
            Job::Rebuild { node, boot, actor } if current(self, node, boot) => self.build(node, actor),
            Job::Disk { node, boot, turn } if current(self, node, boot) => {
                let outcome = self.nodes[node].disk.finish(turn);
                self.follow_disk(node, outcome);
            }
            Job::Start { node, boot } if current(self, node, boot) => self.start(node),
            Job::Seeds { node, boot } if current(self, node, boot) => self.dial_seeds(node),
            Job::Mail { .. }
            | Job::Wake { .. }
            | Job::Rebuild { .. }
            | Job::Disk { .. }
            | Job::Start { .. }
            | Job::Seeds { .. } => {}
            Job::Reply { client, from, bytes } => self.client_hears(client, from, &bytes),
            Job::Client { client, generation } => self.client_wakes(client, generation),
            Job::ClientNotSent { client, generation } => self.client_not_sent(client, generation),
            Job::Stop { node, us } => self.stop_for(node, us),
            Job::Away { node, us, lost } => self.go_away(node, us, lost),
            Job::PutBack { node, backup, tries } => self.put_back(node, backup, tries),
            Job::SetAside { node, boot } => self.set_aside(node, boot),
            Job::Fault(which) => self.next_fault(which),
            Job::Undo(number) => {
                if let Some(undo) = self.faults.active.remove(&number) {
                    self.undo(undo);
                }
            }
        }
    }

    /// Puts a job into the hash of the run.
    fn note(&mut self, job: &Job) {
        let at = self.schedule.now();
        let (kind, place, content): (u64, usize, &[u8]) = match job {
            Job::Frame { to, bytes, .. } => (1, *to, bytes),
            Job::Reply { client, bytes, .. } => (2, *client, bytes),
            Job::Mail { node, actor, .. } => (3, node * 8 + actor, &[]),
            Job::Wake { node, actor, .. } => (4, node * 8 + actor, &[]),
            Job::Rebuild { node, actor, .. } => (5, node * 8 + actor, &[]),
            Job::Disk { node, .. } => (6, *node, &[]),
            Job::Start { node, .. } => (7, *node, &[]),
            Job::Client { client, .. } => (8, *client, &[]),
            Job::ClientNotSent { client, .. } => (9, *client, &[]),
            Job::Fault(which) => (10, *which, &[]),
            Job::Undo(_) => (11, 0, &[]),
            Job::Stop { node, .. } => (12, *node, &[]),
            Job::PutBack { node, .. } => (13, *node, &[]),
            Job::Seeds { node, .. } => (14, *node, &[]),
            Job::Away { node, .. } => (15, *node, &[]),
            Job::SetAside { node, .. } => (16, *node, &[]),
        };
        self.journal.event(at, kind << 32 | place as u64, content);
    }

    /// Ends a fault after a while.
    pub fn undo_after(&mut self, us: u64, undo: Undo) {
        let number = self.faults.activate(undo);
        self.schedule.after(us, Job::Undo(number));
    }

    /// Counts what a read showed.
    pub(crate) fn cover_read(&mut self, read: &Read<'_>) {
        if read.shown.len() > 1 {
            self.coverage.sometimes(Situation::Siblings);
        }
        let deleted = read.shown.is_empty() && !read.context.is_empty();
        if deleted {
            self.coverage.sometimes(Situation::Deleted);
        }
    }
}
