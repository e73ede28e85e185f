//! The runner as people and scripts meet it: arguments, exit codes, one line for each failing seed, one JSON document, and one
//! hash for one seed in every process.
#![allow(clippy::expect_used)] // Not all of it is within a test's own function.

use serde_json::Value;
use std::process::{Command, Output};

/// A folder for the logs of failing seeds.
const LOGS: &str = env!("CARGO_TARGET_TMPDIR");

fn sim(line: &str) -> Output {
    let args = line.split_whitespace().chain(["--logs", LOGS]);
    Command::new(env!("CARGO_BIN_EXE_anser-sim")).args(args).output().expect("the simulator starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn wrong_arguments_are_told_and_end_with_2() {
    for line in ["", "--seeds 4..4", "1 --profile none", "1 --none"] {
        let output = sim(line);
        assert_eq!(output.status.code(), Some(2), "{line:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{line:?}");
    }
}

#[test]
fn seeds_that_pass_end_with_0_and_the_document_counts_them() {
    let output = sim("--seeds 3..5 --faults-ms 300 --profile faults --json");
    assert_eq!(output.status.code(), Some(0));
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!((&document["seeds"], &document["failed"]), (&2.into(), &Vec::<Value>::new().into()));
    for number in ["virtual_seconds", "seconds", "events"] {
        assert!(document[number].as_f64().is_some_and(|number| number > 0.0), "{number}");
    }
    assert!(document["checks"]["acks_are_durable"].as_u64().is_some_and(|count| count > 0));
    assert!(document["faults"]["crash"].is_u64() && document["never"].is_array());
}

#[test]
fn what_never_arose_fails_a_run_that_must_cover_it() {
    let output = sim("3 --faults-ms 100 --profile calm --require-coverage");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("never arose: "));
}

#[test]
fn a_failing_seed_is_one_line_whose_command_fails_the_same_way() {
    let output = sim("0 --profile disks --lying-disks --shrink");
    assert_eq!(output.status.code(), Some(1));
    let told = stdout(&output);
    let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("seed 0 profile disks: ")).collect();
    let [line] = lines.as_slice() else { panic!("one line: {told}") };
    let invariant = line.split_whitespace().nth(4).expect("an invariant");
    assert!(line.contains(" broken at ") && line.contains("--lying-disks"), "{line}");
    let (_, log) = line.rsplit_once("; log: ").expect("a log");
    assert!(std::fs::read_to_string(log).expect("its log").contains("BROKEN"), "{log}");
    let (_, replay) = line.split_once("replay: cargo sim ").expect("a command");
    let (replay, _) = replay.split_once(';').expect("its end");
    let again = sim(replay);
    assert_eq!(again.status.code(), Some(1), "{replay}");
    assert!(stdout(&again).contains(&format!("seed 0 profile disks: {invariant} broken at ")), "{replay}");
}

#[test]
fn one_seed_is_one_run_in_every_process_and_a_hundred_times_in_one() {
    let hash = |line: &str| stdout(&sim(line)).lines().next().map(str::to_owned).expect("a hash");
    let first = hash("7 --hash --faults-ms 300");
    assert!(first.starts_with("seed 7 profile faults hash "), "{first}");
    assert_eq!(first, hash("7 --hash --faults-ms 300"));
    let repeated = sim("7 --hash --faults-ms 300 --repeat 100");
    assert_eq!(repeated.status.code(), Some(0));
    assert_eq!(stdout(&repeated).lines().next(), Some(first.as_str()));
}

#[test]
fn a_log_is_printed_and_a_skipped_fault_is_not_in_it() {
    let log = stdout(&sim("7 --faults-ms 2000 --log"));
    assert!(log.contains(" fault 0: ") && log.contains(" -> node "));
    let without = stdout(&sim("7 --faults-ms 2000 --log --skip 0"));
    assert!(!without.contains(" fault 0: ") && without.contains(" -> node "));
}
