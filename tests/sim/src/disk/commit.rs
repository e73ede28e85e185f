//! Groups of requests that become durable together, and the log's segments that they are written to.

use super::{Disk, Origin, Outcome, Turn, cell_of, shard_of, tables::TableJob};
use anser_machine::{DiskRequest, Feedback, Lsn};
use anser_storage::store::cell::Stale;
use anser_storage::store::{Manifest, Part, StoreError, TreeName, Trees, log};
use std::collections::BTreeMap;

/// Most requests of one group.
const GROUP_MAX: usize = 256;

/// What becomes durable together.
#[derive(Debug, Default)]
pub(super) struct Group {
    content: Vec<u8>,
    last: BTreeMap<u32, Lsn>,
    durable: BTreeMap<Origin, Lsn>,
    answers: Vec<(Origin, Feedback)>,
    saves: bool,
    stale: Vec<Stale>,
    recovers: Vec<Origin>,
}

impl Disk {
    /// Writes what waits as one group, if the disk is free; its sync takes a while.
    pub(super) fn begin_group(&mut self, outcome: &mut Outcome) -> Result<(), StoreError> {
        if self.group.is_some() || self.waiting.is_empty() {
            return Ok(());
        }
        let mut group = Group::default();
        for _ in 0..self.waiting.len().min(GROUP_MAX) {
            let Some((origin, request)) = self.waiting.pop_front() else { break };
            self.add(&mut group, origin, request)?;
        }
        if group.saves && group.content.is_empty() {
            log::put_mark(&mut group.content);
        }
        if !group.content.is_empty() {
            self.write(&group)?;
        }
        self.group = Some(group);
        outcome.turns.push((self.sync_us(), Turn::Commit));
        Ok(())
    }

    fn add(&mut self, group: &mut Group, origin: Origin, request: DiskRequest) -> Result<(), StoreError> {
        match request {
            DiskRequest::Append(record) => {
                let shard = shard_of(origin);
                log::put_entry(&mut group.content, shard, record.lsn, &record.bytes);
                let last = group.last.entry(shard).or_default();
                *last = record.lsn.max(*last);
                group.durable.insert(origin, record.lsn);
            }
            DiskRequest::Save { slot, bytes } => {
                group.stale.push(cell_of(origin, slot).write(&self.trees, &bytes)?);
                group.saves = true;
                group.answers.push((origin, Feedback::Saved { slot }));
            }
            DiskRequest::Load { slot } => {
                let bytes = cell_of(origin, slot).read(&self.trees)?;
                if let Some(written) = self.trees.as_written() {
                    let fine = cell_of(origin, slot).read(&written) == Ok(bytes.clone());
                    self.took(fine, || format!("slot {slot:?}"));
                }
                group.answers.push((origin, Feedback::Loaded { slot, bytes }));
            }
            DiskRequest::Recover => group.recovers.push(origin),
            DiskRequest::Fetch { .. }
            | DiskRequest::Flush { .. }
            | DiskRequest::Wipe { .. }
            | DiskRequest::Merge { .. } => {
                unreachable!("not of the commit queue")
            }
        }
        Ok(())
    }

    fn write(&mut self, group: &Group) -> Result<(), StoreError> {
        let mut tail = match self.tail.take() {
            Some(tail) if !tail.is_full() => tail,
            before => log::Tail::new(self.next_segment(before)?),
        };
        let bytes = tail.append(&self.trees, &group.content)?;
        let known = self.segments.entry(tail.segment());
        self.tail = Some(tail);
        known.bytes += bytes;
        for (shard, lsn) in &group.last {
            let last = known.last.entry(*shard).or_default();
            *last = (*last).max(*lsn);
        }
        Ok(())
    }

    fn next_segment(&mut self, before: Option<log::Tail>) -> Result<u64, StoreError> {
        let segment = self.manifest.next_segment;
        log::begin(&self.trees, segment)?;
        self.trees.sync_part(Part::Log)?;
        self.change_manifest(|manifest| {
            manifest.next_segment = segment + 1;
            manifest.segments.push(segment);
        })?;
        self.segments.entry(segment);
        if let Some(before) = before {
            self.segments.entry(before.segment()).sealed = true;
        }
        Ok(segment)
    }

    pub(super) fn change_manifest(&mut self, change: impl FnOnce(&mut Manifest)) -> Result<(), StoreError> {
        let mut changed = self.manifest.clone();
        change(&mut changed);
        changed.changes += 1;
        let stale = Manifest::CELL.write(&self.trees, &changed.encode())?;
        self.trees.sync_part(Part::Tables)?;
        self.manifest = changed;
        stale.sweep(&self.trees)
    }

    /// Changes the manifest, and drops the segments that are needless then.
    pub(super) fn drop_needless(&mut self, change: impl FnOnce(&mut Manifest)) -> Result<(), StoreError> {
        let mut manifest = self.manifest.clone();
        change(&mut manifest);
        let needless = self.segments.needless(&manifest);
        manifest.segments.retain(|segment| !needless.contains(segment));
        self.change_manifest(|old| *old = Manifest { changes: old.changes, ..manifest })?;
        for segment in needless {
            self.trees.drop_tree(TreeName::Log(segment))?;
            self.segments.remove(segment);
        }
        Ok(())
    }

    /// The group's sync has ended.
    pub(super) fn end_group(&mut self, outcome: &mut Outcome) -> Result<(), StoreError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        self.trees.sync_part(Part::Log)?;
        outcome.answers.extend(group.answers);
        let durable = group.durable.into_iter();
        outcome.answers.extend(durable.map(|(origin, through)| (origin, Feedback::Durable { through })));
        for stale in group.stale {
            stale.sweep(&self.trees)?;
        }
        self.table_jobs.extend(group.recovers.into_iter().map(|origin| TableJob::Recover { origin }));
        self.begin_tables(outcome)?;
        self.begin_group(outcome)
    }
}
