//! What hosting costs: toy puts over four hosted machines (a coordinator and three replicas) on one arbiter, with the same
//! steps run bare for comparison. Prints CPU time a put and a hosted message.
//! `cargo run --release -p anser-host --example cost`

#![allow(clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use actix_rt::{Arbiter, System};
use anser_host::{Factory, Handle, HostConfig, Shell, spawn};
use anser_machine::{Count, DiskRequest, Event, Fact, Machine, Now, Outbox};
use anser_model::{Key, KeyspaceId, NodeId, PartitionId, Round, Step};
use anser_proto::admin::{AdminReply, AdminRequest};
use anser_proto::replicate::{Place, ReplicaReply, ReplicaRequest};
use anser_proto::{Address, Body, Envelope, OpId, Role, Tick};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const PUTS: u64 = 1_000_000;
const OUTSTANDING: [u64; 3] = [1, 8, 64];
const VALUE_BYTES: usize = 100;
const HOSTED_PER_PUT: u64 = 7;

fn at(role: Role, slot: u32) -> Address {
    Address { node: NodeId([1; 16]), role, slot }
}

fn envelope(from: Address, to: Address, seq: u64, deadline: Tick, body: Body) -> Envelope {
    Envelope { from, to, op: OpId { life: 0, seq }, step: Step(1), deadline, body }
}

/// Asks three replicas, answers at the third acknowledgement.
struct Coordinator {
    pending: BTreeMap<u64, u8>,
    value: bytes::Bytes,
    deadline: Option<Tick>,
}

impl Machine for Coordinator {
    fn handle(&mut self, now: Now, event: Event, out: &mut Outbox) {
        let Event::Message(asked) = event else { return };
        let seq = asked.op.seq;
        if asked.body.is_request() {
            self.pending.insert(seq, 0);
            let deadline = now.tick.plus_ms(1000);
            self.deadline = self.deadline.or(Some(deadline));
            for slot in 0..3 {
                let place = Place { keyspace: KeyspaceId(1), partition: PartitionId(1), round: Round(0) };
                let key = Key::new(&b"some key"[..]).expect("a key");
                let store = ReplicaRequest::StoreState { place, key, state: self.value.clone() };
                out.send(envelope(asked.to, at(Role::Replica, slot), seq, deadline, Body::Replicate(store)));
            }
        } else if let Some(acks) = self.pending.get_mut(&seq) {
            *acks += 1;
            if *acks == 3 {
                self.pending.remove(&seq);
                let answer = Body::AdminReply(AdminReply::Founded);
                out.send(envelope(asked.to, at(Role::Session, 0), seq, asked.deadline, answer));
            }
        }
    }

    fn next_timeout(&self) -> Option<(Tick, &'static str)> {
        self.deadline.map(|at| (at, "deadline"))
    }

    fn handle_timeout(&mut self, _: Now, _: &mut Outbox) {
        self.deadline = None;
    }
}

/// Acknowledges.
struct Replica;

impl Machine for Replica {
    fn handle(&mut self, _: Now, event: Event, out: &mut Outbox) {
        let Event::Message(asked) = event else { return };
        let answer = Body::Replicated(ReplicaReply::Durable);
        out.send(envelope(asked.to, asked.from, asked.op.seq, asked.deadline, answer));
    }

    fn next_timeout(&self) -> Option<(Tick, &'static str)> {
        None
    }

    fn handle_timeout(&mut self, _: Now, _: &mut Outbox) {}
}

fn ask(seq: u64, now: Tick) -> Envelope {
    let body = Body::Admin(AdminRequest::DescribeNode);
    envelope(at(Role::Session, 0), at(Role::Coordinator, 0), seq, now.plus_ms(1000), body)
}

fn coordinator() -> Coordinator {
    Coordinator { pending: BTreeMap::new(), value: vec![7; VALUE_BYTES].into(), deadline: None }
}

/// Routes by role and slot, one delivery a target; asks anew for each answer.
struct Switchboard {
    outstanding: u64,
    begun: Instant,
    actors: OnceLock<Vec<Handle>>,
    answered: AtomicU64,
    sends: AtomicU64,
}

impl Shell for Switchboard {
    fn send(&self, batch: Vec<Envelope>) {
        self.sends.fetch_add(1, Relaxed);
        let mut boxes: [Vec<Envelope>; 4] = Default::default();
        let now = self.now().tick;
        for envelope in batch {
            let target = match envelope.to.role {
                Role::Replica => 1 + envelope.to.slot as usize,
                Role::Session => {
                    assert!(envelope.body == Body::AdminReply(AdminReply::Founded));
                    let answered = self.answered.fetch_add(1, Relaxed) + 1;
                    if answered + self.outstanding <= PUTS {
                        boxes[0].push(ask(answered + self.outstanding, now));
                    }
                    continue;
                }
                _ => 0,
            };
            boxes[target].push(envelope);
        }
        let actors = self.actors.get().expect("wired");
        for (actor, batch) in actors.iter().zip(boxes) {
            if !batch.is_empty() {
                actor.deliver(batch);
            }
        }
    }

    fn disk(&self, _: Role, _: u32, _: u32, _: Vec<DiskRequest>) {}
    fn publish(&self, _: Fact) {}
    fn count(&self, _: Role, _: Count) {}

    fn now(&self) -> Now {
        let us = self.begun.elapsed().as_micros() as u64;
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Now { tick: Tick(us), wall_ms: wall.as_millis() as u64 }
    }
}

/// CPU nanoseconds of this thread.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}

fn bare(outstanding: u64) -> u64 {
    let mut machines: Vec<Box<dyn Machine>> =
        vec![Box::new(coordinator()), Box::new(Replica), Box::new(Replica), Box::new(Replica)];
    let mut out = Outbox::new();
    let now = Now { tick: Tick(1), wall_ms: 1 };
    let before = cpu_ns();
    let mut queue: std::collections::VecDeque<Envelope> =
        (1..=outstanding).map(|seq| ask(seq, now.tick)).collect();
    let mut answered = 0;
    while let Some(envelope) = queue.pop_front() {
        match envelope.to.role {
            Role::Replica => {
                machines[1 + envelope.to.slot as usize].handle(now, Event::Message(envelope), &mut out)
            }
            Role::Session => {
                answered += 1;
                if answered + outstanding <= PUTS {
                    queue.push_back(ask(answered + outstanding, now.tick));
                }
            }
            _ => machines[0].handle(now, Event::Message(envelope), &mut out),
        }
        queue.extend(out.drain().filter_map(|effect| match effect {
            anser_machine::Effect::Send(envelope) => Some(envelope),
            _ => None,
        }));
    }
    cpu_ns() - before
}

fn hosted(outstanding: u64) -> (u64, u64) {
    System::new().block_on(async {
        let board = Arc::new(Switchboard {
            outstanding,
            begun: Instant::now(),
            actors: OnceLock::new(),
            answered: AtomicU64::new(0),
            sends: AtomicU64::new(0),
        });
        let shell = Arc::clone(&board) as Arc<dyn Shell>;
        let arbiter = Arbiter::current();
        let actors = (0..4u32).map(|nth| {
            let (role, slot) = if nth == 0 { (Role::Coordinator, 0) } else { (Role::Replica, nth - 1) };
            let factory: Factory = match role {
                Role::Coordinator => Arc::new(|_| Box::new(coordinator())),
                _ => Arc::new(|_| Box::new(Replica)),
            };
            spawn(&arbiter, HostConfig::new(role, slot), factory, Arc::clone(&shell))
        });
        board.actors.set(actors.collect()).ok().expect("once");
        let actors = board.actors.get().expect("wired");
        let before = cpu_ns();
        actors[0].deliver((1..=outstanding).map(|seq| ask(seq, board.now().tick)).collect());
        while board.answered.load(Relaxed) < PUTS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (cpu_ns() - before, board.sends.load(Relaxed))
    })
}

fn main() {
    let us = |ns: u64, of: u64| ns as f64 / of as f64 / 1000.0;
    println!("{PUTS} puts, {VALUE_BYTES}-byte values, {HOSTED_PER_PUT} messages a put");
    for outstanding in OUTSTANDING {
        let bare_ns = bare(outstanding);
        let (hosted_ns, sends) = hosted(outstanding);
        println!(
            "{outstanding:3} outstanding: {:.2} us a put bare, {:.2} hosted; hosting alone {:.3} us a message, {:.1} messages a drain",
            us(bare_ns, PUTS),
            us(hosted_ns, PUTS),
            us(hosted_ns.saturating_sub(bare_ns), PUTS * HOSTED_PER_PUT),
            (PUTS * HOSTED_PER_PUT) as f64 / sends as f64,
        );
    }
}
