//! Stories of each mechanism, as text in `tests/scenarios`: commands, and below each the exact output of the production
//! machines. `UPDATE=1 cargo test --test scenarios` writes into the stories what their commands give now.

use anser_sim::stage::{Scene, play, rewritten};
use std::fs;
use std::path::{Path, PathBuf};

/// Fewer stories than this are a folder that was not found.
const STORIES_MIN: usize = 10;

fn stories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = fs::read_dir(folder).expect("tests/scenarios").flatten();
    let mut stories: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    stories.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    stories.sort();
    stories
}

/// Where a scene differs from its story, for people.
fn difference(path: &Path, scene: &Scene) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (expected, got): (Vec<&str>, Vec<&str>) =
        (scene.expected.lines().collect(), scene.got.lines().collect());
    let same = expected.iter().zip(&got).take_while(|(expected, got)| expected == got).count();
    let marked = |lines: &[&str]| {
        let mark = |(at, line): (usize, &&str)| format!("    {} {line}\n", if at < same { ' ' } else { '|' });
        lines.iter().enumerate().map(mark).collect::<String>()
    };
    format!(
        "tests/scenarios/{name}:{}: {}\n  expected:\n{}  got:\n{}",
        scene.line,
        scene.command,
        marked(&expected),
        marked(&got)
    )
}

/// Plays one story; gives where it differs. Rewrites it instead, if asked to.
fn check(path: &Path, update: bool) -> Option<String> {
    let text = fs::read_to_string(path).expect("a story");
    let scenes = play(&text);
    assert!(!scenes.is_empty(), "{} has no command", path.display());
    if update {
        fs::write(path, rewritten(&text, &scenes)).expect("a story can be written");
        return None;
    }
    scenes.iter().find(|scene| scene.got != scene.expected).map(|scene| difference(path, scene))
}

#[test]
fn stories_go_as_they_are_told() {
    let (stories, update) = (stories(), std::env::var_os("UPDATE").is_some());
    let differences: Vec<String> = stories.iter().filter_map(|path| check(path, update)).collect();
    assert!(
        differences.is_empty(),
        "{}\nIf that is right: UPDATE=1 cargo test --test scenarios, and read the difference.",
        differences.join("\n")
    );
    assert!(stories.len() >= STORIES_MIN, "only {} stories", stories.len());
}

#[test]
fn a_difference_says_where_it_is_and_what_came_instead() {
    let scenes = play("cluster nodes=3\n----\nok\n\nwhere k\n----\nk is at n1 n2\n");
    let told = difference(Path::new("tests/scenarios/some.txt"), &scenes[1]);
    for part in ["tests/scenarios/some.txt:5: where k", "| k is at n1 n2\n", "| k is at n1 n2 n3\n"] {
        assert!(told.contains(part), "{told}");
    }
}
