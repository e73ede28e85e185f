//! The JSON documents of the data commands, as scripts rely on them: fields are added, never renamed.

use anser_client::{ClusterReply, Found, GetReceipt, MemberView, PutReceipt, ShownVersion, Written};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// `put --json` and `del --json`.
#[derive(Debug, Serialize)]
pub struct WrittenJson {
    context: String,
    receipt: PutReceiptJson,
}

#[derive(Debug, Serialize)]
struct PutReceiptJson {
    replicas: u8,
    durable: u8,
    fallbacks: u8,
    step: u64,
    consistency: String,
}

/// `get --json`.
#[derive(Debug, Serialize)]
pub struct FoundJson {
    keyspace: String,
    key: String,
    found: bool,
    versions: Vec<VersionJson>,
    context: String,
    receipt: GetReceiptJson,
}

#[derive(Debug, Serialize)]
struct GetReceiptJson {
    replicas: u8,
    answered: u8,
    fallbacks: u8,
    step: u64,
    consistency: String,
}

#[derive(Debug, Serialize)]
struct VersionJson {
    value: Option<String>,
    value_base64: String,
    content_type: &'static str,
    written_at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    dot: String,
}

/// `cluster status --json`.
#[derive(Debug, Serialize)]
pub struct StatusJson {
    name: String,
    id: String,
    seen_by: String,
    step: u64,
    partitions: u16,
    members: Vec<MemberJson>,
}

#[derive(Debug, Serialize)]
struct MemberJson {
    name: String,
    node: String,
    dc: String,
    zone: String,
    weight: u16,
    address: Option<String>,
    state: &'static str,
    incarnation: u64,
    replicas: u32,
}

impl From<Written> for WrittenJson {
    fn from(written: Written) -> WrittenJson {
        let PutReceipt { replicas, durable, fallbacks, step, level } = written.receipt;
        let consistency = level.to_string();
        let receipt = PutReceiptJson { replicas, durable, fallbacks, step: step.0, consistency };
        WrittenJson { context: written.context, receipt }
    }
}

impl FoundJson {
    /// What was found under a key.
    pub fn new(keyspace: &str, key: &[u8], found: &Found) -> FoundJson {
        let GetReceipt { replicas, answered, fallbacks, step, level } = found.receipt;
        let consistency = level.to_string();
        FoundJson {
            keyspace: keyspace.to_owned(),
            key: String::from_utf8_lossy(key).into_owned(),
            found: !found.versions.is_empty(),
            versions: found.versions.iter().map(VersionJson::from).collect(),
            context: found.context.clone(),
            receipt: GetReceiptJson { replicas, answered, fallbacks, step: step.0, consistency },
        }
    }
}

impl From<&ShownVersion> for VersionJson {
    fn from(version: &ShownVersion) -> VersionJson {
        let text = std::str::from_utf8(&version.value).ok().map(str::to_owned);
        VersionJson {
            content_type: if text.is_some() { "text/plain" } else { "application/octet-stream" },
            value: text,
            value_base64: STANDARD.encode(&version.value),
            written_at_ms: version.written_at_ms,
            expires_at_ms: version.expires_at_ms,
            dot: version.dot.to_string(),
        }
    }
}

impl From<&ClusterReply> for StatusJson {
    fn from(cluster: &ClusterReply) -> StatusJson {
        StatusJson {
            name: cluster.name.clone(),
            id: cluster.id.clone(),
            seen_by: cluster.seen_by.to_string(),
            step: cluster.step.0,
            partitions: cluster.partitions,
            members: cluster.members.iter().map(MemberJson::from).collect(),
        }
    }
}

impl From<&MemberView> for MemberJson {
    fn from(member: &MemberView) -> MemberJson {
        MemberJson {
            name: member.name.to_string(),
            node: member.node.to_string(),
            dc: member.dc.to_string(),
            zone: member.zone.to_string(),
            weight: member.weight,
            address: member.address.map(|address| address.to_string()),
            state: member.state.name(),
            incarnation: member.incarnation,
            replicas: member.replicas,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_client::Level;
    use anser_model::{Actor, Dot, Life, NodeId, Step};
    use bytes::Bytes;

    fn version(value: &'static [u8]) -> ShownVersion {
        let dot = Dot { actor: Actor { node: NodeId([0xab; 16]), life: Life(7) }, counter: 3 };
        ShownVersion { value: Bytes::from_static(value), dot, written_at_ms: 5, expires_at_ms: None }
    }

    fn found(versions: Vec<ShownVersion>) -> Found {
        let receipt =
            GetReceipt { replicas: 3, answered: 2, fallbacks: 0, step: Step(1), level: Level::Quorum };
        Found { versions, context: "tok".to_owned(), receipt }
    }

    #[test]
    fn a_value_is_shown_as_text_and_as_base64() {
        let json = serde_json::to_string(&FoundJson::new("default", b"k", &found(vec![version(b"hi")])));
        assert_eq!(
            json.unwrap(),
            r#"{"keyspace":"default","key":"k","found":true,"versions":[{"value":"hi","value_base64":"aGk=","content_type":"text/plain","written_at_ms":5,"dot":"abababab.0000000000000007.3"}],"context":"tok","receipt":{"replicas":3,"answered":2,"fallbacks":0,"step":1,"consistency":"quorum"}}"#
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_base64_only() {
        let json = serde_json::to_value(FoundJson::new("default", b"k", &found(vec![version(&[0xff])])));
        let json = json.unwrap();
        assert_eq!(json["versions"][0]["value"], serde_json::Value::Null);
        assert_eq!(json["versions"][0]["value_base64"], "/w==");
    }

    #[test]
    fn a_key_that_is_not_there_has_no_versions() {
        let json = serde_json::to_value(FoundJson::new("default", b"k", &found(vec![]))).unwrap();
        assert_eq!(json["found"], false);
        assert_eq!(json["versions"], serde_json::json!([]));
    }

    #[test]
    fn a_receipt_counts_fallbacks_apart() {
        let receipt =
            PutReceipt { replicas: 3, durable: 2, fallbacks: 1, step: Step(4), level: Level::Count(2) };
        let json = serde_json::to_string(&WrittenJson::from(Written { context: "tok".to_owned(), receipt }));
        assert_eq!(
            json.unwrap(),
            r#"{"context":"tok","receipt":{"replicas":3,"durable":2,"fallbacks":1,"step":4,"consistency":"two"}}"#
        );
    }
}
