//! Clients: each runs one operation after the other, retries it with the same request id until its time is up, and carries
//! contexts from what it was shown into what it writes, as the client library does.

mod answer;
mod workload;

use crate::dice::Dice;
use crate::invariants::ReadStart;
use anser_model::{Context, Hlc, Level};
use anser_proto::OpId;
use anser_proto::client::ClientRequest;
pub(crate) use answer::{Answer, answer};
use std::collections::{BTreeMap, VecDeque};
pub(crate) use workload::FILL;

/// What a write is given as its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// Nothing.
    Blind,
    /// "none".
    Sibling,
    /// The last token that this client was given for the key.
    Token,
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Get,
    Put(Given),
    Delete(Given),
}

/// One operation that a client wants to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub slot: usize,
    pub what: What,
    pub level: Option<Level>,
    pub timeout_us: u64,
    /// Whether it must succeed: the cluster is healthy.
    pub must: bool,
    /// Whether it is tried anew after the client's clock was corrected.
    pub corrected: bool,
    /// Whether it is given up at the first answer that is no success, or without one.
    pub once: bool,
    /// Whether the first acknowledgement is taken as lost, and the write retried.
    pub again: bool,
}

/// An operation under way.
#[derive(Debug)]
pub(crate) struct Operation {
    pub wish: Wish,
    pub level: Level,
    pub request: ClientRequest,
    pub write: Option<usize>,
    pub start: ReadStart,
    pub deadline: u64,
    /// The nodes to ask, the best first.
    pub candidates: Vec<usize>,
    pub attempts: usize,
    /// Which node was asked, and as what; none while it pauses.
    pub asked: Option<(usize, OpId)>,
    /// Whether an attempt may have been carried out.
    pub maybe: bool,
}

/// What a client was given for a key.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub text: String,
    /// How many versions were shown with it.
    pub shown: usize,
    /// The dots, and whose requests, it has seen; none if it was not looked into.
    pub seen: Option<(Context, Vec<u64>)>,
}

/// What a client may count on seeing of a key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    /// The token it was given last.
    pub token: Option<Token>,
    /// Its last acknowledged write at each number of replicas.
    pub wrote: BTreeMap<usize, usize>,
    /// The writes that its last strict read showed.
    pub saw: Vec<usize>,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub dc: usize,
    pub dice: Dice,
    pub writer: u128,
    pub writes: u64,
    pub asks: u64,
    pub clock: Hlc,
    /// How far its wall clock is off.
    pub offset_ms: i64,
    /// By key.
    pub sessions: Vec<Session>,
    pub current: Option<Operation>,
    /// What it is told to do, before anything of its own.
    pub script: VecDeque<Wish>,
    /// The key that it works on mostly, if there is one.
    pub hot: Option<usize>,
    /// Milliseconds that it waits between two operations, on average.
    pub think_ms: u64,
    /// Whether it begins nothing of its own any more.
    pub stopping: bool,
    /// Counts what it waits for: older timers are void.
    pub generation: u64,
}

impl Client {
    /// One that has done nothing.
    pub fn new(dc: usize, hot: Option<usize>, think_ms: u64, mut dice: Dice) -> Client {
        Client {
            dc,
            think_ms,
            writer: dice.u128(),
            offset_ms: i64::try_from(dice.below(401)).unwrap_or(0) - 200,
            dice,
            writes: 0,
            asks: 0,
            clock: Hlc::default(),
            sessions: Vec::new(),
            current: None,
            script: VecDeque::new(),
            hot,
            stopping: false,
            generation: 0,
        }
    }

    /// Whether it has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.script.is_empty()
    }
}
