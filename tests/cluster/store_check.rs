//! `anser store check` and `store stat` on the folder of a real node: in use, sound, damaged in each of its files.

use crate::harness::{ANSER, Said, TestCluster, run};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROWS: usize = 400;

fn store(words: &[&str], dir: &Path) -> Said {
    let mut command = Command::new(ANSER);
    command.arg("store").args(words).arg(dir);
    run(command, b"")
}

/// All files of a folder with their contents.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn a_folder_is_checked_from_outside() {
    let mut cluster = TestCluster::start();
    let row =
        |number: usize| format!("{{\"key\":\"row-{number:04}\",\"value\":\"value of row {number:04}\"}}");
    let rows: Vec<String> = (0..ROWS).map(row).collect();
    let load = ["load", "-", "--consistency", "all"];
    cluster.anser_with_input(&load, rows.join("\n").as_bytes()).exits(0);
    let node = cluster.nodes[0].folder.clone();
    let data = node.join("data");
    store(&["check"], &data).refused(2, &["in use", "stop"]);
    store(&["stat", "--json"], &data).refused(2, &["in use"]);
    cluster.stop();

    sound(&node, &data);
    stat(&data);
    damaged(&data);
}

fn sound(node: &Path, data: &Path) {
    let before = contents(node);
    let report = store(&["check", "--json"], data).exits(0).json();
    assert_eq!((&report["sound"], &report["damaged"]), (&true.into(), &0.into()), "{report}");
    let records = report["log_records"].as_u64().unwrap();
    assert!(records >= ROWS as u64, "{report}");
    for number in ["tables", "blocks", "bytes", "log_segments", "slots"] {
        assert!(report[number].is_u64(), "{number}: {report}");
    }
    let said = store(&["check"], data).exits(0);
    assert!(said.text().starts_with("sound: ") && said.text().lines().count() == 1, "{said:?}");
    assert_eq!(said.err, "", "no progress but on a terminal");
    assert!(contents(node) == before, "something was changed, or left beside the folder");
    let scratch = node.join("no such folder");
    store(&["check", "--scratch", scratch.to_str().unwrap()], data).refused(2, &["--scratch"]);
    store(&["check"], node).refused(2, &["is no data folder", "data is one"]);
    store(&["check"], Path::new("/nowhere")).refused(2, &["/nowhere is no data folder"]);
}

fn stat(data: &Path) {
    let stat = store(&["stat", "--json"], data).exits(0).json();
    assert!(stat["shards"].as_u64().is_some_and(|shards| shards > 0), "{stat}");
    assert!(stat["partitions"].as_u64().is_some_and(|partitions| partitions > 150), "{stat}");
    let sum = |list: &str, number: &str| -> u64 {
        stat[list].as_array().unwrap().iter().map(|of| of[number].as_u64().unwrap()).sum()
    };
    assert!(sum("segments", "records") >= ROWS as u64, "{stat}");
    assert!(sum("largest_partitions", "keys") > 10, "{stat}");
    let text = store(&["stat"], data).exits(0).text();
    assert!(["SHARD", "LOG SEGMENT", "PARTITION", "SLOT"].iter().all(|head| text.contains(head)), "{text}");
}

fn damaged(data: &Path) {
    let db = data.join("store/log/db");
    let value = b"value of row 0123";
    let content = fs::read(&db).unwrap();
    let places: Vec<usize> =
        (0..content.len() - value.len()).filter(|at| content[*at..].starts_with(value)).collect();
    assert!(!places.is_empty(), "the value lies in the file as it is");
    let flip = |path: &Path, places: &[usize]| {
        let sound = fs::read(path).unwrap();
        let mut content = sound.clone();
        places.iter().for_each(|place| content[*place] ^= 1);
        fs::write(path, content).unwrap();
        let said = store(&["check"], data).exits(2);
        let report = store(&["check", "--json"], data).exits(2).json();
        assert_eq!(report["sound"], false, "{report}");
        let damages = report["damages"].as_array().unwrap();
        assert_eq!(said.text().lines().count(), damages.len() + 1, "a line each: {said:?}");
        assert!(said.err.contains("can't be trusted") && said.err.lines().count() == 1, "{said:?}");
        fs::write(path, sound).unwrap();
        said.text()
    };
    flip(&db, &places);
    assert!(flip(&data.join("witness"), &[9]).contains("the witness: its checksum is wrong"));
    assert!(flip(&data.join("identity"), &[30]).contains("the identity: its checksum is wrong"));
    store(&["check"], data).exits(0);
}
