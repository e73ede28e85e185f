//! `anser init`: creates a cluster, once.
//!
//! Keeps: a cluster has one genesis. A run that ended halfway is taken up where it was: the genesis that some node holds
//! already is the one that the others get, and one that holds another cluster's refuses.

use crate::cli::failure::{Failure, FailureKind};
use crate::cli::output;
use anser_model::ring::{Founding, MemberState, NodeName, Record, RosterEntry};
use anser_model::{ClusterId, NodeId};
use anser_proto::admin::{AdminReply, AdminRequest, NodeDescription};
use anser_proto::{Body, Role};
use anser_quic::{ClientConnection, ClientEndpoint, Credentials};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How many partitions a cluster has unless said.
pub const PARTITIONS_DEFAULT: u16 = 256;
/// How long a node gets to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a node that is still starting is waited for.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// Between two tries to connect.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// What `anser init` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  anser init --profile operator.toml --member n1=10.0.0.1:7400 --member n2=10.0.0.2:7400 --member n3=10.0.0.3:7400

The nodes must run. A run that ended halfway can be run again.")]
pub struct InitArgs {
    /// A founding member: its name and the address that it listens on; give each
    #[arg(long = "member", value_name = "NODE=ADDRESS", required = true, value_parser = parse_member)]
    pub members: Vec<(String, SocketAddr)>,
    /// How many partitions: a power of two, fixed for ever; about 100 for each node that the cluster may grow to
    #[arg(long, default_value_t = PARTITIONS_DEFAULT)]
    pub partitions: u16,
    /// A profile with an operator's certificate
    #[arg(long, env = "ANSER_PROFILE")]
    pub profile: std::path::PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

fn parse_member(text: &str) -> Result<(String, SocketAddr), String> {
    use std::net::ToSocketAddrs;
    let (name, address) = text.split_once('=').ok_or("write it as NODE=HOST:PORT")?;
    NodeName::new(name).map_err(|error| error.to_string())?;
    let mut found = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
    Ok((name.to_owned(), found.next().ok_or_else(|| format!("{address} has no address"))?))
}

/// Runs the command.
pub async fn run(args: InitArgs) -> Result<()> {
    let record = found(&args.profile, args.members, args.partitions).await?;
    if args.json {
        let members: Vec<_> = record.roster.iter().map(|entry| entry.name.as_str()).collect();
        let document = serde_json::json!({
            "cluster": record.cluster_name, "id": record.cluster.to_string(), "step": record.step.0,
            "partitions": record.partitions, "members": members,
        });
        output::json(&document)?;
    } else {
        output::line(&format!(
            "cluster {} ({}) of {} nodes and {} partitions is founded",
            record.cluster_name,
            record.cluster,
            record.roster.len(),
            record.partitions
        ))?;
    }
    Ok(())
}

/// One founding member, connected.
struct Founder {
    name: String,
    connection: ClientConnection,
    description: NodeDescription,
}

/// Founds a cluster of these members, or completes its founding.
pub async fn found(profile: &Path, members: Vec<(String, SocketAddr)>, partitions: u16) -> Result<Record> {
    let profile = crate::cli::profile::read(profile)?;
    let credentials = Credentials::load(&profile.ca, &profile.cert, &profile.key)?;
    let cluster_name = credentials.identity().cluster.clone();
    let endpoint = ClientEndpoint::new(credentials);
    let mut founders = Vec::new();
    for (name, address) in members {
        founders.push(meet(&endpoint, name, address).await?);
    }
    let genesis = match held(&founders)? {
        Some(genesis) => genesis,
        None => new_genesis(cluster_name, &founders, partitions)?,
    };
    check_members(&genesis, &founders)?;
    let addresses: Vec<(NodeId, SocketAddr)> = founders
        .iter()
        .map(|founder| (founder.description.member.node, founder.description.address))
        .collect();
    for founder in &founders {
        let request = AdminRequest::FoundCluster { record: genesis.encode(), addresses: addresses.clone() };
        match ask(&founder.connection, &founder.name, request).await? {
            AdminReply::Founded => {}
            AdminReply::AlreadyFounded => bail!("node {} is in another cluster already", founder.name),
            AdminReply::BadGenesis | AdminReply::Node(_) => {
                bail!(
                    "node {} does not accept the genesis record; do all nodes run the same version?",
                    founder.name
                )
            }
        }
    }
    Ok(genesis)
}

/// Connects to a node, which may still be starting, and has it describe itself.
async fn meet(endpoint: &ClientEndpoint, name: String, address: SocketAddr) -> Result<Founder> {
    let deadline = Instant::now() + CONNECT_WITHIN;
    let connection = loop {
        match endpoint.connect(address, ANSWER_WITHIN).await {
            Ok(connection) => break connection,
            Err(error) if error.is_not_allowed() || Instant::now() > deadline => {
                let kind =
                    if error.is_not_allowed() { FailureKind::NotAllowed } else { FailureKind::Unreachable };
                return Err(Failure::new(kind, error)
                    .at(format_args!("cannot reach node {name} at {address}"))
                    .into());
            }
            Err(_) => tokio::time::sleep(TRY_EVERY).await,
        }
    };
    match ask(&connection, &name, AdminRequest::DescribeNode).await? {
        AdminReply::Node(description) if description.name.as_str() == name => {
            Ok(Founder { name, connection, description })
        }
        AdminReply::Node(description) => bail!("{address} is node {}, not {name}", description.name),
        AdminReply::Founded | AdminReply::AlreadyFounded | AdminReply::BadGenesis => {
            bail!("node {name} answered out of turn; do all nodes run the same version?")
        }
    }
}

async fn ask(connection: &ClientConnection, name: &str, request: AdminRequest) -> Result<AdminReply> {
    let reply = connection
        .call(Role::Membership, Body::Admin(request), ANSWER_WITHIN)
        .await
        .with_context(|| format!("node {name} did not answer"))?;
    match reply {
        Body::AdminReply(reply) => Ok(reply),
        Body::Refused(anser_proto::Refusal::NotAllowed) => {
            let line = format!(
                "node {name} allows this to operators only; use a profile with an operator's certificate"
            );
            Err(Failure::new(FailureKind::NotAllowed, line).into())
        }
        other => bail!("node {name} answered with {}", other.name()),
    }
}

/// Whether a genesis is of exactly these nodes. One with another data folder than it names is refilled.
fn check_members(genesis: &Record, founders: &[Founder]) -> Result<()> {
    let given: BTreeSet<NodeId> = founders.iter().map(|founder| founder.description.member.node).collect();
    let named: BTreeSet<NodeId> = genesis.roster.iter().map(|entry| entry.member.node).collect();
    if named != given {
        bail!(
            "these nodes are in a cluster already, with other members than named; name exactly its founding members"
        );
    }
    Ok(())
}

/// The genesis that founders hold already, if any does; all that hold one must hold the same.
fn held(founders: &[Founder]) -> Result<Option<Record>> {
    let mut found: Option<Record> = None;
    for founder in founders {
        let Some(bytes) = &founder.description.genesis else { continue };
        let record = Record::decode(bytes).with_context(|| format!("node {}'s ring record", founder.name))?;
        match &found {
            Some(other) if other.cluster != record.cluster => {
                bail!("node {} is in another cluster than the ones before it", founder.name)
            }
            Some(_) | None => found = Some(record),
        }
    }
    Ok(found)
}

fn new_genesis(cluster_name: String, founders: &[Founder], partitions: u16) -> Result<Record> {
    let mut roster: Vec<RosterEntry> = founders
        .iter()
        .map(|founder| RosterEntry {
            member: founder.description.member,
            name: founder.description.name.clone(),
            dc: founder.description.dc.clone(),
            zone: founder.description.zone.clone(),
            weight: founder.description.weight,
            state: MemberState::Member,
        })
        .collect();
    roster.sort_by_key(|entry| entry.member);
    let mut id = [0; 16];
    let mut seed = [0; 8];
    let mut mac_key = [0; 32];
    for random in [&mut id[..], &mut seed[..], &mut mac_key[..]] {
        getrandom::fill(random).context("the system gives no randomness")?;
    }
    let founding = Founding {
        cluster: ClusterId(id),
        cluster_name,
        roster,
        partitions,
        seed: u64::from_le_bytes(seed),
        mac_key,
    };
    Ok(Record::genesis(founding)?)
}
