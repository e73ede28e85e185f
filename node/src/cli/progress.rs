//! Progress on stderr, on a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// A bar to `length`, of rows or bytes; a counter if the end is not known.
pub fn bar(what: &'static str, length: Option<u64>, in_bytes: bool) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match (length, in_bytes) {
        (Some(_), true) => "{prefix} [{bar:40}] {bytes}/{total_bytes} {msg} {eta}",
        (Some(_), false) => "{prefix} [{bar:40}] {pos}/{len} {per_sec} {msg} {eta}",
        (None, true) => "{prefix} {spinner} {bytes} {msg}",
        (None, false) => "{prefix} {spinner} {pos} {per_sec} {msg}",
    };
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.set_prefix(what);
    bar
}
