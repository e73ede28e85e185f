//! What `--version` says: the build, and what it can talk to and read.

use crate::disk::FORMAT;
use anser_proto::frame::FRAME_VERSION;
use std::sync::LazyLock;

/// The commit that this was built from; `unknown` outside a checkout.
const COMMIT: &str = env!("ANSER_COMMIT");
/// The version alone.
pub const SHORT: &str = env!("CARGO_PKG_VERSION");

/// The version, the commit, and the versions of protocol and formats.
pub fn long() -> &'static str {
    static LONG: LazyLock<String> =
        LazyLock::new(|| format!("{SHORT}\ncommit {COMMIT}\nprotocol {FRAME_VERSION}\ndata format {FORMAT}"));
    LONG.as_str()
}
