//! Being written.
pub(crate) struct Shared;
