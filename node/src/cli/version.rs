//! What `--version` says: the build, and what it can talk to and read.

use anser_proto::frame::FRAME_VERSION;
use std::sync::LazyLock;

/// The version of the data folder's format that this build writes and reads.
const DATA_FORMAT: u32 = 1;
/// The commit that this was built from, where the build said.
const COMMIT: &str = match option_env!("ANSER_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
/// The version alone.
pub const SHORT: &str = env!("CARGO_PKG_VERSION");

/// The version, the commit, and the versions of protocol and formats.
pub fn long() -> &'static str {
    static LONG: LazyLock<String> = LazyLock::new(|| {
        format!("{SHORT}\ncommit {COMMIT}\nprotocol {FRAME_VERSION}\ndata format {DATA_FORMAT}")
    });
    LONG.as_str()
}
