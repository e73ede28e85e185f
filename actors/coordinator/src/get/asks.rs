//! The replicas that a read has asked, and how it stands with each. Plain state; nothing is sent here.

use crate::config::{TRIES_MAX, pause_us};
use crate::failure::{CopyAnswer, of_copy};
use crate::latency::Latency;
use alloc::vec::Vec;
use anser_model::NodeId;
use anser_proto::replicate::Want;
use anser_proto::{Refusal, Tick};

/// How it stands with a replica that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has not answered yet.
    Waiting,
    /// It answered.
    Answered,
    /// It refused, and is asked again.
    Again(Tick),
    /// It refused, but might not another time.
    Refused,
    /// It will not answer.
    Lost,
}

#[derive(Debug)]
struct Ask {
    node: NodeId,
    sent: Tick,
    want: Want,
    tries: u8,
    standing: Standing,
    /// Whether its last word was that it can't be reached; the dead say so too.
    unreached: bool,
}

/// The replicas asked; each once.
#[derive(Debug, Default)]
pub(super) struct Asks(Vec<Ask>);

impl Asks {
    /// A replica is asked, perhaps once more.
    pub fn asked(&mut self, node: NodeId, want: Want, now: Tick) {
        match self.0.iter_mut().find(|ask| ask.node == node) {
            Some(ask) => {
                ask.tries = ask.tries.saturating_add(1);
                (ask.sent, ask.want, ask.standing) = (now, want, Standing::Waiting);
            }
            None => {
                let standing = Standing::Waiting;
                self.0.push(Ask { node, sent: now, want, tries: 1, standing, unreached: false });
            }
        }
    }

    /// A replica answered. When it was asked; none if it was not asked for that, or has answered.
    pub fn answered(&mut self, node: NodeId, want: Want) -> Option<Tick> {
        let ask = self.waiting_mut(node).filter(|ask| ask.want == want)?;
        ask.standing = Standing::Answered;
        ask.unreached = false;
        Some(ask.sent)
    }

    /// A replica refused. Whether it was waited for.
    pub fn refused(&mut self, node: NodeId, refusal: Refusal) -> bool {
        let Some(ask) = self.waiting_mut(node) else { return false };
        ask.standing = match of_copy(refusal) {
            CopyAnswer::Later => Standing::Refused,
            CopyAnswer::Never | CopyAnswer::Step | CopyAnswer::Round(_) => Standing::Lost,
        };
        ask.unreached = refusal == Refusal::NotSent;
        true
    }

    /// A replica's answer can't be used.
    pub fn spoilt(&mut self, node: NodeId) {
        if let Some(ask) = self.0.iter_mut().find(|ask| ask.node == node) {
            ask.standing = Standing::Lost;
        }
    }

    /// Those waited for, or to be asked again, that seem dead: nothing is expected of them any more.
    pub fn bury(&mut self, is_dead: impl Fn(&NodeId) -> bool) -> Vec<NodeId> {
        let mut dead = Vec::new();
        for ask in &mut self.0 {
            let expected = match ask.standing {
                Standing::Waiting | Standing::Again(_) | Standing::Refused => true,
                Standing::Answered | Standing::Lost => false,
            };
            if expected && is_dead(&ask.node) {
                ask.standing = Standing::Lost;
                ask.unreached = true;
                dead.push(ask.node);
            }
        }
        dead
    }

    /// What a replica that is waited for is asked once more, if it may be.
    pub fn once_more(&self, node: NodeId) -> Option<Want> {
        let ask = self.0.iter().find(|ask| ask.node == node && ask.standing == Standing::Waiting)?;
        (ask.tries < TRIES_MAX).then_some(ask.want)
    }

    /// Those who refused are to be asked again, or are lost if that was tried often enough.
    pub fn revive(&mut self, now: Tick) {
        for ask in &mut self.0 {
            if ask.standing == Standing::Refused {
                ask.standing = match ask.tries < TRIES_MAX {
                    true => Standing::Again(now.plus_us(pause_us(ask.tries))),
                    false => Standing::Lost,
                };
            }
        }
    }

    /// Those who are due to be asked again, and what.
    pub fn due(&self, now: Tick) -> Vec<(NodeId, Want)> {
        let due = self.0.iter().filter(|ask| match ask.standing {
            Standing::Again(at) => at <= now,
            Standing::Waiting | Standing::Answered | Standing::Refused | Standing::Lost => false,
        });
        due.map(|ask| (ask.node, ask.want)).collect()
    }

    /// When the first of those is due.
    pub fn wakes_at(&self) -> Option<Tick> {
        let again = self.0.iter().filter_map(|ask| match ask.standing {
            Standing::Again(at) => Some(at),
            Standing::Waiting | Standing::Answered | Standing::Refused | Standing::Lost => None,
        });
        again.min()
    }

    /// Whether a replica was asked for its whole state.
    pub fn wants_full(&self, node: &NodeId) -> bool {
        self.0.iter().any(|ask| ask.node == *node && ask.want == Want::Full)
    }

    /// Whether a whole state may be about to come: from one that was asked after `late`.
    pub fn full_comes(&self, late: impl Fn(&NodeId, Tick) -> bool) -> bool {
        let comes = |ask: &Ask| ask.want == Want::Full && ask.standing == Standing::Waiting;
        self.0.iter().any(|ask| comes(ask) && !late(&ask.node, ask.sent))
    }

    /// The replicas waited for, and since when.
    pub fn waiting(&self) -> impl Iterator<Item = (NodeId, Tick)> + '_ {
        let waiting = self.0.iter().filter(|ask| ask.standing == Standing::Waiting);
        waiting.map(|ask| (ask.node, ask.sent))
    }

    /// How long nearly all answers of those waited for take at most.
    pub fn p95_us(&self, latency: &Latency) -> u64 {
        self.waiting().map(|(node, _)| latency.p95_us(&node)).max().unwrap_or(0)
    }

    /// Whether something has come of a replica or may yet; none if it was not asked.
    pub fn hopes_for(&self, node: &NodeId) -> Option<bool> {
        let ask = self.0.iter().find(|ask| ask.node == *node)?;
        Some(match ask.standing {
            Standing::Waiting | Standing::Answered | Standing::Again(_) => true,
            Standing::Refused | Standing::Lost => false,
        })
    }

    /// Whether, as far as is known, nobody was reached.
    pub fn reached_nobody(&self) -> bool {
        self.0.iter().all(|ask| ask.unreached)
    }

    fn waiting_mut(&mut self, node: NodeId) -> Option<&mut Ask> {
        self.0.iter_mut().find(|ask| ask.node == node && ask.standing == Standing::Waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([1; 16]);
    const B: NodeId = NodeId([2; 16]);

    #[test]
    fn an_answer_counts_once_and_only_if_asked_for() {
        let mut asks = Asks::default();
        asks.asked(A, Want::Digest, Tick(5));
        assert_eq!(asks.answered(B, Want::Digest), None);
        assert_eq!(asks.answered(A, Want::Full), None);
        assert_eq!(asks.answered(A, Want::Digest), Some(Tick(5)));
        assert_eq!(asks.answered(A, Want::Digest), None);
        asks.asked(A, Want::Full, Tick(9));
        assert!(asks.wants_full(&A) && asks.full_comes(|_, sent| sent < Tick(9)));
        assert_eq!(asks.answered(A, Want::Full), Some(Tick(9)));
    }

    #[test]
    fn who_refused_is_revived_a_bounded_number_of_times() {
        let mut asks = Asks::default();
        asks.asked(A, Want::Full, Tick(0));
        let mut tries = 1;
        loop {
            assert!(asks.refused(A, Refusal::NotSent));
            assert!(!asks.refused(A, Refusal::NotSent), "once");
            assert_eq!(asks.hopes_for(&A), Some(false));
            asks.revive(Tick(0));
            let Some(at) = asks.wakes_at() else { break };
            assert_eq!(asks.hopes_for(&A), Some(true));
            assert_eq!((asks.due(Tick(at.0 - 1)), asks.due(at)), (vec![], vec![(A, Want::Full)]));
            asks.asked(A, Want::Full, at);
            tries += 1;
        }
        assert_eq!((tries, asks.reached_nobody()), (TRIES_MAX, true));
    }

    #[test]
    fn the_dead_are_buried_once() {
        let mut asks = Asks::default();
        asks.asked(A, Want::Full, Tick(0));
        asks.asked(B, Want::Digest, Tick(0));
        assert_eq!(asks.answered(B, Want::Digest), Some(Tick(0)));
        assert_eq!(asks.bury(|_| true), [A], "who answered, answered");
        assert_eq!(asks.bury(|_| true), []);
        assert!(!asks.reached_nobody());
    }
}
