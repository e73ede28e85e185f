//! Sessions: connections of clients and operators. Their requests go in with the session's address, answers come back by it.
//!
//! Keeps: a session says only what its certificate allows; its requests under way, and the answers that it has not taken yet,
//! are bounded in count and bytes, and more requests are refused as busy. Deliberately absent: what requests mean.

use crate::accept::lost;
use crate::handshake;
use crate::identity::{Identity, Kind};
use crate::install::Streams;
use crate::lane::{Life, Port, Writer};
use crate::network::{Limits, Source};
use crate::queue::{Queue, weight};
use crate::reader;
use crate::rejection::Rejection;
use crate::route::refusal;
use crate::shared::Shared;
use crate::stats::{Direction, Stats, Traffic};
use crate::under_way::UnderWay;
use anser_proto::frame::{self, FrameError, LANE_FRAME_BYTES_MAX};
use anser_proto::hello::Purpose;
use anser_proto::{Address, Body, Envelope, Refusal, Role, Tick};
use quinn::{Connection, RecvStream, SendStream};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// The sessions of a node.
#[derive(Default)]
pub(crate) struct Sessions {
    table: RwLock<HashMap<u32, Arc<Session>>>,
    next: AtomicU32,
}

/// One session.
pub(crate) struct Session {
    number: u32,
    kind: Kind,
    lane: Arc<Queue>,
    large: Arc<Queue>,
    pub life: Arc<Life>,
    under_way: Mutex<UnderWay>,
}

impl Sessions {
    pub fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn all(&self) -> Vec<Arc<Session>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn get(&self, number: u32) -> Option<Arc<Session>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    fn open(&self, kind: Kind, limits: &Limits) -> Option<Arc<Session>> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= limits.sessions_max {
            return None;
        }
        // Numbers come back only after four billion sessions; one that is still there is passed over.
        let free = (0..=table.len()).map(|_| self.next.fetch_add(1, Ordering::Relaxed));
        let number = free.into_iter().find(|number| !table.contains_key(number))?;
        let session = Arc::new(Session {
            number,
            kind,
            lane: Arc::new(Queue::new(limits.lane_messages_max, limits.session_bytes_max)),
            large: Arc::new(Queue::new(limits.lane_messages_max, limits.session_bytes_max)),
            life: Arc::default(),
            under_way: Mutex::default(),
        });
        table.insert(number, Arc::clone(&session));
        Some(session)
    }

    fn remove(&self, number: u32) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// Sends an answer to its session; drops it if that is gone.
    pub fn answer(&self, envelope: Envelope, now: Tick, stats: &Stats) {
        match self.get(envelope.to.slot) {
            Some(session) => session.answer(envelope, now, stats),
            None => stats.count_dropped(1),
        }
    }
}

impl Session {
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, envelope: Envelope, now: Tick, stats: &Stats) {
        self.lock().finish(envelope.op);
        let large = envelope.body.payload_bytes() > LANE_FRAME_BYTES_MAX;
        let queue = if large { &self.large } else { &self.lane };
        match queue.push(envelope, now) {
            Ok(()) => queue.wake(),
            Err(_) => stats.count_dropped(1),
        }
    }

    /// Whether so many answers wait for the client to take them that it is to ask for no more.
    fn reads_slowly(&self, limits: &Limits) -> bool {
        self.lane.bytes() + self.large.bytes() > limits.session_bytes_max
    }

    /// Sends what is queued, then nothing more.
    pub fn drain(&self) {
        self.life.drain();
        self.wake_all();
    }

    fn wake_all(&self) {
        self.lane.wake_all();
        self.large.wake_all();
    }

    fn may_say(&self, envelope: &Envelope) -> bool {
        match (&envelope.body, envelope.to.role) {
            (Body::Client(_), Role::Coordinator | Role::Membership) => true,
            (Body::Admin(_), Role::Membership) => self.kind == Kind::Operator,
            (
                Body::Client(_)
                | Body::Admin(_)
                | Body::Gossip(_)
                | Body::Replicate(_)
                | Body::Replicated(_)
                | Body::ForwardPut(_)
                | Body::ForwardPutReply(_)
                | Body::ClientReply(_)
                | Body::AdminReply(_)
                | Body::Refused(_),
                _,
            ) => false,
        }
    }
}

/// Opens a session on a connection whose hello was taken; says ours, and starts its tasks.
pub(crate) async fn open(
    shared: &Arc<Shared>,
    connection: &Connection,
    mut streams: Streams,
    identity: Identity,
) -> Result<(), &'static str> {
    let Some(session) = shared.sessions.open(identity.kind, &shared.limits) else {
        handshake::refuse(connection, Rejection::TooManySessions);
        return Err(Rejection::TooManySessions.words());
    };
    if handshake::say(&mut streams.send, &shared.hello(Purpose::Session)).await.is_err() {
        shared.sessions.remove(session.number);
        return Err(lost(connection));
    }
    shared.inbound.session_opened(session.number, &identity);
    let port = Arc::new(SessionPort { shared: Arc::clone(shared), session: Arc::clone(&session) });
    write(shared, &session, connection, streams.send, Arc::clone(&port) as Arc<dyn Port>);
    tokio::spawn(read(Arc::clone(shared), session, connection.clone(), streams.recv, port));
    Ok(())
}

fn write(
    shared: &Shared,
    session: &Session,
    connection: &Connection,
    stream: SendStream,
    port: Arc<dyn Port>,
) {
    let writer = |queue: &Arc<Queue>| Writer {
        port: Arc::clone(&port),
        queue: Arc::clone(queue),
        life: Arc::clone(&session.life),
    };
    shared.lanes.spawn(writer(&session.lane).run_lane(stream));
    shared.lanes.spawn(writer(&session.large).run_streams(connection.clone()));
}

async fn read(
    shared: Arc<Shared>,
    session: Arc<Session>,
    connection: Connection,
    stream: RecvStream,
    port: Arc<SessionPort>,
) {
    let lane = reader::read_lane(stream, connection.clone(), Arc::clone(&port) as Arc<dyn Port>);
    let lane = tokio::spawn(lane);
    while let Ok(stream) = connection.accept_uni().await {
        let budget = Arc::clone(&shared.session_budget);
        let port = Arc::clone(&port) as Arc<dyn Port>;
        tokio::spawn(reader::read_large(stream, connection.clone(), port, budget));
    }
    lane.abort();
    session.life.stop();
    session.wake_all();
    shared.sessions.remove(session.number);
    shared.inbound.session_closed(session.number);
}

/// What a session's lane and large messages belong to.
struct SessionPort {
    shared: Arc<Shared>,
    session: Arc<Session>,
}

impl SessionPort {
    /// Whether a request is handed in; if not, it is answered here.
    fn takes(&self, envelope: &Envelope, now: Tick) -> bool {
        let why = if !self.session.may_say(envelope) {
            Refusal::NotAllowed
        } else if self.session.reads_slowly(&self.shared.limits) {
            Refusal::Busy
        } else {
            let mut under_way = self.session.lock();
            let limits = &self.shared.limits;
            if under_way.admit(envelope.op, weight(envelope), envelope.deadline, now, limits) {
                return true;
            }
            Refusal::Busy
        };
        match refusal(envelope, why) {
            Some(refusal) => {
                self.shared.stats.count_refused(1);
                // Not by `answer`: the request that it echoes, if any, is still under way.
                match self.session.lane.push(refusal, now) {
                    Ok(()) => self.session.lane.wake(),
                    Err(_) => self.shared.stats.count_dropped(1),
                }
            }
            None => self.shared.stats.count_dropped(1),
        }
        false
    }
}

impl Port for SessionPort {
    fn now(&self) -> Tick {
        self.shared.now()
    }

    fn decode(&self, content: &[u8], now: Tick) -> Result<Envelope, FrameError> {
        let me = self.shared.me;
        let envelope = frame::decode(content, me, me, now)?;
        Ok(Envelope {
            from: Address { node: me, role: Role::Session, slot: self.session.number },
            to: Address { slot: 0, ..envelope.to },
            ..envelope
        })
    }

    fn deliver(&self, mut batch: Vec<Envelope>, bytes: usize) {
        self.shared.stats.count(Traffic::Session, Direction::Received, batch.len(), bytes);
        let now = self.shared.now();
        batch.retain(|envelope| self.takes(envelope, now));
        if !batch.is_empty() {
            self.shared.inbound.deliver(Source::Session(self.session.number), batch);
        }
    }

    fn large(&self, envelope: Envelope) {
        match self.session.large.push(envelope, self.now()) {
            Ok(()) => self.session.large.wake(),
            Err(_) => self.shared.stats.count_dropped(1),
        }
    }

    fn unsent(&self, batch: Vec<Envelope>, _why: Refusal) {
        self.shared.stats.count_dropped(batch.len());
    }

    fn wrote(&self, messages: usize, bytes: usize) {
        self.shared.stats.count(Traffic::Session, Direction::Sent, messages, bytes);
    }
}
