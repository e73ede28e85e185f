//! `anser demo`: the whole story with no other set-up.

use crate::harness::{ANSER, run};
use std::fs;
use std::process::Command;
use tempfile::TempDir;

#[test]
fn the_demo_ends_well_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let (files, temporary) = (folder.path().join("files"), folder.path().join("tmp"));
    fs::create_dir_all(&temporary).unwrap();
    fs::create_dir_all(files.join("deep")).unwrap();
    for i in 0..200 {
        fs::write(files.join(format!("deep/{i}.txt")), format!("{i} ").repeat(i)).unwrap();
    }
    fs::write(files.join("bytes"), [0xff, 0, 1].repeat(50_000)).unwrap();
    let mut command = Command::new(ANSER);
    command.args(["demo", "--json"]).current_dir(&files).env("TMPDIR", &temporary);
    let said = run(command, b"").exits(0);
    let figures = said.json();
    // An empty file is a value, too.
    assert_eq!(figures["files"], 201, "{figures}");
    for zero in ["reads_wrong", "writes_failed"] {
        assert_eq!(figures[zero], 0, "{figures}");
    }
    assert_eq!((&figures["siblings"], &figures["siblings_settled"]), (&2.into(), &1.into()), "{figures}");
    assert!(said.err.contains("SIGKILL") && said.err.contains("Nothing was lost"), "{}", said.err);
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "its folder is gone");
}
