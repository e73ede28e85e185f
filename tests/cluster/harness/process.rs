//! Processes of this test's: signals, and what the system tells of them.

use super::Signal;
use rustix::process::{Pid, kill_process};
use std::fs;
use std::path::{Path, PathBuf};

/// Sends a signal to a process of this test's.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("a process id");
    // A process that ended meanwhile needs no signal.
    let _ = kill_process(pid, signal);
}

fn folder(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// Whether a process is there and has not ended.
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(folder(pid).join("stat")).unwrap_or_default();
    // After the name in brackets comes the state; Z is one that only waits to be noticed.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Resident memory of a process, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(folder(pid).join("status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") << 10
}

/// Entries of a folder under /proc of a process: `fd` for descriptors, `task` for threads.
pub fn proc_entries(pid: u32, what: &str) -> usize {
    fs::read_dir(folder(pid).join(what)).expect("its folder").count()
}
