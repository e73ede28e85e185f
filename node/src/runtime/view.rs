//! What the operator's pages show of this node.

use super::awaited::Awaited;
use super::switchboard::Switchboard;
use crate::http::View;
use anser_machine::FolderTrust;
use anser_model::NodeId;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The pages' view of a node.
pub(super) struct NodeView {
    pub(super) me: NodeId,
    pub(super) name: String,
    /// Where it tells others to reach it.
    pub(super) address: SocketAddr,
    pub(super) switchboard: Arc<Switchboard>,
    /// Whether it was told to stop.
    pub(super) draining: AtomicBool,
    /// Where data folders are that were set aside, at this start or an earlier one, since they could not be trusted.
    pub(super) set_aside: Vec<PathBuf>,
    /// When its certificate expires, in seconds since 1970.
    pub(super) certificate_expires_at_s: i64,
}

impl View for NodeView {
    fn live(&self) -> Result<(), String> {
        let directory = self.switchboard.directory().ok_or("it is starting")?;
        match directory.all().find(|handle| handle.status().stuck) {
            Some(handle) => Err(format!("actor {} {} is stuck", handle.name(), handle.slot())),
            None => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        self.live()?;
        if self.draining.load(Ordering::Relaxed) {
            return Err("it is stopping".to_owned());
        }
        let directory = self.switchboard.directory().ok_or("it is starting")?;
        if let Some(handle) = directory.all().find(|handle| !handle.status().up) {
            return Err(format!("actor {} {} is down", handle.name(), handle.slot()));
        }
        let known = self.switchboard.peers().known();
        if known.record.is_none() {
            return Err(unknown_cluster(&self.set_aside));
        }
        match known.folder {
            Some(FolderTrust::Sound) => {}
            Some(FolderTrust::Old { .. }) => {
                return Err("its data folder is an older copy of itself, as other members remember; it is set aside and \
                            refilled once every other member is up and whole"
                    .to_owned());
            }
            None => return Err("it asks the other members how far its data folder was".to_owned()),
        }
        let shards = directory.replicas.len();
        let serving = known.serving.values().filter(|serving| **serving).count();
        if serving < shards {
            return Err(format!(
                "{serving} of {shards} shards serve; the others read their logs back, or failed"
            ));
        }
        let (copies, joining, alone) = known.copies();
        if copies == 0 && joining > alone {
            let awaited = Awaited::of(&known).map(|awaited| format!("; {}", awaited.words()));
            return Err(format!(
                "its copies are refilled from other replicas: {joining} partitions are left{}",
                awaited.unwrap_or_default()
            ));
        }
        if alone > 0 {
            return Err(format!(
                "{alone} partitions have no other replica to be refilled from; put back the data folder that held them"
            ));
        }
        Ok(())
    }

    fn notes(&self) -> Value {
        let known = self.switchboard.peers().known();
        let (serving, joining, alone) = known.copies();
        let serves = known.folder == Some(FolderTrust::Sound);
        let serving = if serves { serving } else { 0 };
        json!({
            "partitions": { "serving": serving, "joining": joining, "alone": alone },
            "waiting": Awaited::of(&known).map(|awaited| awaited.document()),
            "set_aside": self.set_aside.iter().map(|aside| aside.display().to_string()).collect::<Vec<_>>(),
        })
    }

    fn cluster(&self) -> Value {
        let known = self.switchboard.peers().known();
        let Some(record) = known.record else {
            return json!({ "node": self.name, "id": self.me.to_string(), "founded": false });
        };
        let members: Vec<Value> = record
            .roster
            .iter()
            .map(|entry| {
                let node = entry.member.node;
                let peer = known.peers.get(&node);
                let state =
                    if node == self.me { "alive" } else { peer.map_or("dead", |peer| peer.state.name()) };
                let address =
                    if node == self.me { Some(self.address) } else { peer.map(|peer| peer.address) };
                json!({
                    "node": entry.name.as_str(), "id": node.to_string(), "dc": entry.dc.as_str(),
                    "zone": entry.zone.as_str(), "weight": entry.weight.get(), "state": state,
                    "address": address, "incarnation": peer.map(|peer| peer.incarnation),
                })
            })
            .collect();
        json!({
            "node": self.name, "id": self.me.to_string(), "founded": true, "cluster": record.cluster_name,
            "cluster_id": record.cluster.to_string(), "step": record.step.0, "partitions": record.partitions,
            "members": members, "this_node": self.notes(),
        })
    }

    fn actors(&self) -> Value {
        let Some(directory) = self.switchboard.directory() else { return json!([]) };
        let actors: Vec<Value> = directory
            .all()
            .map(|handle| {
                let status = handle.status();
                let state = match (status.stuck, status.up) {
                    (true, _) => "stuck",
                    (false, true) => "up",
                    (false, false) => "down",
                };
                json!({
                    "actor": handle.name(), "slot": handle.slot(), "state": state,
                    "mailbox_depth": status.mailbox_depth, "restarts": status.restarts, "last_panic": status.last_panic,
                })
            })
            .collect();
        json!(actors)
    }

    #[cfg(feature = "faults")]
    fn inject_panic(&self, actor: &str, slot: u32) -> bool {
        let mut actors = self.switchboard.directory().into_iter().flat_map(|directory| directory.all());
        let found = actors.find(|handle| handle.name() == actor && handle.slot() == slot);
        found.map(anser_host::Handle::inject_panic).is_some()
    }

    #[cfg(feature = "faults")]
    fn slow_disk(&self, delay_ms: u64) {
        self.switchboard.slow_disk(delay_ms);
    }

    fn refresh_metrics(&self) {
        metrics::gauge!("anser_certificate_expiry_seconds").set(self.certificate_expires_at_s as f64);
        self.switchboard.peers().refresh_metrics();
        let known = self.switchboard.peers().known();
        let Some(record) = &known.record else { return };
        let held: usize = record
            .keyspaces
            .iter()
            .take(1)
            .map(|keyspace| {
                let placement = record.read_placement();
                (0..record.partitions)
                    .filter(|partition| {
                        let partition = anser_model::PartitionId(*partition);
                        placement.replicas(&keyspace.replicas, partition).any(|member| member.node == self.me)
                    })
                    .count()
            })
            .sum();
        let all_serve = known.serving.values().all(|serving| *serving) && !known.serving.is_empty();
        let (_, joining, _) = known.copies();
        let (serving, starting, joining) =
            if all_serve { (held.saturating_sub(joining), 0, joining) } else { (0, held, 0) };
        metrics::gauge!("anser_partitions", "state" => "joining").set(joining as f64);
        metrics::gauge!("anser_partitions", "state" => "serving").set(serving as f64);
        metrics::gauge!("anser_partitions", "state" => "starting").set(starting as f64);
    }
}

/// Why a node whose data folder knows of no cluster does not serve.
fn unknown_cluster(set_aside: &[PathBuf]) -> String {
    let waits = "it waits to hear of its cluster from its seeds ([cluster] seeds)";
    let folders: Vec<String> = set_aside.iter().map(|aside| aside.display().to_string()).collect();
    if folders.is_empty() {
        format!(
            "it is in no cluster yet: run `anser init`; if it was in one, its data folder is empty, and {waits}"
        )
    } else {
        format!(
            "its data folder is a new one, since what was there could not be trusted and is {} now; {waits}",
            folders.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_a_folder_set_aside_is_not_told_to_be_founded() {
        assert!(
            unknown_cluster(&[]).starts_with("it is in no cluster yet: run `anser init`; if it was in one")
        );
        let reason = unknown_cluster(&["/d/data.aside-1".into(), "/d/data.aside-2".into()]);
        assert!(reason.contains("is /d/data.aside-1, /d/data.aside-2 now"), "{reason}");
        assert!(!reason.contains("init"), "{reason}");
    }
}
