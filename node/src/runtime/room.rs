//! Watches the room on the data folder's disk, so that writes are refused while there is still some: a store whose disk is
//! really full can only stop.
//!
//! Deliberately absent: what is refused; that is the replicas' business.

use super::switchboard::Switchboard;
use crate::config::ByteSize;
use anser_host::Shell as _;
use anser_machine::{Fact, Room, RoomLevel};
use rustix::fs::StatVfsMountFlags;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Of the reserve, one part in this many is kept for what is under way when even deletes are refused.
const LAST_SHARE: u64 = 4;
/// Room counts as regained once it is so much more than was missing: one part in this many of the reserve, and never more
/// than a few memtables: of a large reserve, a sixteenth is more than an operator may ever have to spare.
const REGAINED_SHARE: u64 = 16;
const REGAINED_BYTES_MAX: u64 = 256 << 20;
/// A change of the free bytes by less than one part in this many is not told.
const TOLD_SHARE: u64 = 16;

/// What the disk has, as the system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    /// Bytes that this process may still write.
    pub(super) free_bytes: u64,
    /// Whether it can be written at all.
    pub(super) read_only: bool,
}

impl Space {
    /// Asks the system.
    pub(super) fn of(dir: &Path) -> std::io::Result<Space> {
        let space = rustix::fs::statvfs(dir)?;
        Ok(Space {
            free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
            read_only: space.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }
}

/// What a disk allows that has so much room, after it allowed `before`.
fn judge(space: Space, reserve: u64, before: RoomLevel) -> Room {
    let to_spare = (reserve / REGAINED_SHARE).min(REGAINED_BYTES_MAX);
    let regained = |level: RoomLevel| if before < level { to_spare } else { 0 };
    let reaches = |level: RoomLevel, bytes: u64| space.free_bytes >= bytes.saturating_add(regained(level));
    let level = if space.read_only || !reaches(RoomLevel::Low, reserve / LAST_SHARE) {
        RoomLevel::Full
    } else if reaches(RoomLevel::Enough, reserve) {
        RoomLevel::Enough
    } else {
        RoomLevel::Low
    };
    Room { level, free_bytes: space.free_bytes.saturating_sub(reserve) }
}

/// Watches until it is aborted. It keeps `reserve` bytes.
pub(super) async fn watch(dir: PathBuf, reserve: u64, switchboard: Arc<Switchboard>) {
    let mut told = Room::default();
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        every.tick().await;
        let Ok(space) = Space::of(&dir) else { continue };
        metrics::gauge!("anser_disk_free_bytes").set(space.free_bytes as f64);
        let room = judge(space, reserve, told.level);
        if room.level != told.level {
            say(&dir, space, reserve, room.level);
        }
        let changed = room.free_bytes.abs_diff(told.free_bytes) > told.free_bytes / TOLD_SHARE;
        if room.level != told.level || changed {
            told = room;
            switchboard.publish(Fact::RoomChanged(room));
        }
    }
}

fn say(dir: &Path, space: Space, reserve: u64, level: RoomLevel) {
    let (dir, free, reserve) = (dir.display(), ByteSize(space.free_bytes), ByteSize(reserve));
    match level {
        RoomLevel::Enough => tracing::info!("{dir}: there is room again ({free} free): writes are taken"),
        RoomLevel::Low => {
            tracing::warn!(
                "{dir}: {free} free of a reserve of {reserve}: only reads and deletes until there is room"
            );
        }
        RoomLevel::Full if space.read_only => tracing::error!("{dir} is read-only: only reads"),
        RoomLevel::Full => tracing::error!("{dir}: {free} free of a reserve of {reserve}: only reads"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_lost_by_steps_and_regained_with_some_to_spare() {
        use RoomLevel::{Enough, Full, Low};
        let reserve = 1600;
        let table = [
            (1600, Enough, Enough),
            (1599, Enough, Low),
            (1650, Low, Low),
            (1700, Low, Enough),
            (400, Low, Low),
            (399, Low, Full),
            (450, Full, Full),
            (500, Full, Low),
            (5000, Full, Enough),
        ];
        for (free_bytes, before, expected) in table {
            let room = judge(Space { free_bytes, read_only: false }, reserve, before);
            assert_eq!(room.level, expected, "{free_bytes} after {before:?}");
            assert_eq!(room.free_bytes, u64::saturating_sub(free_bytes, reserve));
        }
        let (large, spare) = (100 << 30, REGAINED_BYTES_MAX);
        for (free_bytes, expected) in [(large + spare - 1, Low), (large + spare, Enough)] {
            assert_eq!(judge(Space { free_bytes, read_only: false }, large, Low).level, expected);
        }
        let room = judge(Space { free_bytes: 5000, read_only: true }, reserve, Enough);
        assert_eq!(room.level, Full);
    }

    #[test]
    fn the_system_is_asked() {
        let space = Space::of(Path::new("/tmp")).unwrap();
        assert!(space.free_bytes > 0 && !space.read_only);
        assert!(Space::of(Path::new("/nowhere/at/all")).is_err());
    }
}
