//! The preference order of each row: which replica is asked first.
//!
//! Data centres take turns by partition; in each, the member that leads least for what it holds leads. Order moves no
//! data, so it is made anew each time.

use super::assign::Block;
use super::scatter;
use alloc::vec::Vec;

/// How often a member leads its data centre's block: where the block comes first, and elsewhere.
#[derive(Clone, Copy, Default)]
struct Leads {
    holds: u64,
    first: u64,
    later: u64,
}

/// The blocks of all data centres as rows of one width, one after the other, each in preference order.
pub(super) fn in_preference(blocks: &[Block], partitions: u16) -> (u16, Vec<u16>) {
    let width: u16 = blocks.iter().map(|block| block.width).sum();
    let places = blocks.iter().flat_map(|block| block.rows.iter().flatten());
    let mut leads: Vec<Leads> = Vec::new();
    for place in places {
        let at = usize::from(*place);
        if leads.len() <= at {
            leads.resize(at + 1, Leads::default());
        }
        if let Some(lead) = leads.get_mut(at) {
            lead.holds += 1;
        }
    }
    let mut rows = Vec::with_capacity(usize::from(width) * usize::from(partitions));
    for partition in 0..partitions {
        let turn = usize::from(partition) % blocks.len().max(1);
        let (later, first) = blocks.split_at_checked(turn).unwrap_or((blocks, &[]));
        for (nth, block) in first.iter().chain(later).enumerate() {
            let Some(row) = block.rows.get(usize::from(partition)) else { continue };
            rows.extend(led(row, partition, nth == 0, &mut leads));
        }
    }
    (width, rows)
}

/// A block's row with its leader in front, the others in an order of the partition's own.
fn led(row: &[u16], partition: u16, first: bool, leads: &mut [Leads]) -> Vec<u16> {
    let tie = |place: &u16| scatter(u64::from(*place) << 16 | u64::from(partition));
    let mut row = row.to_vec();
    row.sort_by_key(tie);
    let load = |place: u16| {
        let lead = leads.get(usize::from(place)).copied().unwrap_or_default();
        ((if first { lead.first } else { lead.later }) << 32) / lead.holds.max(1)
    };
    let leader = row.iter().enumerate().min_by_key(|(_, place)| load(**place)).map(|(at, _)| at);
    if let Some(at) = leader {
        if let Some(front) = row.get_mut(..=at) {
            front.rotate_right(1);
        }
        let lead = row.first().and_then(|place| leads.get_mut(usize::from(*place)));
        if let Some(lead) = lead {
            *(if first { &mut lead.first } else { &mut lead.later }) += 1;
        }
    }
    row
}
