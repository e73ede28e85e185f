//! Clients: each reads and writes a key of its own, one operation after the other, and knows what it must be shown.

use crate::stage::now_at;
use anser_model::{Body as Value, Hlc, Key, KeyspaceName, Level, Rid};
use anser_proto::client::{
    ClientReply, ClientRequest, ContextArg, Failure, GetReply, GetRequest, Outcome, PutRequest,
};
use anser_proto::{Body, OpId, Refusal};
use anser_sim::Dice;
use bytes::Bytes;

/// How long a client waits for an answer.
pub const PATIENCE_MS: u64 = 400;
/// Bytes of a value: so many that memtables fill.
const VALUE_BYTES: usize = 300;
/// The longest pause between two operations.
const PAUSE_MS: u64 = 30;

enum Asked {
    Get,
    Put(u64),
}

/// See the module.
pub struct Client {
    number: usize,
    dice: Dice,
    seq: u64,
    asked: Option<Asked>,
    /// When it goes on; with something asked, when it stops waiting for the answer.
    at: u64,
    /// The last write that was acknowledged, and the last at all.
    acked: u64,
    written: u64,
    context: Option<String>,
    /// Whether it reads for the last time, and whether it has.
    last: bool,
    done: bool,
    pub succeeded: usize,
    pub unknown: usize,
}

impl Client {
    pub fn new(number: usize, dice: Dice) -> Client {
        Client {
            number,
            dice,
            seq: 0,
            asked: None,
            at: 0,
            acked: 0,
            written: 0,
            context: None,
            last: false,
            done: false,
            succeeded: 0,
            unknown: 0,
        }
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    /// When it wants to go on.
    pub fn due(&self) -> Option<u64> {
        (!self.done).then_some(self.at)
    }

    /// What it asks now, if anything. After the end of the plot only a last read.
    pub fn go_on(&mut self, now: u64, last: bool) -> Option<(OpId, ClientRequest)> {
        if self.done || now < self.at {
            return None;
        }
        if self.asked.take().is_some() {
            self.unknown += 1;
        }
        self.last = last;
        self.at = now + PATIENCE_MS + 10;
        self.seq += 1;
        let request = if last || self.dice.chance(500_000) { self.get() } else { self.put(now) };
        Some((OpId { life: 0, seq: self.seq }, request))
    }

    fn get(&mut self) -> ClientRequest {
        self.asked = Some(Asked::Get);
        let level = self.last.then_some(Level::All);
        ClientRequest::Get(GetRequest { keyspace: keyspace(), key: self.key(), level })
    }

    fn put(&mut self, now: u64) -> ClientRequest {
        self.written += 1;
        self.asked = Some(Asked::Put(self.written));
        let mut value = vec![self.number as u8; VALUE_BYTES];
        value[..8].copy_from_slice(&self.written.to_le_bytes());
        ClientRequest::Put(PutRequest {
            keyspace: keyspace(),
            key: self.key(),
            rid: Rid { writer: self.number as u128, seq: self.written },
            issued: Hlc::from_ms(now_at(now).wall_ms),
            expires: None,
            body: Value::Value(value.into()),
            context: self.context.clone().map_or(ContextArg::Blind, ContextArg::Token),
            level: None,
            retry: false,
        })
    }

    fn key(&self) -> Key {
        Key::new(Bytes::from(format!("key {}", self.number))).unwrap()
    }

    /// Takes an answer.
    pub fn hear(&mut self, now: u64, op: OpId, body: Body) {
        if op.seq != self.seq {
            return;
        }
        let Some(asked) = self.asked.take() else { return };
        self.at = now + self.dice.between(1, PAUSE_MS);
        match (asked, body) {
            (Asked::Get, Body::ClientReply(ClientReply { outcome: Outcome::Get(reply), .. })) => {
                self.is_shown(&reply);
                self.context = Some(reply.context);
                self.succeeded += 1;
                self.done = self.last;
            }
            (Asked::Put(number), Body::ClientReply(ClientReply { outcome: Outcome::Put(reply), .. })) => {
                self.acked = number;
                self.context = Some(reply.context);
                self.succeeded += 1;
            }
            (_, Body::ClientReply(ClientReply { outcome: Outcome::Failed(Failure::Unknown { .. }), .. }))
            | (_, Body::Refused(Refusal::Crashed)) => self.unknown += 1,
            (_, Body::ClientReply(ClientReply { outcome: Outcome::Failed(_), .. }) | Body::Refused(_)) => {}
            (_, other) => panic!("no answer to that: {other:?}"),
        }
    }

    /// A read must show the last acknowledged write, or one that came after it.
    fn is_shown(&self, reply: &GetReply) {
        let number = |value: &Bytes| u64::from_le_bytes(*value.first_chunk().unwrap());
        let shown: Vec<u64> = reply.versions.iter().map(|version| number(&version.value)).collect();
        let fine = self.acked == 0 || shown.iter().any(|number| *number >= self.acked);
        assert!(fine, "client {} is shown {shown:?} after {} was acknowledged", self.number, self.acked);
        assert!(shown.iter().all(|number| *number <= self.written), "{shown:?} of {}", self.written);
    }
}

fn keyspace() -> KeyspaceName {
    KeyspaceName::new("default").unwrap()
}
