//! Random histories of one key over several copies, run on real states beside an oracle.
//!
//! The oracle knows of each mint what its write had seen, as sets of requests: what is live in a copy is then every
//! request that came there, less all that some mint there had seen.

use anser_model::id::{Actor, Dot, Life, NodeId, Rid};
use anser_model::state::{Body, KeyState, Minted, SETTLED_MAX, Seen, Write};
use anser_model::{Hlc, Token};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet};

const COPIES: usize = 4;

/// What happens next. Indices choose among what there is.
#[derive(Clone, Debug)]
pub enum Op {
    /// A client reads a copy and keeps the token.
    Read(Index),
    /// A new write at a copy, claiming to have seen this.
    Put(Index, Claim, bool),
    /// A former write comes again, at any copy.
    Retry(Index, Index),
    /// One copy's state reaches another.
    Merge(Index, Index),
    /// An old message is delivered, late or once more.
    Replay(Index, Index),
    /// A copy restarts; it may have lost what it had not synced.
    Restart(Index, Index),
}

/// What a write claims to have seen.
#[derive(Clone, Debug)]
pub enum Claim {
    /// What one of the tokens showed, the last ones more likely.
    Token(Index),
    /// What is present.
    Present,
    /// Nothing.
    Nothing,
}

pub fn ops(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Op>> {
    let index = any::<Index>;
    let claim = prop_oneof![
        4 => index().prop_map(Claim::Token),
        2 => Just(Claim::Present),
        1 => Just(Claim::Nothing),
    ];
    let op = prop_oneof![
        3 => index().prop_map(Op::Read),
        5 => (index(), claim, any::<bool>()).prop_map(|(copy, claim, delete)| Op::Put(copy, claim, delete)),
        3 => (index(), index()).prop_map(|(copy, write)| Op::Retry(copy, write)),
        4 => (index(), index()).prop_map(|(from, to)| Op::Merge(from, to)),
        2 => (index(), index()).prop_map(|(message, to)| Op::Replay(message, to)),
        1 => (index(), index()).prop_map(|(copy, back)| Op::Restart(copy, back)),
    ];
    prop::collection::vec(op, count)
}

/// A state beside the mints that it came from.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub state: KeyState,
    pub mints: BTreeSet<Dot>,
}

struct Copy {
    now: Snapshot,
    actor: Actor,
    counter: u64,
    /// What it was after each of its changes: what a restart may fall back to.
    past: Vec<Snapshot>,
}

#[derive(Default)]
pub struct History {
    copies: Vec<Copy>,
    writes: Vec<(Write, Option<BTreeSet<Rid>>)>,
    tokens: Vec<(Seen, BTreeSet<Rid>)>,
    lives: u64,
    minted: BTreeMap<Dot, (Rid, BTreeSet<Rid>)>,
    /// Every state that was ever in a copy.
    pub snapshots: Vec<Snapshot>,
}

impl History {
    pub fn run(ops: &[Op]) -> History {
        let mut history = History::default();
        for copy in 0..COPIES {
            let actor = history.actor(copy);
            history.copies.push(Copy { now: Snapshot::default(), actor, counter: 0, past: Vec::new() });
        }
        history.snapshots.push(Snapshot::default());
        ops.iter().for_each(|op| history.step(op));
        history
    }

    /// The requests that must be live in a state made of these mints.
    pub fn live(&self, mints: &BTreeSet<Dot>) -> BTreeSet<Rid> {
        let mut live: BTreeSet<Rid> = mints.iter().map(|dot| self.minted[dot].0).collect();
        for dot in mints {
            let (rid, seen) = &self.minted[dot];
            live.retain(|other| other == rid || !seen.contains(other));
        }
        live
    }

    /// The request that a dot was minted for.
    pub fn minted_for(&self, dot: &Dot) -> Option<Rid> {
        self.minted.get(dot).map(|(rid, _)| *rid)
    }

    /// All dots minted.
    pub fn dots(&self) -> impl Iterator<Item = &Dot> {
        self.minted.keys()
    }

    /// The requests that were minted here, or that a write had seen that was.
    fn known(&self, mints: &BTreeSet<Dot>) -> BTreeSet<Rid> {
        let mut known = BTreeSet::new();
        for (rid, seen) in mints.iter().map(|dot| &self.minted[dot]) {
            known.insert(*rid);
            known.extend(seen);
        }
        known
    }

    fn actor(&mut self, copy: usize) -> Actor {
        self.lives += 1;
        Actor { node: NodeId([u8::try_from(copy).unwrap(); 16]), life: Life(self.lives) }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Read(copy) => {
                let now = &self.copies[copy.index(COPIES)].now;
                let shown = (Token::of(&now.state).into_seen(), self.known(&now.mints));
                self.tokens.push(shown);
            }
            Op::Put(copy, claim, delete) => {
                let seq = u64::try_from(self.writes.len()).unwrap();
                let (seen, shown) = match claim {
                    Claim::Token(_) if self.tokens.is_empty() => (Seen::Nothing, Some(BTreeSet::new())),
                    Claim::Token(back) => {
                        let recent = self.tokens.len().saturating_sub(8);
                        let (seen, shown) = back.get(&self.tokens[recent..]);
                        (seen.clone(), Some(shown.clone()))
                    }
                    Claim::Present => (Seen::Present, None),
                    Claim::Nothing => (Seen::Nothing, Some(BTreeSet::new())),
                };
                let value = Body::Value(Bytes::from(seq.to_string()));
                let write = Write {
                    rid: Rid { writer: 5, seq },
                    issued: Hlc::from_ms(1_000 + seq),
                    expires: None,
                    body: if *delete { Body::Tombstone } else { value },
                    seen,
                };
                self.writes.push((write.clone(), shown.clone()));
                self.mint(copy.index(COPIES), &write, shown);
            }
            Op::Retry(copy, write) => {
                if !self.writes.is_empty() {
                    let (write, shown) = write.get(&self.writes).clone();
                    self.mint(copy.index(COPIES), &write, shown);
                }
            }
            Op::Merge(from, to) => {
                let message = self.copies[from.index(COPIES)].now.clone();
                self.deliver(&message, to.index(COPIES));
            }
            Op::Replay(message, to) => {
                let message = message.get(&self.snapshots).clone();
                self.deliver(&message, to.index(COPIES));
            }
            Op::Restart(copy, back) => {
                let at = copy.index(COPIES);
                let actor = self.actor(at);
                let copy = &mut self.copies[at];
                if !copy.past.is_empty() {
                    copy.now = back.get(&copy.past).clone();
                }
                (copy.actor, copy.counter) = (actor, 0);
            }
        }
    }

    fn mint(&mut self, at: usize, write: &Write, shown: Option<BTreeSet<Rid>>) {
        let known = self.known(&self.copies[at].now.mints);
        let copy = &mut self.copies[at];
        let settled = copy.now.state.settled();
        let maybe_forgotten =
            settled.len() == SETTLED_MAX && settled.iter().all(|(_, kept)| write.issued <= *kept);
        let dot = Dot { actor: copy.actor, counter: copy.counter + 1 };
        match copy.now.state.mint(copy.actor, copy.counter + 1, write) {
            Ok(Minted::Known) => {
                assert!(known.contains(&write.rid), "an unknown request was taken for a retry")
            }
            Ok(Minted::New(minted)) => {
                assert_eq!(minted, dot);
                copy.counter += 1;
                copy.now.mints.insert(dot);
                let present = if maybe_forgotten { BTreeSet::new() } else { known };
                self.minted.insert(dot, (write.rid, shown.unwrap_or(present)));
            }
            Err(_) => {}
        }
        self.keep(at);
    }

    fn deliver(&mut self, message: &Snapshot, to: usize) {
        let copy = &mut self.copies[to];
        let before = copy.now.state.clone();
        let merged = copy.now.state.merge(&message.state);
        assert_eq!(merged.changed, before != copy.now.state);
        assert_eq!(merged.clashes, 0);
        copy.now.mints.extend(&message.mints);
        self.keep(to);
    }

    fn keep(&mut self, at: usize) {
        let copy = &mut self.copies[at];
        copy.past.push(copy.now.clone());
        self.snapshots.push(copy.now.clone());
    }
}
