//! After healing and a full pass of reads at level all, the replicas of a key show the same: equal digests of what they hold
//! durably. (Until anti-entropy does it without readers.)

use crate::truth::Truth;

/// Judges one key.
pub(crate) fn check(truth: &Truth, slot: usize) -> Result<(), String> {
    let digests: Vec<(usize, u64)> = truth
        .replicas(slot)
        .into_iter()
        .map(|node| (node, truth.copies[node].durable(slot).digest()))
        .collect();
    if digests.windows(2).all(|pair| pair[0].1 == pair[1].1) {
        Ok(())
    } else {
        Err(format!(
            "key {} of keyspace {}: the digests are {digests:?}",
            truth.slots[slot].key, truth.slots[slot].keyspace_name
        ))
    }
}
