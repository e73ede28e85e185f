//! Messages, disk requests and facts in a few words.

use super::names::{Names, text, value};
use crate::disk::FIRST_SHARD;
use crate::world::node::{COMPACTOR, COORDINATOR, MEMBERSHIP};
use anser_machine::{DiskRequest, Fact, Feedback, FolderTrust, SlotName};
use anser_proto::client::{ClientReply, ClientRequest, ContextArg, Failure, GetRequest, Outcome, PutRequest};
use anser_proto::gossip::{Gossip, Rumour};
use anser_proto::replicate::{ReplicaReply, ReplicaRequest, Want};
use anser_proto::{Address, Body, Role};
use anser_storage::record;

/// What an actor is called.
pub(super) fn actor(place: usize) -> &'static str {
    match place {
        MEMBERSHIP => "membership",
        COORDINATOR => "coordinator",
        COMPACTOR => "compactor",
        FIRST_SHARD.. => "replica",
    }
}

/// The kind of a message, as stories name it.
pub(super) fn kind(body: &Body) -> &'static str {
    match body {
        Body::Gossip(gossip) => match gossip {
            Gossip::Probe { .. } => "Probe",
            Gossip::ProbeAck { .. } => "ProbeAck",
            Gossip::ProbeFor { .. } => "ProbeFor",
            Gossip::ProbeForAck { .. } => "ProbeForAck",
            Gossip::PushPull { .. } => "PushPull",
            Gossip::PushPullReply { .. } => "PushPullReply",
            Gossip::PullRing { .. } => "PullRing",
            Gossip::PushRing { .. } => "PushRing",
        },
        Body::Replicate(ReplicaRequest::MintVersion { .. }) => "MintVersion",
        Body::Replicate(ReplicaRequest::StoreState { .. }) => "StoreState",
        Body::Replicate(ReplicaRequest::ReadState { .. }) => "ReadState",
        Body::Replicate(ReplicaRequest::ReadPage { .. }) => "ReadPage",
        Body::Replicated(ReplicaReply::Minted { .. }) => "Minted",
        Body::Replicated(ReplicaReply::Durable) => "Durable",
        Body::Replicated(ReplicaReply::Held) => "Held",
        Body::Replicated(ReplicaReply::State { .. }) => "State",
        Body::Replicated(ReplicaReply::Digest { .. }) => "Digest",
        Body::Replicated(ReplicaReply::Page { .. }) => "Page",
        Body::ForwardPut(_) => "ForwardPut",
        Body::ForwardPutReply(_) => "ForwardPutReply",
        Body::Client(ClientRequest::Put(_)) => "Put",
        Body::Client(ClientRequest::Get(_)) => "Get",
        Body::Client(ClientRequest::DescribeRing | ClientRequest::DescribeCluster) => "Describe",
        Body::ClientReply(_) => "Reply",
        Body::Admin(_) | Body::AdminReply(_) => "Admin",
        Body::Refused(_) => "Refused",
    }
}

impl Names {
    /// An actor's address.
    pub fn address(&self, address: &Address) -> String {
        match address.role {
            Role::Session => format!("c{}", u64::from(address.slot) + 1),
            role => format!("{}.{}", self.id(&address.node), role.name()),
        }
    }

    /// A message, after its kind.
    pub fn body(&mut self, body: &Body) -> String {
        let what = match body {
            Body::Gossip(gossip) => self.gossip(gossip),
            Body::Replicate(request) => self.replicate(request),
            Body::Replicated(ReplicaReply::State { state, .. }) => self.encoded(state),
            Body::Replicated(ReplicaReply::Digest { digest, .. }) => format!("of {}", self.digest(*digest)),
            Body::Replicated(ReplicaReply::Page { entries, more }) => {
                format!("of {} keys{}", entries.len(), if *more { ", and there are more" } else { "" })
            }
            Body::ForwardPut(put) | Body::Client(ClientRequest::Put(put)) => self.put(put),
            Body::Client(ClientRequest::Get(get)) => get_words(get),
            Body::ClientReply(reply) | Body::ForwardPutReply(reply) => self.reply(reply),
            Body::Refused(refusal) => format!("{refusal:?}"),
            // What was minted is in the line of its append, or in those of the stores that follow.
            Body::Replicated(ReplicaReply::Minted { .. } | ReplicaReply::Durable | ReplicaReply::Held)
            | Body::Client(ClientRequest::DescribeRing | ClientRequest::DescribeCluster)
            | Body::Admin(_)
            | Body::AdminReply(_) => String::new(),
        };
        format!("{} {what}", kind(body)).trim_end().to_owned()
    }

    fn put(&mut self, put: &PutRequest) -> String {
        let mut words = format!("{} {} ({}", put.key, value(&put.body), self.request(&put.rid));
        match &put.context {
            ContextArg::Blind => {}
            ContextArg::Sibling => words.push_str(", as a sibling"),
            ContextArg::Token(token) => words.push_str(&format!(", with {}", self.token(token))),
        }
        if let Some(level) = put.level {
            words.push_str(&format!(", {level}"));
        }
        if put.retry {
            words.push_str(", again");
        }
        words + ")"
    }

    fn reply(&mut self, reply: &ClientReply) -> String {
        match &reply.outcome {
            Outcome::Put(put) => format!(
                "stored: durable at {} of {}, for {}; token {}",
                put.receipt.durable,
                put.receipt.replicas,
                put.receipt.level,
                self.token(&put.context)
            ),
            Outcome::Get(get) => {
                let values: Vec<String> = get.versions.iter().map(|shown| text(&shown.value)).collect();
                let found = if values.is_empty() { "not found".into() } else { values.join(" | ") };
                let (answered, replicas) = (get.receipt.answered, get.receipt.replicas);
                format!("{found}; {answered} of {replicas} answered; token {}", self.token(&get.context))
            }
            Outcome::Failed(failure) => failure_words(failure),
            Outcome::Ring(_) | Outcome::Cluster(_) => "described".into(),
        }
    }

    fn replicate(&mut self, request: &ReplicaRequest) -> String {
        match request {
            ReplicaRequest::MintVersion { key, write, .. } => {
                format!("{key} {} ({})", value(&write.body), self.request(&write.rid))
            }
            ReplicaRequest::StoreState { key, state, .. } => format!("{key} {}", self.encoded(state)),
            ReplicaRequest::ReadState { key, want: Want::Full, .. } => format!("{key}, whole"),
            ReplicaRequest::ReadState { key, want: Want::Digest, .. } => format!("{key}, its digest"),
            ReplicaRequest::ReadPage { partition, after, .. } => match after {
                Some(after) => format!("of partition {} after {}", partition.0, after.key),
                None => format!("of partition {}", partition.0),
            },
        }
    }

    fn gossip(&self, gossip: &Gossip) -> String {
        match gossip {
            Gossip::Probe { rumours, .. }
            | Gossip::ProbeAck { rumours, .. }
            | Gossip::PushPull { rumours }
            | Gossip::PushPullReply { rumours } => self.rumours(rumours),
            Gossip::ProbeFor { target, rumours } | Gossip::ProbeForAck { target, rumours } => {
                format!("{} {}", self.id(target), self.rumours(rumours))
            }
            Gossip::PullRing { have } => format!("after step {}", have.0),
            Gossip::PushRing { records } => format!("{} records", records.len()),
        }
    }

    fn rumours(&self, rumours: &[Rumour]) -> String {
        let word = |rumour: &Rumour| {
            format!("{} {} {}", self.id(&rumour.node), rumour.state.name(), rumour.incarnation)
        };
        format!("[{}]", rumours.iter().map(word).collect::<Vec<_>>().join(", "))
    }

    /// What an actor asks of the disk; none if that is not worth a line.
    pub fn request_to_disk(&mut self, request: &DiskRequest) -> Option<String> {
        Some(match request {
            DiskRequest::Append(log_record) => {
                let record = record::decode(&log_record.bytes).expect("a shard appends records");
                format!("appends {}", self.encoded(&record.state))
            }
            DiskRequest::Flush { frozen, through } => {
                format!("has a table written of {} keys, the log through {}", frozen.entries.len(), through.0)
            }
            DiskRequest::Fetch { table, block, count: 1, .. } => {
                format!("fetches block {block} of table {}", table.0)
            }
            DiskRequest::Fetch { table, block, count, .. } => {
                format!("fetches {count} blocks of table {} from block {block} on", table.0)
            }
            DiskRequest::Merge { inputs, .. } => format!("has {} tables merged", inputs.len()),
            DiskRequest::Wipe { group } => format!("has the tables of group {} dropped", group),
            DiskRequest::Recover => "has its log and tables read back".into(),
            DiskRequest::Save { slot: SlotName::Incarnation, .. } => "saves its new incarnation".into(),
            DiskRequest::Save { slot: SlotName::Copies, .. } => {
                "saves which copies are being refilled".into()
            }
            DiskRequest::Save { slot: SlotName::Ring | SlotName::Peers, .. } | DiskRequest::Load { .. } => {
                return None;
            }
        })
    }
}

fn get_words(get: &GetRequest) -> String {
    get.level.map_or_else(|| get.key.to_string(), |level| format!("{} ({level})", get.key))
}

fn failure_words(failure: &Failure) -> String {
    match failure {
        Failure::Unknown { acked, needed } => format!("unknown: {acked} of {needed} acknowledged"),
        Failure::Unavailable { needed, alive } => {
            format!("failed: unavailable, {alive} alive of {needed} needed")
        }
        other => format!("failed: {other:?}"),
    }
}

/// What the disk answers; none if that is not worth a line.
pub(super) fn feedback(feedback: &Feedback) -> Option<String> {
    Some(match feedback {
        Feedback::Durable { through } => format!("has synced the log through {}", through.0),
        Feedback::RecoveredTables { tables, damaged } if damaged.is_empty() => {
            format!("gives back {} tables", tables.len())
        }
        Feedback::RecoveredTables { tables, damaged } => {
            format!("gives back {} tables, those of {} groups are damaged", tables.len(), damaged.len())
        }
        Feedback::RecoveredLog { records, .. } => format!("gives back {} log records", records.len()),
        Feedback::Flushed { tables, .. } => {
            let ids: Vec<String> = tables.iter().map(|table| table.id.0.to_string()).collect();
            format!("has installed table {}", ids.join(", "))
        }
        Feedback::TablesReplaced { removed, added } => {
            format!("has {} tables in place of {}", added.len(), removed.len())
        }
        Feedback::Saved { slot: SlotName::Incarnation } => "has saved the incarnation".into(),
        Feedback::Saved { slot: SlotName::Copies } => "has saved which copies are being refilled".into(),
        Feedback::GroupDamaged { group } => format!("has damaged tables of group {}", group),
        Feedback::Wiped { group } => format!("has dropped the tables of group {}", group),
        Feedback::FetchFailed { .. } => "could not read a block".into(),
        Feedback::DiskFailed => "has failed".into(),
        Feedback::Fetched { .. }
        | Feedback::TableGone { .. }
        | Feedback::Merged { .. }
        | Feedback::Loaded { .. }
        | Feedback::Saved { slot: SlotName::Ring | SlotName::Peers } => return None,
    })
}

/// What a node's actors are told, but for beliefs; none if that is not worth a line.
pub(super) fn fact(fact: &Fact) -> Option<String> {
    match fact {
        Fact::RingAdopted(record) => Some(format!("is at step {}", record.step.0)),
        Fact::ShardChanged { shard, serving: true } => Some(format!("shard {shard} answers")),
        Fact::ShardChanged { shard, serving: false } => Some(format!("shard {shard} does not answer yet")),
        Fact::FolderJudged(FolderTrust::Sound) => Some("trusts its folder".to_owned()),
        Fact::FolderJudged(FolderTrust::Old { replaceable }) => Some(match replaceable {
            true => "has an old copy of its folder, which is to be set aside".to_owned(),
            false => "has an old copy of its folder".to_owned(),
        }),
        Fact::RoomChanged(room) => Some(format!("has room on its disk: {:?}", room.level)),
        Fact::CopiesChanged { shard, copies } if !copies.joining.is_empty() => {
            Some(format!("shard {shard} refills {} partitions", copies.joining.len()))
        }
        Fact::CopiesChanged { .. } => None,
        Fact::PeersChanged(_)
        | Fact::TablesChanged { .. }
        | Fact::LogGrown { .. }
        | Fact::PeerSeen { .. } => None,
    }
}
