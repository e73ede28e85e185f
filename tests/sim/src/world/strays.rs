//! Requests that go astray: to a copy of another partition than the key's, at a node that does not hold the key, or for a page
//! of a copy that is being refilled itself.

use super::World;
use super::cell::Mail;
use super::node::SHARDS;
use crate::dice::Dice;
use crate::disk::FIRST_SHARD;
use crate::schedule::SECOND;
use anser_model::state::{Seen, Write};
use anser_model::{Body as Value, Hlc, KeyState, PartitionId, Rid, Round};
use anser_proto::replicate::{Place, ReplicaRequest, Want};
use anser_proto::{Address, Body, Envelope, OpId, Role};

/// The operations of strays are of this life, which no actor has.
pub(super) const STRAY_LIFE: u32 = u32::MAX;
/// The same for requests that are refused only as long as a copy is being refilled.
const EARLY_LIFE: u32 = u32::MAX - 1;

impl World {
    /// A request goes astray, to a node that runs.
    pub fn stray(&mut self, n: usize, dice: &mut Dice) {
        self.ask_early(n, dice);
        let slot = &self.truth.slots[dice.index(self.truth.slots.len())];
        let own = slot.partition();
        // Where the node holds the key, to another of its partitions.
        let partition = if slot.nodes.contains(&n) {
            let other = dice.between(1, u64::from(self.truth.record.partitions) - 1);
            PartitionId((own.0 + u16::try_from(other).expect("few")) % self.truth.record.partitions)
        } else {
            own
        };
        let place = Place { keyspace: slot.keyspace, partition, round: Round(0) };
        let key = slot.key.clone();
        let wall_ms = self.nodes[n].now(self.schedule.now()).wall_ms;
        let write = Write {
            rid: Rid { writer: dice.u128(), seq: 1 },
            issued: Hlc::from_ms(wall_ms),
            expires: None,
            body: Value::Tombstone,
            seen: Seen::Nothing,
        };
        let request = match dice.below(3) {
            0 => ReplicaRequest::MintVersion { place, key, write },
            1 => ReplicaRequest::StoreState { place, key, state: KeyState::default().encode() },
            _ => ReplicaRequest::ReadState { place, key, want: Want::Full },
        };
        let node = &self.nodes[n];
        let envelope = Envelope {
            from: Address { node: node.id(), role: Role::Coordinator, slot: 0 },
            to: Address { node: node.id(), role: Role::Replica, slot: u32::from(partition.0) },
            op: OpId { life: STRAY_LIFE, seq: dice.u64() },
            step: self.truth.record.step,
            deadline: node.tick(self.schedule.now() + SECOND),
            body: Body::Replicate(request),
        };
        self.post_stray(n, partition, envelope);
    }

    /// Another copy asks for a page of one that is being refilled, as if both had lost what they held.
    fn ask_early(&mut self, n: usize, dice: &mut Dice) {
        let lost: Vec<PartitionId> = self.truth.lost[n].keys().copied().collect();
        if lost.is_empty() {
            return;
        }
        let partition = lost[dice.index(lost.len())];
        let role = (Role::Replica, u32::from(partition.0));
        let other = &self.nodes[dice.index(self.nodes.len())];
        let envelope = Envelope {
            from: Address { node: other.id(), role: role.0, slot: role.1 },
            to: Address { node: self.nodes[n].id(), role: role.0, slot: role.1 },
            op: OpId { life: EARLY_LIFE, seq: dice.u64() },
            step: self.truth.record.step,
            deadline: self.nodes[n].tick(self.schedule.now() + SECOND),
            body: Body::Replicate(ReplicaRequest::ReadPage { partition, round: Round(0), after: None }),
        };
        self.post_stray(n, partition, envelope);
    }

    fn post_stray(&mut self, n: usize, partition: PartitionId, envelope: Envelope) {
        let actor = FIRST_SHARD + (u32::from(partition.0) % SHARDS) as usize;
        self.post(n, actor, Mail::Message(Box::new(envelope)));
    }
}
