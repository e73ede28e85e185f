//! What each metric means, as the metrics page tells it.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Counters: name and meaning.
const COUNTERS: [(&str, &str); 12] = [
    ("anser_actor_messages_total", "Messages that an actor has handled, by their kind"),
    ("anser_actor_restarts_total", "Restarts of an actor's machine, by their cause"),
    ("anser_requests_total", "Client requests that this node answered, by operation, keyspace and outcome"),
    ("anser_quorum_shortfalls_total", "Client requests whose consistency level was not met in time"),
    ("anser_read_repairs_total", "Stale replicas that a read sent the merged state to"),
    ("anser_retries_known_total", "Retried writes that a replica recognised by their request id"),
    ("anser_body_clashes_total", "Writes under one request id with different bodies: a defect in a client"),
    ("anser_bloom_total", "Bloom filter look-ups, by whether they ruled the table out"),
    ("anser_cache_total", "Block cache look-ups, by result"),
    ("anser_compaction_bytes_total", "Bytes that merges of tables have written"),
    ("anser_wire_bytes_total", "Bytes sent to and received from other nodes and clients, by class"),
    ("anser_wire_rejected_total", "Connections that were refused, by reason"),
];

/// Gauges: name and meaning.
const GAUGES: [(&str, &str); 12] = [
    ("anser_actor_mailbox_depth", "Messages that wait in an actor's mailbox"),
    ("anser_actor_up", "Whether an actor works (1) or has given up (0)"),
    ("anser_members", "Members of the cluster as this node sees them, by data centre and state"),
    ("anser_ring_step", "The newest step of the ring chain that this node has adopted"),
    ("anser_partitions", "Partition replicas of this node, by state"),
    ("anser_memtable_bytes", "Bytes in memtables"),
    ("anser_tree_bytes", "Bytes of the copies' hash trees in memory"),
    ("anser_sstables", "Tables on disk"),
    ("anser_disk_free_bytes", "Bytes free on the data folder's disk"),
    ("anser_disk_bytes", "Bytes of the store's files"),
    ("anser_wire_rtt_seconds", "Round-trip time to a peer"),
    ("anser_certificate_expiry_seconds", "When this node's certificate expires, in seconds since 1970"),
];

/// Histograms: name and meaning.
const HISTOGRAMS: [(&str, &str); 6] = [
    ("anser_actor_handle_seconds", "Time of one step of an actor's machine"),
    ("anser_actor_drain_seconds", "Time for which an actor held its thread without a break"),
    ("anser_request_seconds", "Time from a client request's arrival to its answer"),
    ("anser_siblings", "Versions that a read found"),
    ("anser_commit_seconds", "Time of one group commit, its sync included"),
    ("anser_commit_batch", "Records in one group commit"),
];

/// Gives every metric its help text.
pub(super) fn describe() {
    for (name, meaning) in COUNTERS {
        describe_counter!(name, meaning);
    }
    for (name, meaning) in GAUGES {
        describe_gauge!(name, meaning);
    }
    for (name, meaning) in HISTOGRAMS {
        describe_histogram!(name, meaning);
    }
}
