//! I-11: a receipt claims no replica that did not acknowledge, calls none durable that is not, and tells the level that was
//! asked for.

use crate::truth::{Slot, Truth};
use anser_model::{Level, Need};
use anser_proto::client::{GetReceipt, PutReceipt};

/// Judges the receipt of a put that so many replicas acknowledged.
pub(crate) fn check_put(
    truth: &Truth,
    write: usize,
    asked: Level,
    acked: usize,
    receipt: &PutReceipt,
) -> Result<(), String> {
    let number = truth.writes[write].slot;
    let slot = &truth.slots[number];
    let held = truth.holders(number, write).count();
    let fits = usize::from(receipt.replicas) == slot.sites.len()
        && receipt.level == asked
        && receipt.fallbacks == 0
        && receipt.step == truth.record.step;
    if !fits {
        return Err(format!(
            "{receipt:?} of a put at level {asked} on a key of {} replicas",
            slot.sites.len()
        ));
    }
    if usize::from(receipt.durable) > held {
        return Err(format!("{receipt:?}, and only {held} replicas hold it durably"));
    }
    // From memory the level is met by replicas that the receipt does not call durable.
    enough(slot, asked, if slot.interval { acked } else { usize::from(receipt.durable) })
}

/// Judges the receipt of a get.
pub(crate) fn check_get(
    truth: &Truth,
    slot: usize,
    asked: Level,
    receipt: &GetReceipt,
) -> Result<(), String> {
    let slot = &truth.slots[slot];
    let fits = usize::from(receipt.replicas) == slot.sites.len()
        && receipt.level == asked
        && receipt.answered <= receipt.replicas
        && receipt.fallbacks == 0
        && receipt.step == truth.record.step;
    if !fits {
        return Err(format!(
            "{receipt:?} of a get at level {asked} on a key of {} replicas",
            slot.sites.len()
        ));
    }
    enough(slot, asked, usize::from(receipt.answered))
}

fn enough(slot: &Slot, asked: Level, told: usize) -> Result<(), String> {
    let need = slot.sites.iter().filter_map(|site| asked.need(&slot.sites, &site.dc).ok());
    let least = need.map(|need| Need::total(&need)).min().unwrap_or(0);
    if told >= least {
        Ok(())
    } else {
        Err(format!("a receipt of {told} replicas for a level that needs {least}"))
    }
}
