//! Toy machines under the host.
use anser_model::{NodeId, Step};
use anser_proto::{Address, Body, Envelope, OpId, Role, Tick};
pub(crate) fn reply_of(body: Body) -> Envelope {
    let at = Address { node: NodeId([0; 16]), role: Role::Coordinator, slot: 0 };
    Envelope { from: at, to: at, op: OpId::default(), step: Step(0), deadline: Tick(u64::MAX), body }
}
pub(crate) fn request(seq: u64, key: &str) -> Envelope {
    let _ = (seq, key);
    reply_of(Body::Client(anser_proto::client::ClientRequest::DescribeRing))
}
