//! Copies that wait in vain to be refilled: how many, for whom, since when, and what an operator can do about it.
//!
//! Keeps: as long as they wait, the log says so, ever more seldom. Deliberately absent: any way out. What was lost with
//! all who held it is gone, and only a person can say that this is so.

use super::peers::Known;
use super::switchboard::Switchboard;
use anser_model::NodeId;
use anser_proto::gossip::PeerState;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two words on it, doubled each time up to the longest.
const SAY_AGAIN: Duration = Duration::from_secs(60);
const SAY_AGAIN_MAX: Duration = Duration::from_secs(3600);

/// Whom copies of this node wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    /// How many partitions wait.
    partitions: usize,
    /// Since when.
    since: Instant,
    members: Vec<AwaitedMember>,
}

/// A member that has not given its copies for long.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AwaitedMember {
    name: String,
    partitions: usize,
    state: PeerState,
}

impl Awaited {
    /// What is known of it; none if no copy waits.
    pub(super) fn of(known: &Known) -> Option<Awaited> {
        let since = known.waiting_since?;
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let mut by_node: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (node, partitions) in known.copies.values().flat_map(|copies| &copies.awaited) {
            *by_node.entry(*node).or_default() += count(*partitions);
        }
        let member = |(node, partitions)| AwaitedMember {
            name: known.name_of(&node),
            partitions,
            state: known.peers.get(&node).map_or(PeerState::Dead, |peer| peer.state),
        };
        let members = by_node.into_iter().map(member).collect();
        let partitions = known.copies.values().map(|copies| count(copies.waiting)).sum();
        Some(Awaited { partitions, since, members })
    }

    /// How many partitions wait, and for whom, in words.
    pub(super) fn words(&self) -> String {
        let member = |member: &AwaitedMember| match member.state {
            PeerState::Alive => {
                format!(
                    "{} (it is up and does not give its copies: it lost them too, or its store stopped)",
                    member.name
                )
            }
            PeerState::Suspect | PeerState::Dead => format!("{} (it seems down)", member.name),
        };
        let members: Vec<String> = self.members.iter().map(member).collect();
        let seconds = self.since.elapsed().as_secs();
        format!(
            "{} partitions have waited for {seconds} s or more for {}",
            self.partitions,
            members.join(" and ")
        )
    }

    /// The same as a document.
    pub(super) fn document(&self) -> Value {
        let member = |member: &AwaitedMember| {
            let state = member.state.name();
            (member.name.clone(), json!({ "partitions": member.partitions, "state": state }))
        };
        let members: serde_json::Map<String, Value> = self.members.iter().map(member).collect();
        json!({ "partitions": self.partitions, "seconds": self.since.elapsed().as_secs(), "for": members })
    }
}

/// When it is to be said again.
#[derive(Debug, Default)]
struct Saying {
    /// Of which wait it was said, how long after its beginning it is due again.
    said: Option<(Instant, Duration)>,
}

impl Saying {
    /// Whether to say it now of a wait that began then.
    fn is_due(&mut self, since: Instant, now: Instant) -> bool {
        let waited = now.duration_since(since);
        match self.said {
            Some((said, due)) if said == since && waited < due => false,
            Some((said, due)) if said == since => {
                self.said = Some((since, waited + due.min(SAY_AGAIN_MAX)));
                true
            }
            Some(_) | None => {
                self.said = Some((since, waited + SAY_AGAIN));
                true
            }
        }
    }
}

/// Watches for it until its task is ended.
pub(super) async fn watch(switchboard: Arc<Switchboard>) {
    let mut saying = Saying::default();
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        every.tick().await;
        let Some(awaited) = Awaited::of(&switchboard.peers().known()) else { continue };
        if saying.is_due(awaited.since, Instant::now()) {
            tracing::warn!(
                "copies can't be refilled, and answer nothing: {}. Start what is down. Members that lost the same \
                 partitions wait for each other without end: what only they held is gone",
                awaited.words()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_machine::{CopiesSummary, PeerView};

    const NODE: NodeId = NodeId([7; 16]);

    #[test]
    fn who_is_waited_for_is_named_with_how_it_seems() {
        let mut known = Known::default();
        assert_eq!(Awaited::of(&known), None);
        known.waiting_since = Some(Instant::now());
        for shard in 0..2 {
            let awaited = BTreeMap::from([(NODE, 4)]);
            known
                .copies
                .insert(shard, CopiesSummary { waiting: 5, awaited, ..CopiesSummary::default() }.into());
        }
        let awaited = Awaited::of(&known).unwrap();
        assert_eq!(awaited.words(), "10 partitions have waited for 0 s or more for 07070707 (it seems down)");
        let expected = json!({
            "partitions": 10, "seconds": 0, "for": { "07070707": { "partitions": 8, "state": "dead" } },
        });
        assert_eq!(awaited.document(), expected);
        let address = "127.0.0.1:1".parse().unwrap();
        let alive = PeerView { address, state: PeerState::Alive, incarnation: 1 };
        known.peers = Arc::new(BTreeMap::from([(NODE, alive)]));
        assert!(Awaited::of(&known).unwrap().words().ends_with("it lost them too, or its store stopped)"));
    }

    #[test]
    fn it_is_said_at_once_and_then_ever_more_seldom() {
        let since = Instant::now();
        let at = |seconds| since + Duration::from_secs(seconds);
        let mut saying = Saying::default();
        let said: Vec<u64> = (0..20_000).filter(|second| saying.is_due(since, at(*second))).collect();
        assert_eq!(said, [0, 60, 120, 240, 480, 960, 1920, 3840, 7440, 11040, 14640, 18240]);
        assert!(saying.is_due(at(20_000), at(20_000)), "another wait");
    }
}
