//! The same program started anew in the same process: its id, its arguments and its standard streams stay.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Starts anew. Returns only if that can't be done.
pub(super) fn in_place() -> io::Error {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    Command::new("/proc/self/exe").arg0(name).args(args).exec()
}
