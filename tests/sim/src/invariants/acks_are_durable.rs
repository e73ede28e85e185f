//! I-10: when a put is acknowledged, as many distinct replicas as its level asks for hold it durably; in a keyspace of
//! durability `interval`, have held it in memory.

use super::shown;
use crate::truth::Truth;
use anser_model::{Level, NodeId};

/// Judges one acknowledgement; `dc` is the contacted node's data centre.
pub(crate) fn check(truth: &Truth, write: usize, level: Level, holders: &[NodeId]) -> Result<(), String> {
    let written = &truth.writes[write];
    let slot = &truth.slots[written.slot];
    // Local levels are of the minter's data centre, wherever that is: one of them must have enough.
    let met = slot
        .sites
        .iter()
        .any(|site| level.need(&slot.sites, &site.dc).is_ok_and(|need| need.met_by(holders)));
    if met {
        return Ok(());
    }
    let states = slot.sites.iter().zip(&slot.nodes).map(|(site, node)| {
        let state = truth.copies[*node].durable(written.slot);
        format!("node {node} holds {:?} (asked: {})", state.context(), holders.contains(&site.node))
    });
    Err(format!(
        "write {} ({:?}) was acknowledged at level {level}, and only {} replicas hold it as they should: {:?}",
        shown(&written.rid),
        written.dots,
        holders.len(),
        states.collect::<Vec<_>>()
    ))
}
