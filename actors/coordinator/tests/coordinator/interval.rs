//! Puts in a keyspace that is acknowledged from memory: what counts, and what the receipt calls durable.

use crate::rig::*;
use anser_machine::{Event, Fact};
use anser_model::Step;
use anser_model::ring::Durability;
use anser_proto::Envelope;
use anser_proto::client::{Outcome, PutReceipt, PutRequest};

fn receipt(outcome: Outcome) -> PutReceipt {
    match outcome {
        Outcome::Put(reply) => reply.receipt,
        other => panic!("not put: {other:?}"),
    }
}

/// A put of a keyspace, minted at node 1, and the requests that followed.
fn minted_in(rig: &mut Rig, keyspace: &str) -> (Envelope, Vec<Envelope>) {
    let request = PutRequest { keyspace: name_of(keyspace), ..put_minted_by(true) };
    let mint = rig.put(request.clone()).remove(0);
    let stores = rig.minted(&mint, &minted(&request));
    assert_eq!(stores.len(), 2);
    (mint, stores)
}

#[test]
fn copies_that_hold_it_in_memory_count_and_are_not_called_durable() {
    let mut rig = Rig::new();
    let (mint, stores) = minted_in(&mut rig, "quick");
    assert!(rig.held(&mint).is_empty());
    assert_eq!(receipt(outcome(&rig.held(&stores[0]))).durable, 0);

    let (mint, stores) = minted_in(&mut rig, "quick");
    assert!(rig.durable(&stores[1]).is_empty(), "one is not enough");
    assert_eq!(receipt(outcome(&rig.held(&mint))).durable, 1);
    assert!(rig.held(&stores[0]).is_empty(), "late");
}

#[test]
fn they_count_in_no_other_keyspace() {
    let mut rig = Rig::new();
    for keyspace in ["default", "strict"] {
        let (mint, stores) = minted_in(&mut rig, keyspace);
        assert!(rig.held(&mint).is_empty() && rig.held(&stores[0]).is_empty(), "{keyspace}");
        assert!(rig.held(&stores[1]).is_empty(), "{keyspace}");
        assert!(rig.durable(&stores[1]).is_empty(), "{keyspace}");
        assert_eq!(receipt(outcome(&rig.durable(&mint))).durable, 2);
    }
}

#[test]
fn a_keyspace_that_asks_for_the_disk_from_now_on_counts_memory_no_more() {
    let mut rig = Rig::new();
    let (mint, stores) = minted_in(&mut rig, "quick");
    rig.held(&mint);
    let mut next = (*rig.record).clone();
    next.step = Step(2);
    next.keyspaces.iter_mut().for_each(|keyspace| keyspace.durability = Durability::Fsync);
    let again = rig.handle(Event::Fact(Fact::RingAdopted(next.into())));
    assert_eq!(again.len(), 3, "the own copy too");
    assert!(rig.durable(&stores[0]).is_empty());
    assert_eq!(receipt(outcome(&rig.durable(&again[0]))).durable, 2);
}
