//! `anser certs`: the cluster's certificate authority and its leaf certificates.

use crate::cli::output;
use crate::dev::write_pair;
use anser_quic::{Kind, cluster_of_authority, create_ca, issue};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// What `anser certs` is told.
#[derive(Debug, clap::Subcommand)]
pub enum CertsCommand {
    /// Make the cluster's certificate authority: ca.pem for every machine, ca.key to be kept safe
    #[command(after_help = "Example:\n  anser certs ca --cluster shop --dir /etc/anser")]
    Ca {
        /// The cluster's name: part of every certificate, so that clusters can't be mixed up
        #[arg(long)]
        cluster: String,
        /// Where to write ca.pem and ca.key
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// Make a node's certificate
    #[command(after_help = "Example:\n  anser certs node n1 --ca /etc/anser --dir /etc/anser")]
    Node(LeafArgs),
    /// Make a client's certificate
    #[command(after_help = "Example:\n  anser certs client web --ca /etc/anser --dir /etc/anser")]
    Client(LeafArgs),
    /// Make an operator's certificate: a client's that may also found and change the cluster
    #[command(after_help = "Example:\n  anser certs operator alice --ca /etc/anser --dir /etc/anser")]
    Operator(LeafArgs),
}

/// What a leaf certificate is made from.
#[derive(Debug, clap::Args)]
pub struct LeafArgs {
    /// The name: for a node the one in its node.toml
    pub name: String,
    /// The folder with ca.pem and ca.key
    #[arg(long, default_value = ".")]
    pub ca: PathBuf,
    /// Where to write NAME.pem and NAME.key
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// How long it is good for, in days
    #[arg(long, default_value_t = 365)]
    pub days: u32,
}

/// Runs the command.
pub fn run(command: CertsCommand) -> Result<()> {
    match command {
        CertsCommand::Ca { cluster, dir } => {
            anser_model::ring::NodeName::new(cluster.clone()).context("the cluster's name")?;
            std::fs::create_dir_all(&dir)?;
            let (cert, key) = (dir.join("ca.pem"), dir.join("ca.key"));
            write_pair(&create_ca(&cluster)?, &cert, &key)?;
            tell(&cert, &key)
        }
        CertsCommand::Node(leaf) => run_leaf(Kind::Node, &leaf),
        CertsCommand::Client(leaf) => run_leaf(Kind::Client, &leaf),
        CertsCommand::Operator(leaf) => run_leaf(Kind::Operator, &leaf),
    }
}

fn run_leaf(kind: Kind, leaf: &LeafArgs) -> Result<()> {
    anser_model::ring::NodeName::new(leaf.name.clone())?;
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}; make it with `anser certs ca`", path.display()))
    };
    let (authority, authority_key) = (read(&leaf.ca.join("ca.pem"))?, read(&leaf.ca.join("ca.key"))?);
    let cluster = cluster_of_authority(&authority)?;
    std::fs::create_dir_all(&leaf.dir)?;
    let (cert, key) =
        (leaf.dir.join(format!("{}.pem", leaf.name)), leaf.dir.join(format!("{}.key", leaf.name)));
    let pair = issue(&authority, &authority_key, &cluster, kind, &leaf.name, leaf.days)?;
    write_pair(&pair, &cert, &key)?;
    tell(&cert, &key)
}

fn tell(cert: &Path, key: &Path) -> Result<()> {
    Ok(output::line(&format!("made {} and {}", cert.display(), key.display()))?)
}
