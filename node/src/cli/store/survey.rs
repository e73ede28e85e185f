//! All that was found in a folder, gathered with a progress bar.

use super::FolderArgs;
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::progress;
use crate::disk::inspect::{Told, Whose, inspect};
use anser_storage::store::Manifest;
use anser_storage::store::check::{Finding, SegmentSeen, TableSeen};
use indicatif::ProgressBar;
use serde::Serialize;
use std::time::Instant;

/// Damages that are told one by one; of more only their number is.
const DAMAGES_MAX: usize = 1000;

/// One damage, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamageJson {
    /// What is damaged.
    pub place: String,
    /// How.
    pub what: String,
    /// What that means.
    pub meaning: &'static str,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    pub whose: Option<Whose>,
    pub on_disk: u64,
    pub manifest: Manifest,
    pub void_trees: u64,
    /// Name and bytes of each.
    pub slots: Vec<(u8, u64)>,
    pub segments: Vec<SegmentSeen>,
    pub tables: Vec<TableSeen>,
    pub blocks: u64,
    /// Bytes that are verified.
    pub bytes: u64,
    /// The first damages.
    pub damages: Vec<DamageJson>,
    /// How many there are.
    pub damaged: usize,
    pub seconds: f64,
}

impl Survey {
    /// Looks at a folder. Ctrl-C ends it, and leaves nothing behind.
    pub async fn of(folder: &FolderArgs, what: &'static str) -> Result<Survey, Failure> {
        quiet_other_threads();
        let begun = Instant::now();
        let mut survey = Survey::default();
        let bar = progress::bar(what, Some(0), true);
        let options = folder.options();
        let inspected = tokio::select! {
            inspected = inspect(&folder.dir, &options, |told| survey.take(told, &bar)) => inspected.map_err(Failure::usage),
            _ = tokio::signal::ctrl_c() => Err(Failure::new(FailureKind::Interrupted, "interrupted")),
        };
        bar.finish_and_clear();
        inspected?;
        survey.seconds = begun.elapsed().as_secs_f64();
        Ok(survey)
    }

    /// Whether all is as it was stored.
    pub fn is_sound(&self) -> bool {
        self.damaged == 0
    }

    /// Fails unless it is.
    pub fn sound(&self) -> Result<(), Failure> {
        match self.damaged {
            0 => Ok(()),
            damaged => Err(Failure::usage(format!(
                "{damaged} damaged: this folder can't be trusted; set it aside, and let the node start with an empty one"
            ))),
        }
    }

    /// Records of the log.
    pub fn log_records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }

    fn take(&mut self, told: Told, bar: &ProgressBar) {
        match told {
            Told::Whose(whose) => self.whose = Some(whose),
            Told::OnDisk(bytes) => self.on_disk = bytes,
            Told::Damage(damage) => self.damage(damage.place.into(), damage.what, damage.meaning),
            Told::Store(finding) => self.find(finding, bar),
        }
    }

    fn find(&mut self, finding: Finding, bar: &ProgressBar) {
        let mut verified = 0;
        match finding {
            Finding::Manifest(manifest, bytes) => {
                bar.inc_length(manifest.tables.iter().map(|table| table.bytes).sum());
                self.manifest = manifest;
                self.bytes += bytes;
            }
            Finding::Void(trees) => self.void_trees = trees,
            Finding::Slot { name, bytes } => {
                self.slots.push((name, bytes));
                self.bytes += bytes;
            }
            Finding::Segment(segment) => {
                verified = segment.bytes;
                bar.inc_length(verified);
                self.segments.push(segment);
            }
            Finding::Block { bytes } => {
                verified = bytes;
                self.blocks += 1;
            }
            Finding::Table(table) => self.tables.push(table),
            Finding::Damage { place, what } => self.damage(place.to_string(), what, place.meaning()),
        }
        self.bytes += verified;
        bar.inc(verified);
    }

    fn damage(&mut self, place: String, what: String, meaning: &'static str) {
        self.damaged += 1;
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(DamageJson { place, what, meaning });
        }
    }
}

/// Lets panics of other threads pass in silence: sled answers damage with them, also in threads of its own, and they are
/// told as damages.
fn quiet_other_threads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some("main") {
            usual(panic);
        }
    }));
}
