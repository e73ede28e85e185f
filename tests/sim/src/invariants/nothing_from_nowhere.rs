//! Nothing is returned that was never written: each version shown is a value that some client wrote to this key, as it wrote
//! it, and no delete.

use super::number_of;
use crate::clients::FILL;
use crate::truth::Truth;
use anser_proto::client::GetReply;

/// Judges an answer to a get; gives the writes whose values it shows.
pub(crate) fn check(truth: &Truth, slot: usize, reply: &GetReply) -> Result<Vec<usize>, String> {
    let mut shown = Vec::new();
    for version in &reply.versions {
        let number = number_of(&version.value);
        let Some((number, write)) = number.and_then(|number| Some((number, truth.writes.get(number)?)))
        else {
            return Err(format!("a value that nobody wrote: {:?}", version.value));
        };
        let as_written =
            version.value.len() == write.length && version.value[8..].iter().all(|byte| *byte == FILL);
        if !as_written || write.slot != slot || write.is_delete || write.issued.ms() != version.written_at_ms
        {
            return Err(format!("write {number} shown as {version:?}, and it was {write:?}"));
        }
        if truth.dots.get(&version.dot) != Some(&number) {
            return Err(format!("write {number} shown with dot {}, which it never had", version.dot));
        }
        shown.push(number);
    }
    Ok(shown)
}
