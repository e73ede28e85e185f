//! Frames of a put of 100 bytes and of its replicate, and the key state inside: what every hop of a write pays.

use crate::sample::{self, KEYSPACE};
use anser_model::{KeyState, KeyspaceName, PartitionId, Round, Step};
use anser_proto::client::{ClientRequest, ContextArg, PutRequest};
use anser_proto::frame::{self, LENGTH_BYTES};
use anser_proto::replicate::{Place, ReplicaRequest};
use anser_proto::{Address, Body, Envelope, OpId, Role, Tick};
use bytes::BytesMut;
use criterion::{Criterion, Throughput};
use std::hint::black_box;

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for (name, envelope) in [("put", put()), ("replicate", replicate())] {
        let mut out = BytesMut::with_capacity(4096);
        frame::encode(&envelope, Tick(0), &mut out).unwrap();
        let content = out.split().freeze().slice(LENGTH_BYTES..);
        group.throughput(Throughput::Bytes((content.len() + LENGTH_BYTES) as u64));
        group.bench_function(format!("encode {name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                frame::encode(black_box(&envelope), Tick(0), &mut out).unwrap();
            });
        });
        group.bench_function(format!("decode {name}"), |bencher| {
            let (from, me) = (envelope.from.node, envelope.to.node);
            bencher.iter(|| frame::decode(black_box(&content), from, me, Tick(0)).unwrap());
        });
    }
    let state = sample::state(0);
    let bytes = state.encode();
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode state", |bencher| bencher.iter(|| black_box(&state).encode()));
    group.bench_function("decode state", |bencher| {
        bencher.iter(|| KeyState::decode(black_box(&bytes)).unwrap());
    });
    group.finish();
}

fn put() -> Envelope {
    let request = PutRequest {
        keyspace: KeyspaceName::default(),
        key: sample::key(1),
        rid: sample::rid(1),
        issued: sample::issued(1),
        expires: None,
        body: anser_model::Body::Value(sample::value()),
        context: ContextArg::Blind,
        level: None,
        retry: false,
    };
    envelope(Role::Session, Role::Coordinator, Body::Client(ClientRequest::Put(request)))
}

fn replicate() -> Envelope {
    let request = ReplicaRequest::StoreState {
        place: Place { keyspace: KEYSPACE, partition: PartitionId(200), round: Round(0) },
        key: sample::key(1),
        state: sample::state(0).encode(),
    };
    envelope(Role::Coordinator, Role::Replica, Body::Replicate(request))
}

fn envelope(from: Role, to: Role, body: Body) -> Envelope {
    Envelope {
        from: Address { node: sample::node(0), role: from, slot: 1 },
        to: Address { node: sample::node(1), role: to, slot: 200 },
        op: OpId { life: 1, seq: 1_000_000 },
        step: Step(1),
        deadline: Tick(2_000_000),
        body,
    }
}
