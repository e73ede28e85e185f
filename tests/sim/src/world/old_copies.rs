//! Folders that are put back as they were some time ago, and what their nodes make of them.

use super::cell::Actor;
use super::node::{MEMBERSHIP, Node};
use super::{Job, World};
use crate::coverage::Situation;
use crate::disk::Image;
use crate::invariants::incarnations_grow::Said;
use crate::invariants::old_folders_are_known;
use crate::schedule::MS;
use crate::truth::{Backup, Folder};
use crate::verdicts::Invariant;
use anser_machine::FolderTrust;
use anser_proto::{Envelope, Role};

/// How often it is tried to put a copy back: others may not remember yet that the folder went on since.
const TRIES_MAX: u32 = 40;
const TRY_AGAIN_US: u64 = 500 * MS;

/// A copy of a node's folder.
#[derive(Debug)]
pub(crate) struct OldCopy {
    pub image: Image,
    pub backup: Backup,
    /// So many records were in its logs, synced or not.
    pub records: u64,
}

impl World {
    /// A node's disk is put back as it was, and its process started on it; once all others will remember, also after a
    /// crash, that it went on since.
    pub(super) fn put_back(&mut self, n: usize, copy: Box<OldCopy>, tries: u32) {
        let at = self.now();
        if !self.all_remember_more(n, copy.records) {
            if tries < TRIES_MAX && at < self.suffer_until {
                let job = Job::PutBack { node: n, backup: copy, tries: tries + 1 };
                self.schedule.after(TRY_AGAIN_US, job);
            } else {
                self.truth.folders[n] = Folder::Whole;
            }
            return;
        }
        self.journal.line(at, || format!("node {n}: an old copy of its folder is put back"));
        self.kill(n, true);
        self.nodes[n].disk.put_back(copy.image);
        self.truth.copies[n].restore(&copy.backup);
        // That it says an incarnation again is refuted by those who know a higher one.
        self.nodes[n].said = Said::default();
        self.nodes[n].put_back = true;
        self.truth.folders[n] = Folder::Old;
        self.start_after(n, 50 * MS);
    }

    fn all_remember_more(&self, n: usize, records: u64) -> bool {
        let (id, folder) = (self.nodes[n].id(), self.nodes[n].entry.member.folder);
        let remembers = |node: &Node| match node.cells.get(MEMBERSHIP).and_then(|cell| cell.actor.as_ref()) {
            Some(Actor::Membership(machine)) => {
                machine.remembers(&id).is_some_and(|(of, held)| of == folder && held > records)
            }
            _ => false,
        };
        self.nodes.iter().enumerate().all(|(other, node)| other == n || (node.up && remembers(node)))
    }

    /// A node's verdict on its own folder.
    pub(super) fn follow_folder(&mut self, n: usize, trust: FolderTrust) {
        let at = self.now();
        self.journal.line(at, || format!("node {n} judges its folder: {trust:?}"));
        let result = old_folders_are_known::check_trust(self.nodes[n].put_back, trust);
        self.judge(Invariant::OldFoldersAreKnown, result);
        if let FolderTrust::Old { replaceable: true } = trust {
            self.schedule.after(MS, Job::SetAside { node: n, boot: self.nodes[n].boot });
        }
    }

    /// The process stops, sets its folder aside, and starts anew with an empty one.
    pub(super) fn set_aside(&mut self, n: usize, boot: u32) {
        if !self.nodes[n].up || self.nodes[n].boot != boot {
            return;
        }
        self.coverage.sometimes(Situation::OldFolderKnown);
        self.kill(n, false);
        self.lose_folder(n);
        self.start_after(n, 50 * MS);
    }

    /// A copy in an old folder says something.
    pub(super) fn see_old_said(&mut self, n: usize, envelope: &Envelope) {
        if self.nodes[n].put_back && envelope.from.role == Role::Replica {
            let result = old_folders_are_known::check_said(envelope);
            self.judge(Invariant::OldFoldersAreKnown, result);
        }
    }
}
