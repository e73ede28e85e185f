//! A merge of tables under way: small parts of it, with rests between them as long as the compactor wants the disk to have
//! for other things.

use super::background::Background;
use super::port::Origin;
use super::tables::listed;
use super::works::Works;
use anser_machine::{Feedback, Group, TableId};
use anser_storage::compaction::Merge;
use anser_storage::store::{Part, StoreError, TreeName, Trees as _};
use std::time::{Duration, Instant};

/// Bytes of entries that are merged in one part.
const PART_BYTES: usize = 256 << 10;
/// Bytes that are written between two syncs: what a merge leaves to one sync delays the commits on the same disk.
const SYNC_BYTES: usize = 4 << 20;
/// The longest rest.
const REST_MAX: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct Merging {
    origin: Origin,
    shard: u32,
    merge: Merge,
    duty: u8,
    /// Bytes since the last sync.
    unsynced: usize,
    /// When the next part is due.
    due: Instant,
}

impl Merging {
    /// Begins a merge, if none is under way and its tables are there.
    pub fn begin(
        under_way: &mut Option<Merging>,
        works: &Works,
        origin: Origin,
        shard: u32,
        inputs: &[TableId],
        duty: u8,
    ) -> Result<(), StoreError> {
        let manifest = works.manifest().clone();
        let merge = match under_way {
            None => Merge::begin(&Background::of(&works.trees), &manifest, shard, inputs),
            Some(_) => Ok(None),
        };
        let merge = match merge {
            Err(StoreError::Damaged(what)) => {
                tracing::error!("{what}");
                let group = manifest.tables_of(shard).find(|entry| inputs.contains(&TableId(entry.id)));
                if let Some(entry) = group {
                    works.port.tell_shard(shard, Feedback::GroupDamaged { group: entry.group });
                }
                None
            }
            begun => begun?,
        };
        match merge {
            Some(merge) => {
                let due = Instant::now();
                *under_way = Some(Merging { origin, shard, merge, duty, unsynced: 0, due });
            }
            None => works.port.feed(origin, vec![Feedback::Merged { shard, bytes: 0 }]),
        }
        Ok(())
    }

    /// For how long it rests.
    pub fn rests_for(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// The next part, if it is time for it.
    pub fn go_on_if_due(under_way: &mut Option<Merging>, works: &Works) -> Result<(), StoreError> {
        let rests = under_way.as_ref().is_some_and(|merging| !merging.rests_for().is_zero());
        if rests { Ok(()) } else { Merging::go_on(under_way, works) }
    }

    /// The next part of the merge under way; with the last one, its tables count.
    pub fn go_on(under_way: &mut Option<Merging>, works: &Works) -> Result<(), StoreError> {
        let Some(mut merging) = under_way.take() else { return Ok(()) };
        let began = Instant::now();
        match merging.merge.step(&Background::of(&works.trees), PART_BYTES, &mut || works.next_table()) {
            Ok(true) => return merging.install(works),
            Ok(false) => {}
            Err(StoreError::Damaged(what)) => {
                tracing::error!("{what}");
                let (shard, group) = (merging.shard, merging.merge.group());
                works.port.tell_shard(shard, Feedback::GroupDamaged { group });
                return merging.give_up(works);
            }
            Err(failed @ StoreError::Failed(_)) => return Err(failed),
        }
        merging.unsynced += PART_BYTES;
        if merging.unsynced >= SYNC_BYTES {
            merging.unsynced = 0;
            works.trees.sync_part(Part::Tables)?;
        }
        let took = began.elapsed();
        let duty = u32::from(merging.duty.clamp(1, 100));
        merging.due = Instant::now() + (took * (100 - duty) / duty).min(REST_MAX);
        *under_way = Some(merging);
        Ok(())
    }

    /// The merge's share of the time beside a job that took so long: with job after job it would never come to an end, and
    /// there would be more and more tables.
    pub fn take_share(
        under_way: &mut Option<Merging>,
        works: &Works,
        took: Duration,
    ) -> Result<(), StoreError> {
        let began = Instant::now();
        while let Some(merging) = under_way
            && began.elapsed() < took * u32::from(merging.duty) / 100
        {
            Merging::go_on(under_way, works)?;
        }
        Ok(())
    }

    /// Whether it merges tables of this group.
    pub fn is_of(&self, shard: u32, group: Group) -> bool {
        self.merge.is_of(shard, group)
    }

    /// Ends without having changed anything.
    pub fn give_up(self, works: &Works) -> Result<(), StoreError> {
        for table in self.merge.written() {
            works.trees.drop_tree(TreeName::Table(table))?;
        }
        works.port.feed(self.origin, vec![Feedback::Merged { shard: self.shard, bytes: 0 }]);
        Ok(())
    }

    fn install(self, works: &Works) -> Result<(), StoreError> {
        works.trees.sync_part(Part::Tables)?;
        let merged = self.merge.finish();
        let (bytes, removed) = (merged.bytes(), merged.removed);
        let (entries, added) = listed(merged.added);
        works.change_manifest(|manifest| manifest.replace(&removed, entries))?;
        works.tables_added(&added);
        // The shard hears of it before the tables go, so that it knows what to do when it finds one gone.
        works.port.tell_shard(self.shard, Feedback::TablesReplaced { removed: removed.clone(), added });
        works.drop_tables(&removed)?;
        works.measure();
        works.port.feed(self.origin, vec![Feedback::Merged { shard: self.shard, bytes }]);
        Ok(())
    }
}
