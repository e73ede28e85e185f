//! Of whom a lost copy is refilled, and when it holds all that it had promised. Plain decisions.
//!
//! Keeps: of every write that a majority acknowledged, of all replicas or of those of this data centre, at least one of the
//! copies read has it, if this copy was among that majority. Such a write is on `n/2` others; so many less one may be left
//! out. For fewer acknowledgements than a majority nothing is promised: they may all have been this copy's.

use alloc::collections::BTreeSet;
use anser_model::NodeId;
use anser_model::level::Site;

/// How it stands with the replicas of a partition whose copy at this node is refilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// More of them must be read.
    Short,
    /// Enough of them were read. The others may still be needed, as long as an operation is under way that counts on the lost
    /// copy: its state may be on its way to one that was read.
    Enough,
    /// All others were read.
    All,
}

/// Whether a partition has no other replica.
pub(crate) fn is_alone(sites: &[Site]) -> bool {
    sites.len() < 2
}

/// How many of so many replicas must be read, if one of them is lost, to meet every majority that it was in.
fn needed(replicas: usize) -> usize {
    replicas - replicas / 2
}

/// How it stands once these were read, for the copy of `me`.
pub(crate) fn standing(sites: &[Site], me: &NodeId, read: &BTreeSet<NodeId>) -> Standing {
    let Some(own) = sites.iter().find(|site| site.node == *me) else { return Standing::All };
    let others = || sites.iter().filter(|site| site.node != *me);
    let was_read = |site: &&Site| read.contains(&site.node);
    if !is_alone(sites) && others().all(|site| was_read(&site)) {
        return Standing::All;
    }
    let near = || others().filter(|site| site.dc == own.dc);
    // A data centre's only replica has nobody near to ask: what it alone acknowledged is lost.
    let needed_near = needed(near().count() + 1).min(near().count());
    let enough = others().filter(was_read).count() >= needed(sites.len());
    if enough && near().filter(was_read).count() >= needed_near { Standing::Enough } else { Standing::Short }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use anser_model::ring::DcName;

    /// The replicas, the first of them lost, by data centre.
    fn judged(dcs: &[u8], read: &[u8]) -> Standing {
        let node = |number: usize| NodeId([u8::try_from(number).unwrap(); 16]);
        let site = |(number, dc): (usize, &u8)| Site {
            node: node(number),
            dc: DcName::new(alloc::format!("dc{dc}")).unwrap(),
        };
        let sites: Vec<Site> = dcs.iter().enumerate().map(site).collect();
        standing(&sites, &node(0), &read.iter().map(|number| node(usize::from(*number))).collect())
    }

    #[test]
    fn copies_are_refilled_from_all_majorities() {
        use Standing::{All, Enough, Short};
        let table: [(&[u8], &[u8], Standing); 14] = [
            (&[1], &[], Short),
            (&[1, 1], &[], Short),
            (&[1, 1], &[1], All),
            (&[1, 1, 1], &[1], Short),
            (&[1, 1, 1], &[1, 2], All),
            (&[1, 1, 1, 1], &[3], Short),
            (&[1, 1, 1, 1], &[3, 1], Enough),
            (&[1; 5], &[1, 2], Short),
            (&[1; 5], &[1, 2, 4], Enough),
            (&[1; 5], &[1, 2, 3, 4], All),
            (&[1, 1, 1, 2, 2, 2], &[3, 4, 5], Short),
            (&[1, 1, 1, 2, 2, 2], &[1, 4, 5], Short),
            (&[1, 1, 1, 2, 2, 2], &[1, 2, 5], Enough),
            (&[1, 2, 2], &[1, 2], All),
        ];
        for (dcs, read, expected) in table {
            assert_eq!(judged(dcs, read), expected, "{dcs:?} {read:?}");
        }
    }

    #[test]
    fn every_majority_with_the_lost_copy_in_it_is_met() {
        for replicas in 2..=9_usize {
            let others = replicas - 1;
            let acked = replicas / 2;
            // The worst case: all that were not read had it.
            assert!(acked + needed(replicas) > others, "{replicas}");
            assert!(acked + needed(replicas) - 1 <= others, "{replicas}: one fewer would not do");
        }
    }
}
