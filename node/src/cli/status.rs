//! `cluster status`: the members, as one of them sees them.

use super::failure::Failure;
use super::json::StatusJson;
use super::{ClientArgs, output};
use anser_client::{Client, ClusterReply};

/// `anser cluster`.
#[derive(Debug, clap::Subcommand)]
pub enum ClusterCommand {
    /// The members and whether they seem alive, the ring's step and partitions
    Status(StatusArgs),
}

/// `anser cluster status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  anser cluster status
  anser cluster status --json | jq '.members[] | select(.state != \"alive\")'")]
pub struct StatusArgs {
    /// Print a JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

impl ClusterCommand {
    /// Runs it.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            ClusterCommand::Status(args) => args.run().await,
        }
    }
}

impl StatusArgs {
    async fn run(self) -> Result<(), Failure> {
        let describe = async |client: &Client| Ok(client.cluster().await?);
        let cluster = self.client.with(describe).await.map_err(|failure| failure.at("cluster status"))?;
        if self.json { output::json(&StatusJson::from(&cluster)) } else { output::line(&table(&cluster)) }
    }
}

/// A line on the cluster, and a table with a row a member.
fn table(cluster: &ClusterReply) -> String {
    let mut rows =
        vec![["NODE", "STATE", "DC", "ZONE", "ADDRESS", "WEIGHT", "REPLICAS", "ID"].map(str::to_owned)];
    rows.extend(cluster.members.iter().map(|member| {
        [
            member.name.to_string(),
            member.state.name().to_owned(),
            member.dc.to_string(),
            member.zone.to_string(),
            member.address.map_or_else(|| "?".to_owned(), |address| address.to_string()),
            member.weight.to_string(),
            member.replicas.to_string(),
            member.node.short(),
        ]
    }));
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let seen_by = cluster.members.iter().find(|member| member.node == cluster.seen_by);
    let mut text = format!(
        "cluster {} ({}), step {}, {} partitions, as {} sees it",
        cluster.name,
        cluster.id.get(..8).unwrap_or(&cluster.id),
        cluster.step.0,
        cluster.partitions,
        seen_by.map_or_else(|| cluster.seen_by.short(), |member| member.name.to_string()),
    );
    for row in &rows {
        let cells = row.iter().enumerate();
        let padded =
            cells.map(|(column, cell)| format!("{cell:<width$}", width = width(column).unwrap_or(0)));
        text.push('\n');
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_client::MemberView;
    use anser_model::ring::{DcName, NodeName, ZoneName};
    use anser_model::{NodeId, Step};
    use anser_proto::gossip::PeerState;

    fn cluster() -> ClusterReply {
        let member = |name: &str, id: u8, state| MemberView {
            node: NodeId([id; 16]),
            name: NodeName::new(name).unwrap(),
            dc: DcName::new("dc1").unwrap(),
            zone: ZoneName::new("z").unwrap(),
            weight: 100,
            address: "127.0.0.1:7400".parse().ok(),
            state,
            incarnation: 1,
            replicas: 256,
        };
        ClusterReply {
            name: "dev".to_owned(),
            id: "0123456789abcdef".to_owned(),
            seen_by: NodeId([2; 16]),
            step: Step(1),
            partitions: 256,
            members: vec![member("node-1", 1, PeerState::Dead), member("node-2", 2, PeerState::Alive)],
        }
    }

    #[test]
    fn the_table_is_aligned() {
        assert_eq!(
            table(&cluster()),
            "cluster dev (01234567), step 1, 256 partitions, as node-2 sees it\n\
             NODE    STATE  DC   ZONE  ADDRESS         WEIGHT  REPLICAS  ID\n\
             node-1  dead   dc1  z     127.0.0.1:7400  100     256       01010101\n\
             node-2  alive  dc1  z     127.0.0.1:7400  100     256       02020202"
        );
    }

    #[test]
    fn the_document_names_states() {
        let json = serde_json::to_value(StatusJson::from(&cluster())).unwrap();
        assert_eq!(json["step"], 1);
        assert_eq!(json["partitions"], 256);
        assert_eq!(json["members"][0]["state"], "dead");
        assert_eq!(json["members"][1]["name"], "node-2");
    }
}
