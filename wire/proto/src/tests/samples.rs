//! One message of every variant, with its name. A new variant does not compile until it has a name here, and the golden test
//! fails until it has a sample.

use crate::admin::{AdminReply, AdminRequest, NodeDescription};
use crate::client::{
    ClientReply, ClientRequest, ClusterReply, ContextArg, Failure, GetReceipt, GetReply, GetRequest,
    MemberView, Outcome, PutReceipt, PutReply, PutRequest, RingReply, ShownVersion,
};
use crate::gossip::{Gossip, Heard, Mark, PeerState, Rumour, Trust};
use crate::replicate::{PageEntry, PagePlace, Place, ReplicaReply, ReplicaRequest, Want};
use crate::{Address, Body, Envelope, OpId, Refusal, Role, Tick};
use anser_model::ring::{DcName, NodeName, Weight, ZoneName};
use anser_model::state::{Seen, Write};
use anser_model::{
    Actor, Context, Dot, FolderId, Hlc, Key, KeyspaceId, KeyspaceName, Level, Life, Member, NodeId,
    PartitionId, Rid, Round, Step,
};
use bytes::Bytes;
use std::net::SocketAddr;

pub(super) fn node(id: u8) -> NodeId {
    NodeId([id; 16])
}

pub(super) fn envelope(body: Body) -> Envelope {
    Envelope {
        from: Address { node: node(1), role: Role::Coordinator, slot: 0 },
        to: Address { node: node(2), role: Role::Replica, slot: 300 },
        op: OpId { life: 7, seq: 70_000 },
        step: Step(3),
        deadline: Tick(2_500_000),
        body,
    }
}

fn v4() -> SocketAddr {
    "10.1.2.3:7400".parse().unwrap()
}

fn v6() -> SocketAddr {
    "[2001:db8::1]:7400".parse().unwrap()
}

fn place() -> Place {
    Place { keyspace: KeyspaceId(1), partition: PartitionId(300), round: Round(2) }
}

fn key() -> Key {
    Key::new(&b"key"[..]).unwrap()
}

fn rid() -> Rid {
    Rid { writer: 1 << 100, seq: 9 }
}

fn dot() -> Dot {
    Dot { actor: Actor { node: node(3), life: Life(u64::MAX) }, counter: 5 }
}

fn value() -> anser_model::Body {
    anser_model::Body::Value(Bytes::from_static(b"value"))
}

fn rumours() -> Vec<Rumour> {
    let states = [PeerState::Alive, PeerState::Suspect, PeerState::Dead];
    let rumour = |(state, id)| Rumour {
        node: node(id),
        address: if id == 4 { v6() } else { v4() },
        incarnation: 1000,
        state,
    };
    states.into_iter().zip(4..).map(rumour).collect()
}

fn write(body: anser_model::Body, seen: Seen) -> Write {
    Write { rid: rid(), issued: Hlc::from_ms(1), expires: Some(99), body, seen }
}

fn put(body: anser_model::Body, context: ContextArg) -> PutRequest {
    PutRequest {
        keyspace: KeyspaceName::new("default").unwrap(),
        key: key(),
        rid: rid(),
        issued: Hlc::from_ms(1),
        expires: None,
        body,
        context,
        level: Some(Level::Count(2)),
        retry: true,
    }
}

fn mark() -> Mark {
    Mark { folder: FolderId([9; 16]), records: 300, trust: Trust::Sound }
}

fn gossip() -> Vec<Body> {
    let all = [
        Gossip::Probe { rumours: rumours(), mark: Mark::default() },
        Gossip::ProbeAck { rumours: Vec::new(), mark: mark(), heard: Heard::Records(300) },
        Gossip::ProbeAck { rumours: rumours(), mark: mark(), heard: Heard::Replaced },
        Gossip::ProbeFor { target: node(5), rumours: rumours() },
        Gossip::ProbeForAck { target: node(5), rumours: Vec::new() },
        Gossip::PushPull { rumours: rumours() },
        Gossip::PushPullReply { rumours: Vec::new() },
        Gossip::PullRing { have: Step(1) },
        Gossip::PushRing { records: vec![Bytes::from_static(b"record"), Bytes::new()] },
    ];
    all.into_iter().map(Body::Gossip).collect()
}

fn page_place() -> PagePlace {
    PagePlace { keyspace: place().keyspace, key: key() }
}

fn page_entry() -> PageEntry {
    PageEntry { place: page_place(), state: Bytes::from_static(b"state") }
}

fn read_page(after: Option<PagePlace>) -> ReplicaRequest {
    ReplicaRequest::ReadPage { partition: place().partition, round: Round(2), after }
}

fn replicate() -> Vec<Body> {
    let mut context = Context::default();
    context.insert(&dot());
    let mint =
        |body, seen| ReplicaRequest::MintVersion { place: place(), key: key(), write: write(body, seen) };
    let requests = [
        mint(value(), Seen::Token { context, rids: vec![1, u64::MAX] }),
        mint(anser_model::Body::Tombstone, Seen::Present),
        mint(value(), Seen::Nothing),
        ReplicaRequest::StoreState { place: place(), key: key(), state: Bytes::from_static(b"state") },
        ReplicaRequest::ReadState { place: place(), key: key(), want: Want::Full },
        ReplicaRequest::ReadState { place: place(), key: key(), want: Want::Digest },
        read_page(None),
        read_page(Some(page_place())),
    ];
    let replies = [
        ReplicaReply::Minted { state: Bytes::from_static(b"state"), round: Round(2) },
        ReplicaReply::Durable,
        ReplicaReply::State { state: Bytes::new(), round: Round(0) },
        ReplicaReply::Digest { digest: u64::MAX, round: Round(2) },
        ReplicaReply::Page { entries: vec![page_entry()], more: true },
        ReplicaReply::Page { entries: Vec::new(), more: false },
    ];
    requests.into_iter().map(Body::Replicate).chain(replies.into_iter().map(Body::Replicated)).collect()
}

fn client_requests() -> Vec<Body> {
    let get = GetRequest { keyspace: KeyspaceName::new("default").unwrap(), key: key(), level: None };
    vec![
        Body::ForwardPut(put(value(), ContextArg::Blind)),
        Body::Client(ClientRequest::Put(put(value(), ContextArg::Blind))),
        Body::Client(ClientRequest::Put(put(anser_model::Body::Tombstone, ContextArg::Sibling))),
        Body::Client(ClientRequest::Put(put(value(), ContextArg::Token("AQID".into())))),
        Body::Client(ClientRequest::Get(get)),
        Body::Client(ClientRequest::DescribeRing),
        Body::Client(ClientRequest::DescribeCluster),
    ]
}

fn failures() -> Vec<Failure> {
    vec![
        Failure::UnknownKeyspace,
        Failure::UnmeetableLevel { asked: 5, there: 3 },
        Failure::BadContext("why".into()),
        Failure::ContextNeeded,
        Failure::ValueTooLarge { limit: 1 << 20 },
        Failure::TooManySiblings,
        Failure::BadClock { node_ms: 1 << 40 },
        Failure::TooOld,
        Failure::Overloaded,
        Failure::NotReady,
        Failure::Unavailable { needed: 2, alive: 1 },
        Failure::NotAllowed,
        Failure::Unknown { acked: 1, needed: 2 },
        Failure::DiskFull,
    ]
}

fn member_view() -> MemberView {
    MemberView {
        node: node(1),
        name: NodeName::new("n1").unwrap(),
        dc: DcName::new("dc1").unwrap(),
        zone: ZoneName::new("z1").unwrap(),
        weight: 100,
        address: Some(v4()),
        state: PeerState::Alive,
        incarnation: 3,
        replicas: 256,
    }
}

fn client_replies() -> Vec<Body> {
    let shown = ShownVersion {
        value: Bytes::from_static(b"value"),
        dot: dot(),
        written_at_ms: 1,
        expires_at_ms: Some(2),
    };
    let put = PutReceipt { replicas: 3, durable: 2, fallbacks: 0, step: Step(1), level: Level::Quorum };
    let get = GetReceipt { replicas: 3, answered: 2, fallbacks: 1, step: Step(1), level: Level::LocalQuorum };
    let cluster = ClusterReply {
        name: "prod".into(),
        id: "00".into(),
        seen_by: node(1),
        step: Step(1),
        partitions: 256,
        members: vec![member_view()],
    };
    let outcomes = [
        Outcome::Put(PutReply { context: "AQID".into(), receipt: put }),
        Outcome::Get(GetReply { versions: vec![shown], context: "AQID".into(), receipt: get }),
        Outcome::Ring(RingReply { record: Bytes::from_static(b"r"), addresses: vec![(node(1), v6())] }),
        Outcome::Cluster(cluster),
    ];
    let failed = failures().into_iter().map(Outcome::Failed);
    let reply = |outcome| ClientReply { clock: Hlc::from_ms(5), outcome };
    let mut all: Vec<Body> =
        outcomes.into_iter().chain(failed).map(|outcome| Body::ClientReply(reply(outcome))).collect();
    all.push(Body::ForwardPutReply(reply(Outcome::Failed(Failure::Overloaded))));
    all
}

fn admin() -> Vec<Body> {
    let description = NodeDescription {
        member: Member { node: node(1), folder: FolderId([2; 16]) },
        name: NodeName::new("n1").unwrap(),
        dc: DcName::new("dc1").unwrap(),
        zone: ZoneName::new("z1").unwrap(),
        weight: Weight::default(),
        address: v4(),
        genesis: None,
    };
    let found = AdminRequest::FoundCluster {
        record: Bytes::from_static(b"genesis"),
        addresses: vec![(node(1), v4())],
    };
    let replies = [
        AdminReply::Node(description),
        AdminReply::Founded,
        AdminReply::AlreadyFounded,
        AdminReply::BadGenesis,
    ];
    let mut all = vec![Body::Admin(AdminRequest::DescribeNode), Body::Admin(found)];
    all.extend(replies.into_iter().map(Body::AdminReply));
    all
}

fn refusals() -> Vec<Body> {
    let all = [
        Refusal::Busy,
        Refusal::NotSent,
        Refusal::NotAllowed,
        Refusal::StaleStep(Step(2)),
        Refusal::FutureStep(Step(3)),
        Refusal::StaleRound(Round(4)),
        Refusal::NotServing,
        Refusal::TooOld,
        Refusal::BadClock,
        Refusal::TooManySiblings,
        Refusal::DiskFailed,
        Refusal::Crashed,
        Refusal::DiskFull,
    ];
    all.into_iter().map(Body::Refused).collect()
}

/// A sample of every variant of everything that a body may hold.
pub(super) fn bodies() -> Vec<Body> {
    [gossip(), replicate(), client_requests(), client_replies(), admin(), refusals()].concat()
}

/// The variant, down to the last enum that tells one message from another.
pub(super) fn name(body: &Body) -> String {
    match body {
        Body::Gossip(gossip) => format!("gossip {}", gossip_name(gossip)),
        Body::Replicate(request) => match request {
            ReplicaRequest::MintVersion { write, .. } => match write.seen {
                Seen::Token { .. } => "replicate mint token".into(),
                Seen::Present => "replicate mint present".into(),
                Seen::Nothing => "replicate mint nothing".into(),
            },
            ReplicaRequest::StoreState { .. } => "replicate store".into(),
            ReplicaRequest::ReadState { want: Want::Full, .. } => "replicate read full".into(),
            ReplicaRequest::ReadState { want: Want::Digest, .. } => "replicate read digest".into(),
            ReplicaRequest::ReadPage { after: None, .. } => "replicate read first page".into(),
            ReplicaRequest::ReadPage { after: Some(_), .. } => "replicate read next page".into(),
        },
        Body::Replicated(reply) => match reply {
            ReplicaReply::Minted { .. } => "replicated minted".into(),
            ReplicaReply::Durable => "replicated durable".into(),
            ReplicaReply::State { .. } => "replicated state".into(),
            ReplicaReply::Digest { .. } => "replicated digest".into(),
            ReplicaReply::Page { more: true, .. } => "replicated page".into(),
            ReplicaReply::Page { more: false, .. } => "replicated last page".into(),
        },
        Body::ForwardPut(_) => "forward put".into(),
        Body::ForwardPutReply(_) => "forward put reply".into(),
        Body::Client(request) => match request {
            ClientRequest::Put(put) => match put.context {
                ContextArg::Blind => "client put blind".into(),
                ContextArg::Sibling => "client put sibling".into(),
                ContextArg::Token(_) => "client put token".into(),
            },
            ClientRequest::Get(_) => "client get".into(),
            ClientRequest::DescribeRing => "client describe ring".into(),
            ClientRequest::DescribeCluster => "client describe cluster".into(),
        },
        Body::ClientReply(reply) => match &reply.outcome {
            Outcome::Put(_) => "client reply put".into(),
            Outcome::Get(_) => "client reply get".into(),
            Outcome::Ring(_) => "client reply ring".into(),
            Outcome::Cluster(_) => "client reply cluster".into(),
            Outcome::Failed(failure) => format!("client reply failed {}", failure_name(failure)),
        },
        Body::Admin(AdminRequest::DescribeNode) => "admin describe node".into(),
        Body::Admin(AdminRequest::FoundCluster { .. }) => "admin found cluster".into(),
        Body::AdminReply(reply) => match reply {
            AdminReply::Node(_) => "admin reply node".into(),
            AdminReply::Founded => "admin reply founded".into(),
            AdminReply::AlreadyFounded => "admin reply already founded".into(),
            AdminReply::BadGenesis => "admin reply bad genesis".into(),
        },
        Body::Refused(refusal) => format!("refused {}", refusal_name(refusal)),
    }
}

fn gossip_name(gossip: &Gossip) -> &'static str {
    match gossip {
        Gossip::Probe { .. } => "probe",
        Gossip::ProbeAck { .. } => "probe ack",
        Gossip::ProbeFor { .. } => "probe for",
        Gossip::ProbeForAck { .. } => "probe for ack",
        Gossip::PushPull { .. } => "push pull",
        Gossip::PushPullReply { .. } => "push pull reply",
        Gossip::PullRing { .. } => "pull ring",
        Gossip::PushRing { .. } => "push ring",
    }
}

fn failure_name(failure: &Failure) -> &'static str {
    match failure {
        Failure::UnknownKeyspace => "unknown keyspace",
        Failure::UnmeetableLevel { .. } => "unmeetable level",
        Failure::BadContext(_) => "bad context",
        Failure::ContextNeeded => "context needed",
        Failure::ValueTooLarge { .. } => "value too large",
        Failure::TooManySiblings => "too many siblings",
        Failure::BadClock { .. } => "bad clock",
        Failure::TooOld => "too old",
        Failure::Overloaded => "overloaded",
        Failure::NotReady => "not ready",
        Failure::Unavailable { .. } => "unavailable",
        Failure::NotAllowed => "not allowed",
        Failure::Unknown { .. } => "unknown",
        Failure::DiskFull => "disk full",
    }
}

fn refusal_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Busy => "busy",
        Refusal::NotSent => "not sent",
        Refusal::NotAllowed => "not allowed",
        Refusal::StaleStep(_) => "stale step",
        Refusal::FutureStep(_) => "future step",
        Refusal::StaleRound(_) => "stale round",
        Refusal::NotServing => "not serving",
        Refusal::TooOld => "too old",
        Refusal::BadClock => "bad clock",
        Refusal::TooManySiblings => "too many siblings",
        Refusal::DiskFailed => "disk failed",
        Refusal::Crashed => "crashed",
        Refusal::DiskFull => "disk full",
    }
}
