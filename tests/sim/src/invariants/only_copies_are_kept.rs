//! The only copy of a partition is never dropped, whatever its tables look like: an operator may still read them.

use crate::truth::Truth;
use anser_machine::Group;
use anser_storage::partitions_of;

/// Judges the dropping of a group's tables at a node.
pub(crate) fn check(truth: &Truth, node: usize, group: Group) -> Result<(), String> {
    match partitions_of(group).find(|partition| truth.is_alone(node, *partition)) {
        None => Ok(()),
        Some(partition) => {
            Err(format!("the only copy of partition {}, at node {node}, is dropped", partition.0))
        }
    }
}
