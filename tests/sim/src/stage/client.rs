//! The clients of a story: each attempt is one request; what comes back is told, and nothing is tried again by itself.

use super::{Stage, Telling};
use crate::schedule::MS;
use crate::world::Job;
use crate::world::node::true_wall_ms;
use anser_model::{Body as Value, Hlc, Key, KeyspaceId, Level, NodeId, PartitionId, Rid, Step, minter_order};
use anser_proto::client::{ClientRequest, ContextArg, GetRequest, PutRequest};
use anser_proto::frame::{self, LENGTH_BYTES};
use anser_proto::{Address, Body, Envelope, OpId, Role, Tick};
use bytes::BytesMut;

/// How long a client waits for its answer unless it says otherwise.
const PATIENCE_MS: u64 = 1000;

/// One client.
#[derive(Debug)]
pub(super) struct Player {
    writer: u128,
    seq: u64,
    writes: u64,
    asks: u64,
    clock: Hlc,
    /// Its last write and the node that was asked, for another attempt.
    last: Option<(PutRequest, usize)>,
}

/// What a request may be given beside its key.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub at: Option<usize>,
    pub minter: Option<usize>,
    pub context: Option<ContextArg>,
    pub level: Option<Level>,
    pub keyspace: Option<String>,
    pub within_ms: Option<u64>,
}

/// Where a key is.
pub(super) struct Where {
    pub keyspace: anser_model::KeyspaceName,
    pub id: KeyspaceId,
    pub partition: PartitionId,
    /// The places of its replicas.
    pub replicas: Vec<usize>,
}

impl Player {
    /// One that has done nothing.
    pub fn new(number: usize) -> Player {
        let writer = number as u128 + 1;
        Player { writer, seq: 0, writes: 0, asks: 0, clock: Hlc::default(), last: None }
    }
}

impl Stage {
    /// Where a key of a keyspace (the first, if none is named) is.
    pub(super) fn locate(&self, keyspace: Option<&str>, key: &Key) -> Result<Where, String> {
        let record = &self.world.truth.record;
        let mut keyspaces = record.keyspaces.iter();
        let known = keyspaces.find(|known| keyspace.is_none_or(|name| known.name.as_str() == name));
        let known = known.ok_or("no such keyspace")?;
        let partition = record.partition_of(known.id, key);
        let sites = record.sites(record.read_placement(), &known.replicas, partition);
        let replicas = sites.iter().filter_map(|site| self.names.place_of(&site.node)).collect();
        Ok(Where { keyspace: known.name.clone(), id: known.id, partition, replicas })
    }

    /// A client writes. Its request's number is one with which the wanted replica is the first to mint.
    pub(super) fn put(&mut self, c: usize, key: Key, body: Value, extras: Extras) -> Result<(), String> {
        let found = self.locate(extras.keyspace.as_deref(), &key)?;
        let at = extras.at.unwrap_or_else(|| self.names.nodes()[0]);
        let own = found.replicas.iter().copied().find(|n| *n == at);
        let minter = extras.minter.or(own).unwrap_or(found.replicas[0]);
        let dc = &self.world.nodes[minter].entry.dc;
        let near: Vec<NodeId> = found
            .replicas
            .iter()
            .map(|n| &self.world.nodes[*n])
            .filter(|node| node.entry.dc == *dc)
            .map(|node| node.id())
            .collect();
        let wanted = self.world.nodes[minter].id();
        if !near.contains(&wanted) {
            return Err("the minter is no replica of the key".into());
        }
        let wall_ms = true_wall_ms(self.world.now());
        let player = &mut self.players[c];
        loop {
            player.seq += 1;
            let rid = Rid { writer: player.writer, seq: player.seq };
            if minter_order(rid, &near).first() == Some(&wanted) {
                break;
            }
        }
        player.writes += 1;
        player.clock = player.clock.tick(wall_ms);
        let rid = Rid { writer: player.writer, seq: player.seq };
        let put = PutRequest {
            keyspace: found.keyspace,
            key,
            rid,
            issued: player.clock,
            expires: None,
            body,
            context: extras.context.unwrap_or(ContextArg::Blind),
            level: extras.level,
            retry: false,
        };
        self.names.christen(rid, format!("c{}.{}", c + 1, self.players[c].writes));
        self.players[c].last = Some((put.clone(), at));
        self.ask(c, at, ClientRequest::Put(put), extras.within_ms);
        Ok(())
    }

    /// A client tries its last write again.
    pub(super) fn retry(&mut self, c: usize, extras: &Extras) -> Result<(), String> {
        let (put, at) = self.players[c].last.clone().ok_or("it has written nothing")?;
        let put = PutRequest { retry: true, ..put };
        self.ask(c, extras.at.unwrap_or(at), ClientRequest::Put(put), extras.within_ms);
        Ok(())
    }

    /// A client reads.
    pub(super) fn get(&mut self, c: usize, key: Key, extras: &Extras) -> Result<(), String> {
        let found = self.locate(extras.keyspace.as_deref(), &key)?;
        let at = extras.at.unwrap_or_else(|| self.names.nodes()[0]);
        let get = GetRequest { keyspace: found.keyspace, key, level: extras.level };
        self.ask(c, at, ClientRequest::Get(get), extras.within_ms);
        Ok(())
    }

    fn ask(&mut self, c: usize, n: usize, request: ClientRequest, within_ms: Option<u64>) {
        let now = self.world.now();
        self.players[c].asks += 1;
        let (end, id) = (self.world.nodes.len() + c, self.world.nodes[n].id());
        let slot = u32::try_from(c).expect("few clients");
        let envelope = Envelope {
            from: Address { node: id, role: Role::Session, slot },
            to: Address { node: id, role: Role::Coordinator, slot: 0 },
            op: OpId { life: slot, seq: self.players[c].asks },
            step: Step(0),
            deadline: Tick(now + within_ms.unwrap_or(PATIENCE_MS) * MS),
            body: Body::Client(request),
        };
        let mark = self.mark_between(end, n, &envelope.body);
        let (from, to) = (self.names.address(&envelope.from), self.names.address(&envelope.to));
        let body = self.names.body(&envelope.body);
        self.line(Telling::Clients, format!("{from} -> {to} {body}{mark}"));
        let node = &self.world.nodes[n];
        if !node.up || self.world.network.is_cut(end, n) {
            return;
        }
        let mut buffer = BytesMut::new();
        frame::encode(&envelope, Tick(now), &mut buffer).expect("a request can be encoded");
        let bytes = buffer.freeze().slice(LENGTH_BYTES..);
        let boot = node.boot;
        self.world.schedule.after(MS / 10, Job::Frame { from: end, to: n, boot, bytes });
    }
}
