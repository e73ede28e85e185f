//! What replicas answered to a read, and whether it is enough. Plain decisions.
//!
//! Keeps I-8: what is shown is merged from answers that meet the level on their own, each a whole state or a digest equal to
//! that of one.

use alloc::vec::Vec;
use anser_model::state::BadState;
use anser_model::{KeyState, Need, NodeId, Round};

/// One replica's answer.
#[derive(Debug)]
struct Answer {
    node: NodeId,
    digest: u64,
    full: Option<KeyState>,
    round: Round,
}

/// What to do about the answers so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadChoice {
    /// Wait for more.
    Wait,
    /// Enough answered, but their states differ or none is known: these are to send theirs whole.
    FetchFull(Vec<NodeId>),
    /// Enough is known.
    Finish,
}

/// The answers of one read; one a replica.
#[derive(Debug, Default)]
pub(crate) struct Answers(Vec<Answer>);

/// All that the answers know of the key.
#[derive(Debug)]
pub(crate) struct Merged {
    pub state: KeyState,
    pub digest: u64,
    /// The lowest round that any of it was read in: what is written back must not claim a later one.
    pub round: Round,
}

impl Answers {
    /// Takes a digest; it does not replace a whole state.
    pub fn add_digest(&mut self, node: NodeId, digest: u64, round: Round) {
        match self.find(&node) {
            Some(answer) if answer.full.is_none() => (answer.digest, answer.round) = (digest, round),
            Some(_) => {}
            None => self.0.push(Answer { node, digest, full: None, round }),
        }
    }

    /// Takes a whole state, encoded.
    pub fn add_full(&mut self, node: NodeId, state: &[u8], round: Round) -> Result<(), BadState> {
        let state = KeyState::decode(state)?;
        let answer = Answer { node, digest: state.digest(), full: Some(state), round };
        match self.find(&node) {
            Some(known) => *known = answer,
            None => self.0.push(answer),
        }
        Ok(())
    }

    /// A replica's answer counts no more.
    pub fn remove(&mut self, node: &NodeId) {
        self.0.retain(|answer| answer.node != *node);
    }

    /// How many answered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether any state is known.
    pub fn has_full(&self) -> bool {
        self.0.iter().any(|answer| answer.full.is_some())
    }

    /// Whether they are enough.
    pub fn choose(&self, need: &Need) -> ReadChoice {
        let known =
            |digest: u64| self.0.iter().any(|answer| answer.full.is_some() && answer.digest == digest);
        let (covered, others): (Vec<&Answer>, Vec<&Answer>) =
            self.0.iter().partition(|answer| answer.full.is_some() || known(answer.digest));
        let mut nodes: Vec<NodeId> = covered.iter().map(|answer| answer.node).collect();
        if need.met_by(&nodes) {
            return ReadChoice::Finish;
        }
        nodes.extend(others.iter().map(|answer| answer.node));
        if !need.met_by(&nodes) {
            return ReadChoice::Wait;
        }
        ReadChoice::FetchFull(others.iter().map(|answer| answer.node).collect())
    }

    /// Merges what they know. None if no state is known.
    pub fn merge(&mut self) -> Option<Merged> {
        let round = self.0.iter().filter(|answer| answer.full.is_some()).map(|answer| answer.round).min()?;
        let mut fulls = self.0.iter_mut().filter_map(|answer| Some((answer.digest, answer.full.take()?)));
        let (mut digest, mut state) = fulls.next()?;
        for (_, other) in fulls {
            if state.merge(&other).changed {
                digest = state.digest();
            }
        }
        Some(Merged { state, digest, round })
    }

    /// Those whose state has this digest, or (`false`) another.
    pub fn with_digest(&self, digest: u64, equal: bool) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().filter(move |answer| (answer.digest == digest) == equal).map(|answer| answer.node)
    }

    fn find(&mut self, node: &NodeId) -> Option<&mut Answer> {
        self.0.iter_mut().find(|answer| answer.node == *node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_model::level::Site;
    use anser_model::ring::DcName;
    use anser_model::state::{Seen, Write};
    use anser_model::{Actor, Body, Hlc, Level, Life, Rid};
    use bytes::Bytes;

    fn node(n: u8) -> NodeId {
        NodeId([n; 16])
    }

    fn sites(dcs: &[(&str, &[u8])]) -> Vec<Site> {
        let dc = |name: &str| DcName::new(name).unwrap();
        dcs.iter()
            .flat_map(|(name, nodes)| nodes.iter().map(|n| Site { node: node(*n), dc: dc(name) }))
            .collect()
    }

    fn need(level: Level) -> Need {
        level.need(&sites(&[("dc1", &[1, 2, 3])]), &DcName::new("dc1").unwrap()).unwrap()
    }

    fn state(writer: u8, value: &'static str) -> KeyState {
        let mut state = KeyState::default();
        let write = Write {
            rid: Rid { writer: u128::from(writer), seq: 1 },
            issued: Hlc::from_ms(1),
            expires: None,
            body: Body::Value(Bytes::from_static(value.as_bytes())),
            seen: Seen::Present,
        };
        state.mint(Actor { node: node(writer), life: Life(1) }, 1, &write).unwrap();
        state
    }

    #[test]
    fn equal_digests_finish_and_others_are_fetched() {
        let (old, new) = (state(1, "old"), state(2, "new"));
        let mut answers = Answers::default();
        answers.add_digest(node(2), old.digest(), Round(0));
        assert_eq!(answers.choose(&need(Level::Quorum)), ReadChoice::Wait);
        answers.add_full(node(1), &old.encode(), Round(0)).unwrap();
        assert_eq!(answers.choose(&need(Level::Quorum)), ReadChoice::Finish);

        let mut answers = Answers::default();
        answers.add_full(node(1), &old.encode(), Round(2)).unwrap();
        answers.add_digest(node(2), new.digest(), Round(1));
        assert_eq!(answers.choose(&need(Level::Quorum)), ReadChoice::FetchFull(vec![node(2)]));
        answers.add_full(node(2), &new.encode(), Round(1)).unwrap();
        answers.add_digest(node(2), old.digest(), Round(1));
        assert_eq!(answers.choose(&need(Level::Quorum)), ReadChoice::Finish);
        let merged = answers.merge().unwrap();
        assert_eq!((merged.state.shown(0).count(), merged.round), (2, Round(1)));
        assert_eq!(answers.with_digest(merged.digest, false).collect::<Vec<_>>(), [node(1), node(2)]);
        assert!(answers.merge().is_none());
    }

    #[test]
    fn digests_alone_are_never_enough() {
        let mut answers = Answers::default();
        answers.add_digest(node(1), 7, Round(0));
        answers.add_digest(node(2), 7, Round(0));
        assert_eq!(answers.choose(&need(Level::Quorum)), ReadChoice::FetchFull(vec![node(1), node(2)]));
        assert!(answers.add_full(node(1), b"rubbish", Round(0)).is_err());
        assert_eq!((answers.len(), answers.has_full()), (2, false));
        answers.remove(&node(2));
        assert_eq!(answers.choose(&need(Level::Quorum)), ReadChoice::Wait);
    }
}
