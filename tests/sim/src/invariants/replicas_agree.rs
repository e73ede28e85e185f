//! After healing and a full pass of reads at level all, the replicas of a key show the same, to the byte: equal live
//! versions in what they hold durably. (Until anti-entropy does it without readers. What is settled may be remembered longer
//! at one than at another.)

use crate::truth::Truth;

/// Judges one key.
pub(crate) fn check(truth: &Truth, slot: usize) -> Result<(), String> {
    let mut replicas = truth.whole_replicas(slot).map(|node| (node, truth.copies[node].durable(slot)));
    let Some((first, state)) = replicas.next() else { return Ok(()) };
    match replicas.find(|(_, other)| other.live() != state.live() || other.digest() != state.digest()) {
        None => Ok(()),
        Some((other, _)) => Err(format!(
            "key {} of keyspace {}: nodes {first} and {other} hold {:?}",
            truth.slots[slot].key,
            truth.slots[slot].keyspace_name,
            [first, other].map(|node| truth.copies[node].durable(slot).context())
        )),
    }
}
