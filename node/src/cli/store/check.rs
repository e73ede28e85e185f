//! `store check`: whether a data folder is as it was stored.

use super::FolderArgs;
use super::survey::{DamageJson, Survey};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::config::ByteSize;
use serde::Serialize;

/// `anser store check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  anser store check anser-dev/n1/data
  anser store check /var/lib/anser --scratch /mnt/spare --json

The node must not run. Reads and verifies identity, witness, manifest, slots, every record of the log,
and every table with its blocks, index and filter. Prints one line for each damage: what is damaged,
how, and what that means. Exit status 0 only if there is none, else 2.

Nothing in DIR is changed. The store is read from a copy, made beside DIR or in --scratch and removed
at the end, since opening the original would mend and rewrite it.")]
pub struct CheckArgs {
    #[command(flatten)]
    folder: FolderArgs,
}

/// `store check --json`.
#[derive(Debug, Serialize)]
struct CheckJson<'a> {
    sound: bool,
    node: Option<String>,
    folder: Option<String>,
    tables: usize,
    blocks: u64,
    log_segments: usize,
    log_records: u64,
    slots: usize,
    bytes: u64,
    seconds: f64,
    damaged: usize,
    damages: &'a [DamageJson],
}

impl CheckArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let at = |failure: Failure| failure.at(format_args!("store check {}", self.folder.dir.display()));
        let survey = Survey::of(&self.folder, "checking").await.map_err(at)?;
        if self.folder.json {
            output::json(&json(&survey))?;
        } else {
            output::line(&text(&survey))?;
        }
        survey.sound().map_err(at)
    }
}

fn json(survey: &Survey) -> CheckJson<'_> {
    CheckJson {
        sound: survey.is_sound(),
        node: survey.whose.map(|whose| whose.node.to_string()),
        folder: survey.whose.map(|whose| whose.folder.to_string()),
        tables: survey.tables.len(),
        blocks: survey.blocks,
        log_segments: survey.segments.len(),
        log_records: survey.log_records(),
        slots: survey.slots.len(),
        bytes: survey.bytes,
        seconds: survey.seconds,
        damaged: survey.damaged,
        damages: &survey.damages,
    }
}

/// A line a damage, and one on what was verified.
fn text(survey: &Survey) -> String {
    let shown = survey.damages.iter();
    let mut lines: Vec<String> =
        shown.map(|damage| format!("{}: {}; {}", damage.place, damage.what, damage.meaning)).collect();
    let more = survey.damaged - survey.damages.len();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.push(format!(
        "{}: {} tables with {} blocks, {} log records in {} segments, {} slots, {} verified in {:.1} s",
        if survey.is_sound() { "sound" } else { "damaged" },
        survey.tables.len(),
        survey.blocks,
        survey.log_records(),
        survey.segments.len(),
        survey.slots.len(),
        ByteSize(survey.bytes),
        survey.seconds
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damage_is_one_line_and_the_last_one_tells_what_was_verified() {
        let damage =
            DamageJson { place: "table 3 of shard 0".into(), what: "gone".into(), meaning: "it is bad" };
        let survey = Survey { damages: vec![damage], damaged: 3, bytes: 5, ..Survey::default() };
        let text = text(&survey);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["table 3 of shard 0: gone; it is bad", "and 2 more"]);
        assert!(lines[2].starts_with("damaged: 0 tables") && lines.len() == 3, "{text}");
        let failure = survey.sound().unwrap_err();
        assert_eq!(crate::cli::failure::exit_code(&failure), 2);
        assert!(Survey::default().sound().is_ok());
    }
}
