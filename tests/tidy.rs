//! The architecture, checked by machine: which crate may lean on which, who may name what, how long files and functions get.
//!
//! A rule that is wrong for one place has its exception, with the reason, in the lists here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The arrows: a crate and the crates of ours that it may lean on.
const ARROWS: [(&str, &[&str]); 14] = [
    ("anser-model", &[]),
    ("anser-proto", &["anser-model"]),
    ("anser-quic", &["anser-model", "anser-proto"]),
    ("anser-client", &["anser-model", "anser-proto", "anser-quic"]),
    ("anser-machine", &["anser-model", "anser-proto"]),
    ("anser-storage", &["anser-model", "anser-machine"]),
    ("anser-membership", &["anser-model", "anser-proto", "anser-machine", "anser-storage"]),
    ("anser-coordinator", &["anser-model", "anser-proto", "anser-machine", "anser-storage"]),
    ("anser-replica", &["anser-model", "anser-proto", "anser-machine", "anser-storage"]),
    ("anser-compactor", &["anser-model", "anser-proto", "anser-machine", "anser-storage"]),
    ("anser-host", &["anser-model", "anser-proto", "anser-machine"]),
    (
        "anser-sim",
        &[
            "anser-model",
            "anser-proto",
            "anser-machine",
            "anser-storage",
            "anser-membership",
            "anser-coordinator",
            "anser-replica",
            "anser-compactor",
        ],
    ),
    (
        "anser-node",
        &[
            "anser-model",
            "anser-proto",
            "anser-quic",
            "anser-client",
            "anser-machine",
            "anser-storage",
            "anser-membership",
            "anser-coordinator",
            "anser-replica",
            "anser-compactor",
            "anser-host",
        ],
    ),
    (
        "anser",
        &[
            "anser-node",
            "anser-model",
            "anser-proto",
            "anser-quic",
            "anser-client",
            "anser-machine",
            "anser-storage",
            "anser-membership",
            "anser-coordinator",
            "anser-replica",
            "anser-compactor",
            "anser-host",
        ],
    ),
];

/// Crates that only these of ours may name.
const RESERVED: [(&str, &[&str]); 10] = [
    ("quinn", &["anser-quic"]),
    ("rustls", &["anser-quic"]),
    ("rcgen", &["anser-quic"]),
    ("actix", &["anser-host"]),
    ("actix-rt", &["anser-host"]),
    ("sled", &["anser-node"]),
    ("axum", &["anser-node"]),
    ("clap", &["anser-node"]),
    ("anyhow", &["anser-node", "anser"]),
    ("tokio", &["anser-quic", "anser-client", "anser-host", "anser-node", "anser"]),
];

/// Crates that can reach no clock, socket, disk, thread or executor.
const PURE: [&str; 8] = [
    "wire/model",
    "wire/proto",
    "actors/machine",
    "actors/storage",
    "actors/membership",
    "actors/coordinator",
    "actors/replica",
    "actors/compactor",
];

/// Longest file, in lines, tests beside the code counted; the reason stands with each exception.
const FILE_LINES_MAX: usize = 500;
const LONG_FILES: [(&str, &str); 0] = [];
/// Longest function, in lines.
const FUNCTION_LINES_MAX: usize = 70;
/// The functions that may be longer, and why.
const LONG_FUNCTIONS: [(&str, &str); 0] = [];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        ["wire", "actors", "node", "tests", "benches"].map(|dir| root().join(dir)).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 50, "the sources were not found");
    files
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// For each package of ours, its dependencies that are not for tests only.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let needs = package["dependencies"].as_array().expect("dependencies").iter();
            let needs = needs.filter(|need| need["kind"] != "dev");
            let names = needs.map(|need| need["name"].as_str().expect("a name").to_owned());
            (package["name"].as_str().expect("a name").to_owned(), names.collect())
        })
        .collect()
}

#[test]
fn arrows_point_one_way() {
    let dependencies = dependencies();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into();
    for (package, needs) in &dependencies {
        let allowed =
            arrows.get(package.as_str()).unwrap_or_else(|| panic!("{package} is not in the table of arrows"));
        for need in needs.iter().filter(|need| need.starts_with("anser")) {
            assert!(allowed.contains(&need.as_str()), "{package} must not lean on {need}");
        }
        for (reserved, owners) in RESERVED {
            let named = needs.contains(reserved) && !owners.contains(&package.as_str());
            assert!(!named, "{package} must not name {reserved}: that is for {owners:?}");
        }
    }
    for package in arrows.keys() {
        assert!(dependencies.contains_key(*package), "{package} of the table of arrows does not exist");
    }
}

#[test]
fn pure_crates_have_no_standard_library() {
    for folder in PURE {
        let text = fs::read_to_string(root().join(folder).join("src/lib.rs")).expect("lib.rs");
        assert!(text.contains("#![cfg_attr(not(test), no_std)]"), "{folder} can reach the standard library");
    }
}

#[test]
fn every_file_says_what_it_is_and_is_short() {
    let exceptions: BTreeMap<&str, &str> = LONG_FILES.into();
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a source file");
        let name = shown(&path);
        assert!(text.starts_with("//!"), "{name} does not start with what it is (//!)");
        let lines = text.lines().count();
        let fine = lines <= FILE_LINES_MAX || exceptions.contains_key(name.as_str());
        assert!(fine, "{name} has {lines} lines; the limit is {FILE_LINES_MAX}");
    }
}

#[test]
fn functions_fit_a_screen() {
    let exceptions: BTreeMap<&str, &str> = LONG_FUNCTIONS.into();
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a source file");
        let mut begun: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            match &begun {
                Some((start, at, name)) if indent == *at && line.trim_start().starts_with('}') => {
                    let lines = number - start + 1;
                    let place = format!("{}::{name}", shown(&path));
                    let fine = lines <= FUNCTION_LINES_MAX || exceptions.contains_key(place.as_str());
                    assert!(fine, "{place} has {lines} lines; the limit is {FUNCTION_LINES_MAX}");
                    begun = None;
                }
                Some(_) => {}
                None => begun = function_name(line).map(|name| (number, indent, name)),
            }
        }
    }
}

/// The name of the function whose head begins on this line, unless it also ends there.
fn function_name(line: &str) -> Option<String> {
    let code = line.trim_start();
    let (before, after) = code.split_once("fn ")?;
    let modifiers = ["pub", "pub(crate)", "pub(super)", "async", "const"];
    let is_head = before.split_whitespace().all(|word| modifiers.contains(&word));
    let ends_here = code.ends_with('}') || code.ends_with(';');
    let name = after.split(['(', '<']).next()?;
    (is_head && !ends_here).then(|| name.to_owned())
}

#[test]
fn every_actor_is_in_the_table() {
    let table = fs::read_to_string(root().join("actors/README.md")).expect("actors/README.md");
    for entry in fs::read_dir(root().join("actors")).expect("actors/").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().join("Cargo.toml").exists() {
            assert!(table.contains(&format!("`{name}`")), "actors/README.md does not tell of `{name}`");
        }
    }
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let words = ["todo!(", "unimplemented!(", "dbg!("].map(str::to_owned);
    for path in sources().into_iter().filter(|path| !path.ends_with("tests/tidy.rs")) {
        let text = fs::read_to_string(&path).expect("a source file");
        for word in &words {
            assert!(!text.contains(word.as_str()), "{} has {word}", shown(&path));
        }
    }
}
