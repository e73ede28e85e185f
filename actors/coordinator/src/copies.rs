//! The copies of a minted state: who acknowledged it, who is to be asked again, whether the level can still be met.
//!
//! Plain decisions; nothing is sent here. Keeps I-10 and I-11: only a replica's own word counts, and only that it is durable where the keyspace asks
//! for that.

use crate::config::{RELOADS_MAX, TRIES_MAX, pause_us};
use crate::failure::{CopyAnswer, of_copy};
use crate::view::Generation;
use alloc::vec::Vec;
use anser_model::{Need, NodeId, Round};
use anser_proto::{Refusal, Tick};
use bytes::Bytes;

/// The replicas that acknowledged the state.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    nodes: Vec<NodeId>,
    generations: Vec<Generation>,
    /// Those of them that hold it durably: all, but in keyspaces of durability `interval`.
    durable: Vec<NodeId>,
    /// Answers to earlier requests don't count.
    floor: Generation,
    /// The first requests of the present step.
    step_began: Generation,
    /// A replica that lost what it held, and the first requests since.
    lost: Option<(NodeId, Generation)>,
}

impl Acks {
    /// A replica says that it holds it, durably or in memory.
    pub fn add(&mut self, node: NodeId, generation: Generation, durable: bool) {
        let is_void = self.lost.is_some_and(|(lost, since)| lost == node && generation < since);
        if generation < self.floor || is_void {
            return;
        }
        if durable && !self.durable.contains(&node) {
            self.durable.push(node);
        }
        match self.nodes.iter().position(|known| *known == node) {
            Some(at) => {
                if let Some(known) = self.generations.get_mut(at) {
                    *known = (*known).max(generation);
                }
            }
            None => {
                self.nodes.push(node);
                self.generations.push(generation);
            }
        }
    }

    /// Who holds it.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Who holds it durably.
    pub fn durable(&self) -> impl Iterator<Item = &NodeId> {
        self.nodes.iter().filter(|node| self.durable.contains(node))
    }

    /// What is in memory alone counts no more: the keyspace is another one's now.
    pub fn keep_durable(&mut self) {
        let durable = &self.durable;
        let mut nodes = self.nodes.iter();
        self.generations.retain(|_| nodes.next().is_some_and(|node| durable.contains(node)));
        self.nodes.retain(|node| durable.contains(node));
    }

    /// Whether every placement's need is met; of no placement at all, never.
    pub fn meet(&self, needs: &[Need]) -> bool {
        !needs.is_empty() && needs.iter().all(|need| need.met_by(&self.nodes))
    }

    /// A replica lost what it held: what it said to requests before `since` is void, heard already or not. Whether it had
    /// been heard.
    pub fn lose(&mut self, node: NodeId, since: Generation) -> bool {
        self.lost = Some((node, since));
        self.durable.retain(|known| *known != node);
        let Some(at) = self.nodes.iter().position(|known| *known == node) else { return false };
        self.nodes.remove(at);
        self.generations.remove(at);
        true
    }

    /// The node adopted another step; requests from `began` on are of it. What was said at the step before is kept if that was
    /// the very one before: else a member may have left and come back empty.
    pub fn adopt(&mut self, began: Generation, next_step: bool) {
        self.floor = if next_step { self.step_began } else { began };
        self.step_began = began;
        let floor = self.floor;
        let mut generations = self.generations.iter();
        self.nodes.retain(|_| generations.next().is_some_and(|generation| *generation >= floor));
        self.generations.retain(|generation| *generation >= floor);
    }
}

/// How it stands with a replica that did not take the state at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Asked again.
    Asked,
    /// To be asked again.
    Again(Tick),
    /// Asked no more.
    GivenUp,
}

#[derive(Clone, Copy, Debug)]
struct Laggard {
    node: NodeId,
    tries: u8,
    standing: Standing,
}

/// Whether the state is being reloaded from the own copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reload {
    No,
    Asked(Generation),
    At(Tick),
}

/// A minted state on its way to the replicas.
#[derive(Debug)]
pub(crate) struct Copying {
    state: Bytes,
    round: Round,
    laggards: Vec<Laggard>,
    reload: Reload,
    reloads: u8,
}

impl Copying {
    /// A state, just minted in a round.
    pub fn new(state: Bytes, round: Round) -> Copying {
        Copying { state, round, laggards: Vec::new(), reload: Reload::No, reloads: 0 }
    }

    /// The state, encoded.
    pub fn state(&self) -> &Bytes {
        &self.state
    }

    /// The round that it was minted or reloaded in.
    pub fn round(&self) -> Round {
        self.round
    }

    /// A replica refused it. Gives the round in which the state is to be reloaded, if it is.
    pub fn refused(&mut self, node: NodeId, refusal: Refusal, now: Tick) -> Option<Round> {
        match of_copy(refusal) {
            CopyAnswer::Later | CopyAnswer::Step => self.lag(node, Some(now)),
            CopyAnswer::Never => self.lag(node, None),
            CopyAnswer::Round(round) if round > self.round => match self.reload {
                Reload::No if self.reloads < RELOADS_MAX => return Some(round),
                Reload::No => self.lag(node, None),
                // It gets the reloaded state with the others.
                Reload::Asked(_) | Reload::At(_) => {}
            },
            // An answer to what was sent before the reload.
            CopyAnswer::Round(_) => {}
        }
        None
    }

    /// Notes a refusal; with a time, it is asked again after a pause, unless that was tried often enough.
    fn lag(&mut self, node: NodeId, again_from: Option<Tick>) {
        let at = match self.laggards.iter().position(|laggard| laggard.node == node) {
            Some(at) => at,
            None => {
                self.laggards.push(Laggard { node, tries: 0, standing: Standing::Asked });
                self.laggards.len() - 1
            }
        };
        if let Some(laggard) = self.laggards.get_mut(at) {
            laggard.standing = match again_from {
                Some(now) if laggard.tries < TRIES_MAX => {
                    Standing::Again(now.plus_us(pause_us(laggard.tries)))
                }
                Some(_) | None => Standing::GivenUp,
            };
            laggard.tries = laggard.tries.saturating_add(1);
        }
    }

    /// The replicas that are asked no more.
    pub fn given_up(&self) -> impl Iterator<Item = NodeId> + '_ {
        let given_up = self.laggards.iter().filter(|laggard| laggard.standing == Standing::GivenUp);
        given_up.map(|laggard| laggard.node)
    }

    /// The own copy was asked for its state.
    pub fn reloading(&mut self, generation: Generation) {
        self.reload = Reload::Asked(generation);
        self.reloads = self.reloads.saturating_add(1);
    }

    /// Whether an answer is the one to the reload.
    pub fn is_reload(&self, generation: Generation) -> bool {
        self.reload == Reload::Asked(generation)
    }

    /// The own copy did not give its state: it is asked again after a pause, a bounded number of times.
    pub fn reload_failed(&mut self, now: Tick) {
        let again = self.reloads < RELOADS_MAX;
        self.reload = if again { Reload::At(now.plus_us(pause_us(self.reloads))) } else { Reload::No };
    }

    /// The own copy's state now, for all who don't hold it yet.
    pub fn reloaded(&mut self, state: Bytes, round: Round) {
        self.state = state;
        self.round = self.round.max(round);
        self.reload = Reload::No;
        self.laggards.clear();
    }

    /// The ring changed: whoever lagged is asked anew.
    pub fn rerouted(&mut self) {
        self.laggards.clear();
    }

    /// Whether the reload is due now.
    pub fn reload_is_due(&self, now: Tick) -> bool {
        match self.reload {
            Reload::No | Reload::Asked(_) => false,
            Reload::At(at) => at <= now,
        }
    }

    /// The replicas that are due to be asked again; they count as asked from now on.
    pub fn due(&mut self, now: Tick) -> Vec<NodeId> {
        let mut due = Vec::new();
        for laggard in &mut self.laggards {
            if let Standing::Again(at) = laggard.standing
                && at <= now
            {
                laggard.standing = Standing::Asked;
                due.push(laggard.node);
            }
        }
        due
    }

    /// When it wants to be woken.
    pub fn wakes_at(&self) -> Option<Tick> {
        let reload = match self.reload {
            Reload::No | Reload::Asked(_) => None,
            Reload::At(at) => Some(at),
        };
        let again = self.laggards.iter().filter_map(|laggard| match laggard.standing {
            Standing::Again(at) => Some(at),
            Standing::Asked | Standing::GivenUp => None,
        });
        again.chain(reload).min()
    }
}

/// Whether every placement's need can still be met, if the silent never answer. Who has answered is not silent.
pub(crate) fn possible(needs: &[Need], acked: &[NodeId], silent: impl Iterator<Item = NodeId>) -> bool {
    let silent: Vec<NodeId> = silent.filter(|node| !acked.contains(node)).collect();
    silent.is_empty() || needs.iter().all(|need| need.possible_without(&silent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_model::level::Site;
    use anser_model::ring::DcName;
    use anser_model::{Level, Step};

    const A: NodeId = NodeId([1; 16]);
    const B: NodeId = NodeId([2; 16]);
    const C: NodeId = NodeId([3; 16]);

    fn needs(placements: &[&[NodeId]]) -> Vec<Need> {
        let dc = DcName::new("dc1").unwrap();
        let site = |node: &NodeId| Site { node: *node, dc: dc.clone() };
        let sites = placements.iter().map(|nodes| nodes.iter().map(site).collect::<Vec<_>>());
        sites.map(|sites| Level::Quorum.need(&sites, &dc).unwrap()).collect()
    }

    #[test]
    fn each_placement_is_met_on_its_own() {
        let d = NodeId([4; 16]);
        let e = NodeId([5; 16]);
        let needs = needs(&[&[A, B, C], &[A, d, e]]);
        let mut acks = Acks::default();
        acks.add(A, Generation(1), true);
        acks.add(B, Generation(1), true);
        assert!(!acks.meet(&needs), "the new placement has one");
        acks.add(B, Generation(1), true);
        assert_eq!(acks.nodes(), [A, B]);
        acks.add(e, Generation(1), true);
        assert!(acks.meet(&needs));
    }

    #[test]
    fn acks_outlive_one_step_only() {
        let mut acks = Acks::default();
        acks.add(A, Generation(1), true);
        acks.adopt(Generation(2), true);
        acks.add(B, Generation(2), true);
        acks.add(C, Generation(1), true);
        assert_eq!(acks.nodes(), [A, B, C]);
        acks.adopt(Generation(3), true);
        assert_eq!(acks.nodes(), [B]);
        acks.add(A, Generation(1), true);
        assert_eq!(acks.nodes(), [B], "too old");
        acks.adopt(Generation(4), false);
        assert!(acks.nodes().is_empty());
        acks.add(B, Generation(3), true);
        assert!(acks.nodes().is_empty(), "of a step that was skipped over");
    }

    #[test]
    fn what_a_replica_said_before_it_lost_it_is_void() {
        let mut acks = Acks::default();
        acks.add(A, Generation(1), true);
        acks.add(B, Generation(1), true);
        assert!(acks.lose(A, Generation(2)));
        acks.add(A, Generation(1), true);
        assert_eq!(acks.nodes(), [B], "on its way when it was lost");
        acks.add(A, Generation(2), true);
        assert_eq!(acks.nodes(), [B, A]);
        assert!(!acks.lose(C, Generation(3)));
        acks.add(C, Generation(2), true);
        assert_eq!(acks.nodes(), [B, A]);
    }

    #[test]
    fn refused_stores_are_tried_again_a_bounded_number_of_times() {
        let mut copying = Copying::new(Bytes::new(), Round(0));
        let mut tries = 0;
        let mut now = Tick(0);
        while copying.given_up().next().is_none() {
            assert_eq!(copying.refused(B, Refusal::Busy, now), None);
            if let Some(at) = copying.wakes_at() {
                assert!(copying.due(Tick(at.0 - 1)).is_empty());
                assert_eq!(copying.due(at), [B]);
                assert!(copying.due(at).is_empty(), "once");
                (now, tries) = (at, tries + 1);
            }
        }
        assert_eq!(tries, TRIES_MAX);
        copying.refused(C, Refusal::DiskFailed, now);
        assert_eq!(copying.given_up().collect::<Vec<_>>(), [B, C]);
        copying.refused(C, Refusal::StaleStep(Step(2)), now);
        assert_eq!(copying.given_up().collect::<Vec<_>>(), [B], "it knew a newer step");
    }

    #[test]
    fn a_newer_round_reloads_once_for_all() {
        let mut copying = Copying::new(Bytes::new(), Round(0));
        assert_eq!(copying.refused(B, Refusal::StaleRound(Round(3)), Tick(0)), Some(Round(3)));
        copying.reloading(Generation(2));
        assert_eq!(copying.refused(C, Refusal::StaleRound(Round(3)), Tick(0)), None);
        assert!(copying.is_reload(Generation(2)) && !copying.is_reload(Generation(1)));
        copying.reload_failed(Tick(0));
        assert!(!copying.reload_is_due(Tick(0)) && copying.reload_is_due(copying.wakes_at().unwrap()));
        copying.reloading(Generation(3));
        copying.reloaded(Bytes::from_static(b"new"), Round(3));
        assert_eq!((copying.round(), copying.wakes_at()), (Round(3), None));
        assert_eq!(copying.refused(C, Refusal::StaleRound(Round(3)), Tick(0)), None, "late");
    }

    #[test]
    fn who_acked_is_not_silent() {
        let needs = needs(&[&[A, B, C]]);
        assert!(possible(&needs, &[], [A].into_iter()));
        assert!(!possible(&needs, &[], [A, B].into_iter()));
        assert!(possible(&needs, &[A], [A, B].into_iter()));
    }
}
