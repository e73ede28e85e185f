//! I-2, the half that a copy shows: what a copy has stored of a key never knows less than what it had stored before, also
//! over crashes. A context that goes back would let a version return that was settled.

use anser_model::KeyState;

/// Judges a state that a copy stores after another.
pub(crate) fn check(before: &KeyState, after: &KeyState) -> Result<(), String> {
    if after.context().covers(before.context()) {
        return Ok(());
    }
    Err(format!(
        "a copy stored a state that knows {:?} after one that knew {:?}",
        after.context(),
        before.context()
    ))
}
