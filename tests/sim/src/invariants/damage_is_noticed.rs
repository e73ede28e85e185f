//! What a disk gives back is what was written to it, or an error: a flipped bit is never read as data.

/// Judges what a disk read where its content was damaged; `misread` is what it took for good.
pub(crate) fn check(misread: Option<String>) -> Result<(), String> {
    misread.map_or(Ok(()), |what| Err(format!("damaged, and read as if it were whole: {what}")))
}
