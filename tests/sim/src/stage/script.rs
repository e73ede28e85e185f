//! A story as text: prose, and commands with the exact output below each, up to an empty line.
//!
//! ```text
//! # Prose.
//! put c1 k bread
//! ----
//! c1 -> n1.coordinator Put k "bread" (c1.1)
//! ```
//!
//! The manner is that of CockroachDB's datadriven and of etcd raft's testdata. Keeps: a text that is rewritten with what
//! it gave plays as itself.

use super::{Stage, commands};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What stands between a command and its output.
const RULE: &str = "----";

/// One command of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// Its line in the text, from 1 on.
    pub line: usize,
    /// The command.
    pub command: String,
    /// The output that the text has.
    pub expected: String,
    /// The output that it gave.
    pub got: String,
}

/// Plays a story: all its commands, whatever comes of them.
pub fn play(text: &str) -> Vec<Scene> {
    let mut stage: Option<Stage> = None;
    let mut scenes = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((line, command)) = lines.next() {
        let command = command.trim();
        if command.is_empty() || command.starts_with('#') || command == RULE {
            continue;
        }
        let mut output = lines.clone();
        let mut expected = Vec::new();
        if output.next().is_some_and(|(_, rule)| rule == RULE) {
            expected.extend(output.map(|(_, line)| line).take_while(|line| !line.is_empty()));
            lines.nth(expected.len());
        }
        let run = || commands::run(&mut stage, command);
        let got = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| "error: a panic".to_owned());
        let (command, expected) = (command.to_owned(), expected.join("\n"));
        scenes.push(Scene { line, command, expected, got });
    }
    scenes
}

/// The text with the output that its commands gave.
pub fn rewritten(text: &str, scenes: &[Scene]) -> String {
    let mut out = String::new();
    let mut scenes = scenes.iter().peekable();
    let mut lines = (1..).zip(text.lines()).peekable();
    while let Some((number, line)) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let Some(scene) = scenes.next_if(|scene| scene.line == number) else { continue };
        if lines.next_if(|(_, line)| *line == RULE).is_some() {
            while lines.next_if(|(_, line)| !line.is_empty()).is_some() {}
        }
        out.push_str(&format!("{RULE}\n{}\n", scene.got));
        if lines.peek().is_some_and(|(_, line)| !line.is_empty()) {
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORY: &str =
        "# A put.\ncluster nodes=3\n----\nok\n\nwhere k\n----\nk is at n9\n\nnonsense\nbeliefs\n";

    #[test]
    fn a_story_is_played_to_its_end_and_says_where_it_differs() {
        let scenes = play(STORY);
        let brief: Vec<(usize, &str, bool)> = scenes
            .iter()
            .map(|scene| (scene.line, &scene.command[..], scene.got == scene.expected))
            .collect();
        assert_eq!(
            brief,
            [
                (2, "cluster nodes=3", true),
                (6, "where k", false),
                (10, "nonsense", false),
                (11, "beliefs", false)
            ]
        );
        assert_eq!((&scenes[1].got[..], &scenes[2].got[..]), ("k is at n1 n2 n3", "error: no such command"));
    }

    #[test]
    fn a_rewritten_story_plays_as_itself() {
        let text = rewritten(STORY, &play(STORY));
        let again = play(&text);
        assert!(again.iter().all(|scene| scene.got == scene.expected), "{again:?}");
        assert_eq!(rewritten(&text, &again), text);
        assert!(
            text.starts_with("# A put.\ncluster nodes=3\n----\nok\n\nwhere k\n----\nk is at n1 n2 n3\n\n")
        );
    }
}
