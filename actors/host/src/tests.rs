//! Toy machines under the host, most of them in virtual time.

mod admission;
mod flow;
mod healing;
mod timing;

use crate::{Factory, Handle, HostConfig, Shell, spawn};
use actix_rt::{Arbiter, System};
use anser_machine::{Count, DiskRequest, Event, Fact, Feedback, Machine, Now, Outbox, SlotName};
use anser_model::{Key, KeyspaceName, NodeId, Round, Step};
use anser_proto::admin::AdminReply;
use anser_proto::client::{ClientRequest, GetRequest};
use anser_proto::replicate::ReplicaReply;
use anser_proto::{Address, Body, Envelope, OpId, Refusal, Role, Tick};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// How long a test waits for what must happen; virtual time in most.
const PATIENCE: Duration = Duration::from_secs(20);

/// A message from a coordinator to the actor under test.
pub(crate) fn message(seq: u64, body: Body) -> Envelope {
    let at = |role, slot| Address { node: NodeId([7; 16]), role, slot };
    Envelope {
        from: at(Role::Coordinator, 0),
        to: at(Role::Replica, 3),
        op: OpId { life: 9, seq },
        step: Step(1),
        deadline: Tick(u64::MAX),
        body,
    }
}

/// A request; its key says what the toy does with it.
pub(crate) fn ask(seq: u64, key: &'static str) -> Envelope {
    let keyspace = KeyspaceName::new("toys").expect("a name");
    let key = Key::new(key.as_bytes()).expect("a key");
    message(seq, Body::Client(ClientRequest::Get(GetRequest { keyspace, key, level: None })))
}

/// What the toys lived through.
#[derive(Default)]
struct Diary {
    /// Life, what happened, when.
    lines: Mutex<Vec<(u32, String, Tick)>>,
}

impl Diary {
    fn note(&self, life: u32, what: impl Into<String>, now: Now) {
        self.lines.lock().expect("a diary").push((life, what.into(), now.tick));
    }

    fn of_life(&self, life: u32) -> Vec<String> {
        let lines = self.lines.lock().expect("a diary");
        lines.iter().filter(|line| line.0 == life).map(|line| line.1.clone()).collect()
    }

    fn ticks_of(&self, what: &str) -> Vec<Tick> {
        let lines = self.lines.lock().expect("a diary");
        lines.iter().filter(|line| line.1 == what).map(|line| line.2).collect()
    }

    /// How often something happened before, between and after the timeouts of a life.
    fn gaps(&self, what: &str, life: u32) -> Vec<usize> {
        let lines = self.lines.lock().expect("a diary");
        let parts = lines.split(|line| line.0 == life && line.1 == "timeout");
        parts.map(|part| part.iter().filter(|line| line.1 == what).count()).collect()
    }
}

/// Does as keys tell it.
struct Toy {
    life: u32,
    diary: Arc<Diary>,
    timeout: Option<Tick>,
    every_ms: Option<u64>,
    sick: bool,
}

impl Machine for Toy {
    fn handle(&mut self, now: Now, event: Event, out: &mut Outbox) {
        match event {
            Event::Own(_) => self.diary.note(self.life, "feedback", now),
            Event::Fact(fact) => self.diary.note(self.life, format!("{fact:?}"), now),
            Event::Message(envelope) => {
                let Body::Client(ClientRequest::Get(get)) = &envelope.body else {
                    return self.diary.note(self.life, envelope.body.name(), now);
                };
                let key = String::from_utf8(get.key.as_bytes().to_vec()).expect("text");
                self.diary.note(self.life, key.clone(), now);
                self.obey(&key, now, &envelope, out);
            }
        }
    }

    fn next_timeout(&self) -> Option<(Tick, &'static str)> {
        self.timeout.map(|at| (at, "toy"))
    }

    fn handle_timeout(&mut self, now: Now, _: &mut Outbox) {
        self.diary.note(self.life, "timeout", now);
        assert!(!self.sick, "sick from the start");
        self.timeout = self.every_ms.map(|every_ms| now.tick.plus_ms(every_ms));
    }
}

impl Toy {
    fn obey(&mut self, key: &str, now: Now, asked: &Envelope, out: &mut Outbox) {
        let mut answer = |body| {
            out.send(Envelope { from: asked.to, to: asked.from, body, ..asked.clone() });
        };
        match key.split_once(':').unwrap_or((key, "")) {
            ("hold", _) => {}
            ("mint", _) => {
                let state = bytes::Bytes::new();
                answer(Body::Replicated(ReplicaReply::Minted { state, round: Round(0) }));
            }
            ("poison", _) => {
                answer(Body::AdminReply(AdminReply::Founded));
                panic!("poison");
            }
            ("spin", us) => {
                let begun = std::time::Instant::now();
                let long = Duration::from_micros(us.parse().expect("microseconds"));
                while begun.elapsed() < long {
                    std::hint::spin_loop();
                }
                answer(Body::AdminReply(AdminReply::Founded));
            }
            ("wake", ms) => {
                self.timeout = Some(now.tick.plus_ms(ms.parse().expect("milliseconds")));
                answer(Body::AdminReply(AdminReply::Founded));
            }
            ("save", _) => {
                out.disk(DiskRequest::Load { slot: SlotName::Ring });
                out.publish(Fact::ShardChanged { shard: 3, serving: true });
                out.count(Count::ReadRepair);
            }
            _ => answer(Body::AdminReply(AdminReply::Founded)),
        }
    }
}

/// A node that writes down what it is asked to do.
struct Desk {
    begun: Instant,
    sent: Mutex<Vec<Envelope>>,
    send_calls: AtomicUsize,
    disk_calls: AtomicUsize,
    others: AtomicUsize,
    breaks: AtomicBool,
}

impl Shell for Desk {
    fn send(&self, batch: Vec<Envelope>) {
        assert!(!self.breaks.swap(false, SeqCst), "the desk broke");
        self.send_calls.fetch_add(1, SeqCst);
        self.sent.lock().expect("a desk").extend(batch);
    }

    fn disk(&self, _: Role, _: u32, _: u32, batch: Vec<DiskRequest>) {
        assert!(!batch.is_empty());
        self.disk_calls.fetch_add(1, SeqCst);
    }

    fn publish(&self, _: Fact) {
        self.others.fetch_add(1, SeqCst);
    }

    fn count(&self, _: Role, _: Count) {
        self.others.fetch_add(1, SeqCst);
    }

    fn now(&self) -> Now {
        let us = u64::try_from(self.begun.elapsed().as_micros()).expect("a short test");
        Now { tick: Tick(us), wall_ms: us / 1000 }
    }
}

impl Desk {
    fn new() -> Arc<Desk> {
        Arc::new(Desk {
            begun: Instant::now(),
            sent: Mutex::default(),
            send_calls: AtomicUsize::new(0),
            disk_calls: AtomicUsize::new(0),
            others: AtomicUsize::new(0),
            breaks: AtomicBool::new(false),
        })
    }

    /// Each request's answers: `ok`, `minted`, or the refusal.
    fn answers(&self) -> BTreeMap<u64, Vec<String>> {
        let mut answers: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for envelope in self.sent.lock().expect("a desk").iter() {
            assert_eq!((envelope.to.role, envelope.from.slot, envelope.op.life), (Role::Coordinator, 3, 9));
            let word = match &envelope.body {
                Body::Refused(why) => format!("{why:?}"),
                Body::Replicated(_) => "minted".to_owned(),
                _ => "ok".to_owned(),
            };
            answers.entry(envelope.op.seq).or_default().push(word);
        }
        answers
    }

    fn count_of(&self, word: &str) -> usize {
        self.answers().values().flatten().filter(|answer| *answer == word).count()
    }
}

/// An actor with its desk and its toys' diary.
struct Scene {
    desk: Arc<Desk>,
    diary: Arc<Diary>,
    actor: Handle,
}

impl Scene {
    fn new(config: HostConfig) -> Scene {
        Scene::with(config, None, |_| false)
    }

    /// With a regular timeout, and some lives sick from the start.
    fn with(config: HostConfig, every_ms: Option<u64>, sick: fn(u32) -> bool) -> Scene {
        let (desk, diary) = (Desk::new(), Arc::new(Diary::default()));
        let actor = Scene::cast(config, &desk, &diary, every_ms, sick);
        Scene { desk, diary, actor }
    }

    /// Another actor on the same arbiter, with the same desk and diary.
    fn beside(&self, config: HostConfig, every_ms: Option<u64>, sick: fn(u32) -> bool) -> Handle {
        Scene::cast(config, &self.desk, &self.diary, every_ms, sick)
    }

    fn cast(
        config: HostConfig,
        desk: &Arc<Desk>,
        diary: &Arc<Diary>,
        every_ms: Option<u64>,
        sick: fn(u32) -> bool,
    ) -> Handle {
        let diary = Arc::clone(diary);
        let factory: Factory = Arc::new(move |life| {
            let diary = Arc::clone(&diary);
            Box::new(Toy { life, diary, timeout: Some(Tick(0)), every_ms, sick: sick(life) })
        });
        spawn(&Arbiter::current(), config, factory, Arc::clone(desk) as Arc<dyn Shell>)
    }

    /// Waits until so many messages were sent.
    async fn sent(&self, count: usize) {
        until(|| self.desk.sent.lock().expect("a desk").len() >= count).await;
    }
}

fn config() -> HostConfig {
    HostConfig::new(Role::Replica, 0)
}

fn answers(of: &[(u64, &str)]) -> BTreeMap<u64, Vec<String>> {
    of.iter().map(|(seq, word)| (*seq, word.split(' ').map(str::to_owned).collect())).collect()
}

/// Runs a test in virtual time.
fn virtually(test: impl Future<Output = ()>) {
    System::with_tokio_rt(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().expect("a runtime")
    })
    .block_on(test);
}

/// Waits for a condition.
async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "it never happened");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Lets virtual time pass.
async fn pass_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
