//! Quorum arithmetic: what a consistency level needs of a key's replicas, and whether it has it.
//!
//! A level counts the key's own replicas. It is taken on each active placement on its own: members of one never stand
//! in for members of the other.

use crate::id::NodeId;
use crate::ring::DcName;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// A consistency level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Level {
    /// That many replicas, at least 1 (`one`, `two`, `three`, or a plain number by `--w` and `--r`).
    Count(u8),
    /// A majority of all replicas.
    Quorum,
    /// Every replica.
    All,
    /// One replica of the coordinator's data centre.
    LocalOne,
    /// A majority of the replicas of the coordinator's data centre.
    LocalQuorum,
    /// A majority in every data centre that has replicas.
    EachQuorum,
}

/// A text that names no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such consistency level; there are one, two, three, quorum, all, local_one, local_quorum, each_quorum"
)]
pub struct BadLevel;

/// A level that these replicas can never meet. Nothing was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmeetable {
    /// More replicas asked for than there are (or zero).
    #[error("{asked} replicas were asked for; the keyspace has {there}")]
    Count {
        /// Asked for.
        asked: usize,
        /// Replicas of the key.
        there: usize,
    },
    /// A local level in a data centre that holds no replica of the key.
    #[error("the coordinator's data centre holds no replica of this keyspace")]
    NoneLocal,
}

/// A replica, as quorums see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The replica's node.
    pub node: NodeId,
    /// Where it is.
    pub dc: DcName,
}

/// What a level needs of one placement's replicas: so many of each group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    groups: Vec<(Vec<NodeId>, usize)>,
}

impl Level {
    /// What the level needs of these replicas, asked from data centre `local`.
    pub fn need(self, replicas: &[Site], local: &DcName) -> Result<Need, Unmeetable> {
        let all = || nodes(replicas.iter());
        let group = match self {
            Level::Count(count) => {
                let (all, asked) = (all(), usize::from(count));
                if asked == 0 || asked > all.len() {
                    return Err(Unmeetable::Count { asked, there: all.len() });
                }
                (all, asked)
            }
            Level::Quorum => majority(all()),
            Level::All => {
                let all = all();
                let count = all.len();
                (all, count)
            }
            Level::LocalOne => (of_dc(replicas, local), 1),
            Level::LocalQuorum => majority(of_dc(replicas, local)),
            Level::EachQuorum => return each_quorum(replicas),
        };
        match (self, group.0.is_empty()) {
            (_, false) => Ok(Need { groups: alloc::vec![group] }),
            (Level::LocalOne | Level::LocalQuorum, true) => Err(Unmeetable::NoneLocal),
            (Level::Count(_) | Level::Quorum | Level::All | Level::EachQuorum, true) => Err(NONE_THERE),
        }
    }
}

/// A named level over no replica at all.
const NONE_THERE: Unmeetable = Unmeetable::Count { asked: 1, there: 0 };

fn each_quorum(replicas: &[Site]) -> Result<Need, Unmeetable> {
    let mut dcs: Vec<&DcName> = replicas.iter().map(|site| &site.dc).collect();
    dcs.sort_unstable();
    dcs.dedup();
    match dcs.is_empty() {
        true => Err(NONE_THERE),
        false => Ok(Need { groups: dcs.into_iter().map(|dc| majority(of_dc(replicas, dc))).collect() }),
    }
}

fn of_dc(replicas: &[Site], dc: &DcName) -> Vec<NodeId> {
    nodes(replicas.iter().filter(|site| site.dc == *dc))
}

/// The nodes of some replicas, each once.
fn nodes<'a>(sites: impl Iterator<Item = &'a Site>) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = sites.map(|site| site.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

fn majority(group: Vec<NodeId>) -> (Vec<NodeId>, usize) {
    let count = group.len() / 2 + 1;
    (group, count)
}

impl Need {
    /// Whether these nodes' answers are enough. Each counts once, strangers not at all.
    pub fn met_by(&self, answered: &[NodeId]) -> bool {
        self.groups
            .iter()
            .all(|(group, count)| group.iter().filter(|node| answered.contains(node)).count() >= *count)
    }

    /// Whether it can still be met if these nodes never answer.
    pub fn possible_without(&self, silent: &[NodeId]) -> bool {
        self.groups
            .iter()
            .all(|(group, count)| group.iter().filter(|node| !silent.contains(node)).count() >= *count)
    }

    /// How many answers it takes in all.
    pub fn total(&self) -> usize {
        self.groups.iter().map(|(_, count)| count).sum()
    }
}

impl FromStr for Level {
    type Err = BadLevel;

    fn from_str(text: &str) -> Result<Level, BadLevel> {
        match text {
            "one" => Ok(Level::Count(1)),
            "two" => Ok(Level::Count(2)),
            "three" => Ok(Level::Count(3)),
            "quorum" => Ok(Level::Quorum),
            "all" => Ok(Level::All),
            "local_one" => Ok(Level::LocalOne),
            "local_quorum" => Ok(Level::LocalQuorum),
            "each_quorum" => Ok(Level::EachQuorum),
            number => {
                let plain = !number.starts_with(['0', '+']);
                number.parse().ok().filter(|_| plain).map(Level::Count).ok_or(BadLevel)
            }
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Count(1) => "one",
            Level::Count(2) => "two",
            Level::Count(3) => "three",
            Level::Count(count) => return write!(f, "{count}"),
            Level::Quorum => "quorum",
            Level::All => "all",
            Level::LocalOne => "local_one",
            Level::LocalQuorum => "local_quorum",
            Level::EachQuorum => "each_quorum",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn dc(name: &str) -> DcName {
        DcName::new(name).unwrap()
    }

    /// Nodes 1, 2, … in the data centres that the letters name.
    fn sites(dcs: &str) -> Vec<Site> {
        let site = |(node, name): (u8, char)| Site { node: NodeId([node; 16]), dc: dc(&name.to_string()) };
        (1..).zip(dcs.chars()).map(site).collect()
    }

    fn ids(nodes: &[u8]) -> Vec<NodeId> {
        nodes.iter().map(|node| NodeId([*node; 16])).collect()
    }

    #[test]
    fn each_level_is_met_by_just_enough() {
        use Level::{All, Count, EachQuorum, LocalOne, LocalQuorum, Quorum};
        let enough: &[(Level, &str, &[u8], &[u8])] = &[
            (Count(1), "aaa", &[2], &[]),
            (Count(2), "aaa", &[1, 3], &[3, 3]),
            (Count(3), "aaabbb", &[1, 5, 6], &[1, 5]),
            (Quorum, "a", &[1], &[]),
            (Quorum, "aa", &[1, 2], &[1]),
            (Quorum, "aaa", &[1, 2], &[2, 9, 9]),
            (Quorum, "aaaa", &[1, 2, 3], &[1, 2]),
            (Quorum, "aaabbb", &[1, 2, 4, 5], &[1, 2, 3]),
            (All, "aab", &[1, 2, 3], &[1, 2]),
            (LocalOne, "aabb", &[2], &[3, 4]),
            (LocalQuorum, "aaabbb", &[1, 3], &[1, 4, 5, 6]),
            (EachQuorum, "aaabbb", &[1, 2, 4, 6], &[1, 2, 3, 6]),
            (EachQuorum, "aaab", &[1, 2, 4], &[1, 2, 3]),
        ];
        for (level, dcs, met, unmet) in enough {
            let need = level.need(&sites(dcs), &dc("a")).unwrap();
            assert!(need.met_by(&ids(met)), "{level} of {dcs} by {met:?}");
            assert!(!need.met_by(&ids(unmet)), "{level} of {dcs} by {unmet:?}");
            assert_eq!(need.total(), met.len(), "{level} of {dcs}");
            let all: Vec<u8> = (1..).take(dcs.len()).collect();
            let but =
                |nodes: &[u8]| -> Vec<u8> { all.iter().copied().filter(|n| !nodes.contains(n)).collect() };
            assert!(need.possible_without(&ids(&but(met))), "{level} of {dcs}");
            assert!(!need.possible_without(&ids(&but(unmet))), "{level} of {dcs}");
        }
    }

    #[test]
    fn a_level_that_can_never_be_met_is_refused() {
        let refused = |level: Level, dcs, local| level.need(&sites(dcs), &dc(local)).unwrap_err();
        assert_eq!(refused(Level::Count(4), "aab", "a"), Unmeetable::Count { asked: 4, there: 3 });
        assert_eq!(refused(Level::Count(0), "aab", "a"), Unmeetable::Count { asked: 0, there: 3 });
        assert_eq!(refused(Level::LocalOne, "aab", "c"), Unmeetable::NoneLocal);
        assert_eq!(refused(Level::LocalQuorum, "", "a"), Unmeetable::NoneLocal);
        for level in [Level::Count(1), Level::Quorum, Level::All, Level::EachQuorum] {
            assert_eq!(refused(level, "", "a"), NONE_THERE);
        }
    }

    #[test]
    fn names_read_back() {
        let names = "one two three quorum all local_one local_quorum each_quorum 4 255";
        for name in names.split(' ') {
            assert_eq!(name.parse::<Level>().unwrap().to_string(), name);
        }
        assert_eq!("3".parse(), Ok(Level::Count(3)));
        for name in ["", "0", "-1", "+1", "01", "256", "Quorum", "local", "any", " one"] {
            assert_eq!(name.parse::<Level>(), Err(BadLevel), "{name:?}");
        }
    }
}
