//! `load --verify`: a row is read back and compared with the file, byte for byte.

use super::row::Row;
use crate::cli::failure::{Failure, FailureKind};
use anser_client::Found;

/// Whether a row's key holds its value, and nothing else.
pub(super) fn compare(row: &Row, found: &Found) -> Result<(), Failure> {
    match found.versions.as_slice() {
        [] => Err(Failure::new(FailureKind::Missing, "the key does not exist")),
        [version] if version.value == row.value => Ok(()),
        [version] => Err(Failure::new(
            FailureKind::Conflict,
            format!("the key holds another value ({} bytes)", version.value.len()),
        )),
        versions => Err(Failure::new(
            FailureKind::Conflict,
            format!("the key has {} versions that conflict", versions.len()),
        )),
    }
}
