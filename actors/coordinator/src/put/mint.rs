//! Which replica mints a write, and what is known of the attempts. Plain decisions; nothing is sent here.
//!
//! Keeps I-7: an attempt counts as open from when it is sent until an answer says that it minted nothing. Where the order of
//! minters ends without one, fallbacks that mint under their own name will join; there are none yet.

use crate::config::{MINT_ATTEMPTS_MAX, MINT_PATIENCE_MS_MIN, MINT_PATIENCE_PARTS, pause_us};
use crate::failure::MintAnswer;
use crate::route::Plan;
use crate::timers::take_due;
use crate::view::{Generation, View};
use alloc::vec::Vec;
use anser_model::{Level, NodeId, Rid, minter_order};
use anser_proto::Tick;
use anser_proto::client::Failure;

/// What is known of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// No answer yet: it may mint.
    Waiting,
    /// It minted nothing, and won't.
    Nothing,
    /// It was answered, and may have minted.
    Open,
}

/// One request that could mint.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    node: NodeId,
    generation: Generation,
    fate: Fate,
}

/// What to do about minting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Wait for an answer, or for the deadline.
    Wait,
    /// Ask this replica.
    Ask(NodeId),
    /// Ask again from the first one, after a pause.
    Pause,
    /// Nobody is left to ask, and nobody will answer.
    GiveUp,
}

/// The attempts to have a write minted.
#[derive(Debug)]
pub(crate) struct Minting {
    order: Vec<NodeId>,
    /// The place in `order` of the next to ask.
    next: usize,
    attempts: Vec<Attempt>,
    patience_us: u64,
    /// When to lose patience with the last one asked.
    move_on_at: Option<Tick>,
    /// When a pause ends.
    again_at: Option<Tick>,
    pauses: u8,
    rests: bool,
    settled: bool,
    failure: Option<Failure>,
}

/// The replicas that may mint, in the order they are asked: those that seem alive, the nearer data centre first.
pub(crate) fn minters(view: &View, plan: &Plan, rid: Rid) -> Vec<NodeId> {
    // Another data centre's coordinator would take a local level for its own.
    let near_only = match plan.level {
        Level::LocalOne | Level::LocalQuorum => true,
        Level::Count(_) | Level::Quorum | Level::All | Level::EachQuorum => false,
    };
    let seats = plan.seats.iter().filter(|seat| seat.local || !near_only);
    let nodes: Vec<NodeId> = seats.map(|seat| seat.node).filter(|node| !view.is_dead(node)).collect();
    let mut order = minter_order(rid, &nodes);
    order.sort_by_key(|node| (view.standing(node), !plan.is_local(node)));
    order
}

impl Minting {
    /// Before the first attempt, with so much time left.
    pub fn new(order: Vec<NodeId>, left_us: u64) -> Minting {
        Minting {
            order,
            next: 0,
            attempts: Vec::new(),
            patience_us: (left_us / MINT_PATIENCE_PARTS).max(MINT_PATIENCE_MS_MIN * 1000),
            move_on_at: None,
            again_at: None,
            pauses: 0,
            rests: false,
            settled: false,
            failure: None,
        }
    }

    /// What to do now.
    pub fn next(&mut self, is_dead: impl Fn(&NodeId) -> bool) -> Next {
        let room = self.attempts.len() < MINT_ATTEMPTS_MAX && !self.settled;
        let rests = core::mem::take(&mut self.rests);
        if room && rests {
            return Next::Pause;
        }
        while let Some(node) = self.order.get(self.next).filter(|_| room) {
            self.next += 1;
            if !is_dead(node) {
                return Next::Ask(*node);
            }
        }
        if self.attempts.iter().any(|attempt| attempt.fate == Fate::Waiting) {
            Next::Wait
        } else if room && self.may_have_minted() {
            Next::Pause
        } else {
            Next::GiveUp
        }
    }

    /// A replica was asked.
    pub fn asked(&mut self, node: NodeId, generation: Generation, now: Tick) {
        self.attempts.push(Attempt { node, generation, fate: Fate::Waiting });
        self.move_on_at = Some(now.plus_us(self.patience_us));
    }

    /// A pause begins, after which the first is asked again.
    pub fn pause(&mut self, now: Tick) {
        self.next = 0;
        self.move_on_at = None;
        self.again_at = Some(now.plus_us(pause_us(self.pauses)));
        self.pauses = self.pauses.saturating_add(1);
    }

    /// An attempt was answered, but for success. Whether it was one that waited: anything else is a late or double answer.
    pub fn answered(&mut self, node: NodeId, generation: Generation, answer: MintAnswer) -> bool {
        let waited = |attempt: &&mut Attempt| {
            attempt.node == node && attempt.generation == generation && attempt.fate == Fate::Waiting
        };
        let Some(attempt) = self.attempts.iter_mut().find(waited) else { return false };
        attempt.fate = Fate::Nothing;
        match answer {
            MintAnswer::Elsewhere(failure) => self.failure = Some(failure),
            MintAnswer::Again => {
                self.failure = Some(Failure::NotReady);
                self.rests = true;
            }
            MintAnswer::Open => attempt.fate = Fate::Open,
            MintAnswer::Final(failure) => {
                self.failure = Some(failure);
                self.settled = true;
            }
        }
        true
    }

    /// Whether any copy may have minted, or may do so yet.
    pub fn may_have_minted(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.fate != Fate::Nothing)
    }

    /// Whether the last one asked has not answered.
    pub fn waits_for(&self, is_dead: impl Fn(&NodeId) -> bool) -> bool {
        self.attempts.last().is_some_and(|last| last.fate == Fate::Waiting && is_dead(&last.node))
    }

    /// Whether this is one of the attempts.
    pub fn has(&self, node: NodeId, generation: Generation) -> bool {
        self.attempts.iter().any(|attempt| attempt.node == node && attempt.generation == generation)
    }

    /// Why nothing was minted, as the last refusal has it.
    pub fn failure(&self) -> Option<Failure> {
        self.failure.clone()
    }

    /// The ring changed: other replicas are to be asked, and what waited for it need not.
    pub fn reroute(&mut self, order: Vec<NodeId>, now: Tick) {
        self.order = order;
        self.next = self.next.min(self.order.len());
        if self.again_at.is_some() {
            self.again_at = Some(now);
        }
    }

    /// When it wants to be woken.
    pub fn wakes_at(&self) -> Option<Tick> {
        crate::timers::earlier(self.move_on_at, self.again_at)
    }

    /// Whether the next is to be asked now: patience or a pause has ended.
    pub fn is_due(&mut self, now: Tick) -> bool {
        let impatient = take_due(&mut self.move_on_at, now);
        take_due(&mut self.again_at, now) || (impatient && self.again_at.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::route::Seat;
    use anser_model::ring::DcName;

    const A: NodeId = NodeId([1; 16]);
    const B: NodeId = NodeId([2; 16]);

    fn alive(_: &NodeId) -> bool {
        false
    }

    fn asked(order: &[NodeId]) -> Minting {
        let mut minting = Minting::new(order.to_vec(), 300_000);
        let Next::Ask(first) = minting.next(alive) else { panic!("asks nobody") };
        minting.asked(first, Generation(1), Tick(0));
        minting
    }

    #[test]
    fn the_near_mint_first_and_for_a_local_level_only_they() {
        let view = View::new(Config::new(NodeId([9; 16]), DcName::new("dc1").unwrap(), 1, 1));
        let node = |n: u8| NodeId([n; 16]);
        let seats: Vec<Seat> = (1..=6).map(|n| Seat { node: node(n), local: n % 2 == 0 }).collect();
        for seq in 0..50 {
            let order = |level| minters(&view, &Plan::of_seats(level, seats.clone()), Rid { writer: 1, seq });
            let local = order(Level::LocalQuorum);
            assert!(local.len() == 3 && local.iter().all(|near| near.0[0] % 2 == 0), "{local:?}");
            let all = order(Level::Quorum);
            assert_eq!((all.len(), &all[..3]), (6, &local[..]));
        }
    }

    #[test]
    fn refusals_lead_to_the_next_minter_and_then_to_the_failure() {
        let mut minting = asked(&[A, B]);
        assert!(minting.answered(A, Generation(1), MintAnswer::Elsewhere(Failure::Overloaded)));
        assert_eq!(minting.next(alive), Next::Ask(B));
        minting.asked(B, Generation(2), Tick(0));
        assert!(minting.answered(B, Generation(2), MintAnswer::Elsewhere(Failure::NotReady)));
        assert_eq!(minting.next(alive), Next::GiveUp);
        assert_eq!((minting.may_have_minted(), minting.failure()), (false, Some(Failure::NotReady)));
    }

    #[test]
    fn silence_leaves_the_attempt_open_until_it_says_otherwise() {
        let mut minting = asked(&[A, B]);
        assert_eq!(minting.wakes_at(), Some(Tick(100_000)));
        assert!(
            !minting.is_due(Tick(99_999)) && minting.is_due(Tick(100_000)) && !minting.is_due(Tick(100_000))
        );
        assert_eq!(minting.next(alive), Next::Ask(B));
        minting.asked(B, Generation(2), Tick(100_000));
        assert!(minting.answered(B, Generation(2), MintAnswer::Final(Failure::TooManySiblings)));
        assert_eq!((minting.next(alive), minting.may_have_minted()), (Next::Wait, true));
        assert!(minting.answered(A, Generation(1), MintAnswer::Elsewhere(Failure::Overloaded)));
        assert!(!minting.answered(A, Generation(1), MintAnswer::Open), "a double answer");
        assert_eq!((minting.next(alive), minting.may_have_minted()), (Next::GiveUp, false));
    }

    #[test]
    fn a_crash_stays_open_and_is_asked_again_a_bounded_number_of_times() {
        let mut minting = asked(&[A]);
        let mut generation = 1;
        while minting.answered(A, Generation(generation), MintAnswer::Open) {
            match minting.next(alive) {
                Next::Pause => minting.pause(Tick(0)),
                Next::GiveUp => break,
                Next::Wait | Next::Ask(_) => panic!("no pause"),
            }
            let Next::Ask(node) = minting.next(alive) else { panic!("asks nobody") };
            generation += 1;
            minting.asked(node, Generation(generation), Tick(0));
        }
        assert_eq!((usize::from(generation), minting.may_have_minted()), (MINT_ATTEMPTS_MAX, true));
    }

    #[test]
    fn the_dead_are_skipped_and_a_newer_step_is_waited_for() {
        let mut minting = Minting::new(vec![A, B], 0);
        assert_eq!(minting.next(|node| *node == A), Next::Ask(B));
        minting.asked(B, Generation(1), Tick(0));
        assert!(minting.waits_for(|node| *node == B));
        minting.answered(B, Generation(1), MintAnswer::Again);
        assert_eq!(minting.next(alive), Next::Pause);
        minting.pause(Tick(0));
        assert_eq!(minting.wakes_at(), Some(Tick(4_000)));
        minting.reroute(vec![B], Tick(7));
        assert!(minting.is_due(Tick(7)));
        assert_eq!(minting.next(alive), Next::Ask(B));
    }
}
