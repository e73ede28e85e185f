//! Which of a shard's copies may be trusted, as one durable cell: the seat of the ring that they fill, the partitions that
//! are being refilled, the groups whose tables are to go.
//!
//! Keeps: a partition whose tables may have been lost counts as lost before the first of them is dropped, and before a state
//! that was merged without them is in the log (the cell is saved by the same queue); one that was refilled counts as such
//! once that is durable. Deliberately absent: refilling itself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use anser_machine::Group;
use anser_model::{FolderId, PartitionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The format that this build writes and reads.
const FORMAT: u8 = 1;

/// The cell's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    seat: Option<FolderId>,
    joining: BTreeSet<PartitionId>,
    wiping: BTreeSet<Group>,
}

/// Bytes that are no such cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cell of copies that this build can't read")]
pub(crate) struct BadCopies;

/// How far the loss of a group's tables is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wipe {
    /// That they are void is being saved, by the save of this number.
    Marking(u64),
    /// That is durable: they may be dropped.
    Marked,
    /// They are being dropped.
    Dropping,
    /// They are gone. That too is being saved, so that newer ones are not dropped after a crash.
    Clearing(u64),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// The folder of the ring's record that these copies stand in for; none before there was a record.
    seat: Option<FolderId>,
    /// Those that answer nothing.
    joining: BTreeSet<PartitionId>,
    /// Those of them that are refilled, which is not durable yet; by the save that says so, 0 for none yet.
    finished: BTreeMap<PartitionId, u64>,
    wiping: BTreeMap<Group, Wipe>,
    /// Saves begun, and saves done: they are done in order.
    begun: u64,
    done: u64,
}

impl Copies {
    /// From the cell, at a start.
    pub fn restored(cell: Option<&[u8]>) -> Result<Copies, BadCopies> {
        let Some(cell) = cell else { return Ok(Copies::default()) };
        let (format, rest) = cell.split_first().ok_or(BadCopies)?;
        match postcard::take_from_bytes(rest) {
            Ok((Content { seat, joining, wiping }, [])) if *format == FORMAT => {
                let wiping = wiping.into_iter().map(|group| (group, Wipe::Marked)).collect();
                Ok(Copies { seat, joining, wiping, ..Copies::default() })
            }
            Ok(_) | Err(_) => Err(BadCopies),
        }
    }

    /// The ring's record gives these partitions to the node's folder `ring`; this one is `own`. If it is another, and stood
    /// not in for it before, nothing that was promised for it is here.
    pub fn fill(&mut self, own: FolderId, ring: FolderId, held: impl Iterator<Item = PartitionId>) {
        if self.seat == Some(ring) {
            return;
        }
        self.seat = Some(ring);
        if own != ring {
            self.joining.extend(held);
        }
    }

    /// Whether a partition's copy answers.
    pub fn serves(&self, partition: PartitionId) -> bool {
        !self.joining.contains(&partition)
    }

    /// The partitions that answer nothing.
    pub fn joining(&self) -> &BTreeSet<PartitionId> {
        &self.joining
    }

    /// Whether a partition is to be refilled.
    pub fn is_to_be_refilled(&self, partition: PartitionId) -> bool {
        self.joining.contains(&partition) && !self.finished.contains_key(&partition)
    }

    /// What a group's tables held is lost. The change is to be saved at once.
    pub fn lose(&mut self, group: Group, partitions: impl Iterator<Item = PartitionId>) {
        for partition in partitions {
            self.joining.insert(partition);
            self.finished.remove(&partition);
        }
        self.wiping.insert(group, Wipe::Marking(self.begun.saturating_add(1)));
    }

    /// Whether a group's tables are void: what is read of them, or added to them, is not to be looked at.
    pub fn is_void(&self, group: Group) -> bool {
        match self.wiping.get(&group) {
            Some(Wipe::Marking(_) | Wipe::Marked | Wipe::Dropping) => true,
            Some(Wipe::Clearing(_)) | None => false,
        }
    }

    /// The groups whose tables are void.
    pub fn void_groups(&self) -> Vec<Group> {
        self.wiping.keys().copied().filter(|group| self.is_void(*group)).collect()
    }

    /// Whether the loss of some tables is not over yet. Until then nothing is written into tables.
    pub fn is_wiping(&self) -> bool {
        !self.wiping.is_empty()
    }

    /// Whether the loss of this group's tables is not over yet.
    pub fn is_wiping_group(&self, group: Group) -> bool {
        self.wiping.contains_key(&group)
    }

    /// The groups whose tables are to be dropped now: asked once.
    pub fn begin_drops(&mut self) -> Vec<Group> {
        let mut groups = Vec::new();
        for (group, wipe) in &mut self.wiping {
            if *wipe == Wipe::Marked {
                *wipe = Wipe::Dropping;
                groups.push(*group);
            }
        }
        groups
    }

    /// A group's tables are gone. The change is to be saved.
    pub fn dropped(&mut self, group: Group) {
        if let Some(wipe) = self.wiping.get_mut(&group).filter(|wipe| **wipe == Wipe::Dropping) {
            *wipe = Wipe::Clearing(self.begun.saturating_add(1));
        }
    }

    /// A partition is refilled, durably; it counts as such with a save.
    pub fn finish(&mut self, partition: PartitionId) {
        if self.joining.contains(&partition) {
            self.finished.insert(partition, 0);
        }
    }

    /// Whether refilled partitions wait for a save, and none is on its way.
    pub fn is_save_due(&self) -> bool {
        self.begun == self.done && self.finished.values().any(|save| *save == 0)
    }

    /// Begins a save: the cell's new content.
    pub fn begin_save(&mut self) -> Bytes {
        self.begun = self.begun.saturating_add(1);
        let begun = self.begun;
        self.finished.values_mut().filter(|save| **save == 0).for_each(|save| *save = begun);
        let joining = self.joining.iter().filter(|partition| !self.finished.contains_key(partition));
        let content = Content {
            seat: self.seat,
            joining: joining.copied().collect(),
            wiping: self.void_groups().into_iter().collect(),
        };
        // Plain values can't fail to be written to memory; an empty cell would be noticed when it is read.
        postcard::to_extend(&content, Vec::from([FORMAT])).unwrap_or_default().into()
    }

    /// A save is done. Whether more partitions answer than before.
    pub fn saved(&mut self) -> bool {
        self.done = self.done.saturating_add(1);
        let done = self.done;
        let durable = |save: u64| save != 0 && save <= done;
        let before = self.joining.len();
        let finished = &self.finished;
        self.joining.retain(|partition| !finished.get(partition).is_some_and(|save| durable(*save)));
        self.finished.retain(|_, save| !durable(*save));
        for wipe in self.wiping.values_mut() {
            if let Wipe::Marking(save) = *wipe
                && durable(save)
            {
                *wipe = Wipe::Marked;
            }
        }
        self.wiping.retain(|_, wipe| !matches!(*wipe, Wipe::Clearing(save) if durable(save)));
        self.joining.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: FolderId = FolderId([1; 16]);
    const FORMER: FolderId = FolderId([2; 16]);

    fn partitions(numbers: &[u16]) -> impl Iterator<Item = PartitionId> {
        numbers.iter().copied().map(PartitionId)
    }

    fn joining(copies: &Copies) -> Vec<u16> {
        copies.joining().iter().map(|partition| partition.0).collect()
    }

    #[test]
    fn the_cell_has_its_golden_bytes_and_comes_back() {
        let mut copies = Copies::default();
        copies.fill(OWN, FORMER, partitions(&[3, 300]));
        copies.lose(1, partitions(&[17]));
        let cell = copies.begin_save();
        let golden = [&[1, 1][..], &[2; 16], &[3, 3, 17, 0xac, 2, 1, 1]].concat();
        assert_eq!(cell, golden);
        let mut restored = Copies::restored(Some(&cell)).unwrap();
        assert_eq!((joining(&restored), restored.begin_drops()), (vec![3, 17, 300], vec![1]));
        assert!(restored.begin_drops().is_empty(), "once");
        for bad in [&b""[..], b"\x02\x00\x00\x00", b"\x01\x00\x00", b"\x01\x00\x00\x00\x00"] {
            assert!(Copies::restored(Some(bad)).is_err(), "{bad:?}");
        }
        assert_eq!(joining(&Copies::restored(None).unwrap()), []);
    }

    #[test]
    fn a_folder_that_is_not_the_rings_holds_nothing_that_was_promised() {
        let held = || partitions(&[0, 2]);
        let mut copies = Copies::default();
        copies.fill(OWN, OWN, held());
        assert!(copies.serves(PartitionId(0)));
        copies.fill(OWN, FORMER, held());
        assert_eq!(joining(&copies), [0, 2]);
        copies.finish(PartitionId(0));
        assert_eq!(joining(&copies), [0, 2], "not durable yet");
        let cell = copies.begin_save();
        assert!(copies.saved());
        assert_eq!(joining(&copies), [2]);
        let mut restored = Copies::restored(Some(&cell)).unwrap();
        restored.fill(OWN, FORMER, held());
        assert_eq!(joining(&restored), [2]);
    }

    #[test]
    fn what_is_refilled_while_another_is_saved_waits_for_its_own_save() {
        let mut copies = Copies::default();
        copies.fill(OWN, FORMER, partitions(&[0, 1]));
        copies.finish(PartitionId(0));
        copies.begin_save();
        copies.finish(PartitionId(1));
        assert!(copies.saved() && copies.is_save_due());
        assert_eq!(joining(&copies), [1]);
        copies.begin_save();
        assert!(copies.saved() && !copies.is_save_due());
        assert_eq!(joining(&copies), []);
    }

    #[test]
    fn what_is_lost_while_it_is_saved_as_refilled_is_lost() {
        let mut copies = Copies::default();
        copies.fill(OWN, FORMER, partitions(&[0, 1]));
        copies.finish(PartitionId(0));
        assert!(copies.is_save_due());
        copies.begin_save();
        assert!(!copies.is_save_due());
        copies.lose(0, partitions(&[0]));
        let cell = copies.begin_save();
        copies.finish(PartitionId(1));
        assert!(!copies.saved());
        assert_eq!(
            (joining(&copies), copies.begin_drops()),
            (vec![0, 1], vec![]),
            "that it is lost is not durable"
        );
        copies.saved();
        assert_eq!((copies.begin_drops(), joining(&copies)), (vec![0], vec![0, 1]));
        assert_eq!(joining(&Copies::restored(Some(&cell)).unwrap()), [0, 1]);
    }

    #[test]
    fn tables_are_dropped_between_two_saves() {
        let mut copies = Copies::default();
        copies.lose(4, partitions(&[64]));
        assert!(copies.is_void(4) && copies.begin_drops().is_empty());
        copies.begin_save();
        copies.saved();
        assert_eq!(copies.begin_drops(), [4]);
        assert!(copies.is_void(4) && copies.is_wiping());
        copies.dropped(4);
        assert!(!copies.is_void(4) && copies.is_wiping(), "a crash now would drop what is written now");
        copies.begin_save();
        copies.saved();
        assert!(!copies.is_wiping());
        assert_eq!(joining(&copies), [64]);
    }
}
