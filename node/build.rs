//! Tells the build which commit it is made from, for `anser --version`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ANSER_COMMIT");
    // Following every commit would build tests anew each time; releases must be exact, they alone follow.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rerun-if-changed=../.git/logs/HEAD");
    }
    let told = std::env::var("ANSER_COMMIT").ok();
    let commit = told.or_else(|| {
        let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    });
    println!("cargo::rustc-env=ANSER_COMMIT={}", commit.unwrap_or_else(|| "unknown".to_owned()));
}
