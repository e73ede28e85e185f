//! I-13: a node's step only grows, also over crashes.

use anser_model::Step;

/// Judges a step that a node says, after the greatest that it ever said.
pub(crate) fn check(before: Step, said: Step) -> Result<(), String> {
    if said >= before { Ok(()) } else { Err(format!("a node said step {} after step {}", said.0, before.0)) }
}
