//! A disk that fills up: writes are refused in time and by name, reads and deletes go on, and it mends by itself.

use crate::harness::{Setup, TestCluster, wait_for};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, File};
use std::time::Duration;

/// How much is free beyond the reserve at first, at most; a stranger then takes twice that. It is large beside what others
/// on this machine do meanwhile, and none of it is written.
const SPARE_BYTES_MAX: u64 = 3 << 30;
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_disk_that_fills_up_takes_deletes_and_mends_by_itself() {
    let space = statvfs(std::env::temp_dir().as_path()).unwrap();
    let free = space.f_bavail * space.f_frsize;
    let spare = SPARE_BYTES_MAX.min(free / 8);
    // A set-up's settings live as long as the tests.
    let reserve: &'static str = (free - spare).to_string().leak();
    let settings: &'static [_] = vec![("ANSER_LIMITS_DISK_RESERVE", reserve)].leak();
    let cluster = TestCluster::start_as(Setup { settings, ..Setup::default() });
    cluster.anser(&["put", "before", "v"]).exits(0);
    cluster.anser(&["put", "gone", "v"]).exits(0);

    let hog = cluster.scratch().join("hog");
    let file = File::create(&hog).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, 2 * spare).unwrap();
    wait_for("writes are refused", PATIENCE, || cluster.anser(&["put", "while", "v"]).code == 3);
    cluster.anser(&["put", "while", "v"]).refused(3, &["nearly full", "nothing was written"]);
    assert_eq!(cluster.anser(&["get", "before", "--consistency", "all"]).exits(0).out, b"v");
    cluster.anser(&["del", "gone"]).exits(0);
    cluster.anser(&["get", "gone"]).refused(1, &["does not exist"]);

    drop(file);
    fs::remove_file(&hog).unwrap();
    wait_for("writes are taken again", PATIENCE, || cluster.anser(&["put", "after", "v"]).code == 0);
    assert_eq!(cluster.anser(&["get", "after"]).exits(0).out, b"v");
}
