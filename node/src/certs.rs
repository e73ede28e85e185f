//! `anser certs`: the cluster's certificate authority and its leaf certificates.

use crate::cli::output;
use crate::dev::{replace, write_pair};
use anser_quic::{Kind, LEAF_DAYS, PemPair, cluster_of_authority, create_ca, issue, renew};
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
    /// Replace a certificate by one of the same name, kind and key that is good for longer
    #[command(after_help = "\
Example:
  anser certs renew n1 --ca /etc/anser --dir /etc/anser

A node stays the node it is, since that is its key. A running node reads its certificate when it starts.")]
    Renew(LeafArgs),
}

/// What a leaf certificate is made from.
#[derive(Debug, clap::Args)]
pub struct LeafArgs {
    /// The name: for a node the one in its node.toml
    pub name: String,
    /// The folder with ca.pem and ca.key
    #[arg(long, default_value = ".")]
    pub ca: PathBuf,
    /// Where NAME.pem and NAME.key are, or will be
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// How long it is good for, in days
    #[arg(long, default_value_t = LEAF_DAYS)]
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
        CertsCommand::Renew(leaf) => run_renewal(&leaf),
    }
}

fn run_leaf(kind: Kind, leaf: &LeafArgs) -> Result<()> {
    anser_model::ring::NodeName::new(leaf.name.clone())?;
    let authority = leaf.authority()?;
    let cluster = cluster_of_authority(&authority.certificate)?;
    std::fs::create_dir_all(&leaf.dir)?;
    let (cert, key) = leaf.paths();
    let pair = issue(&authority.certificate, &authority.key, &cluster, kind, &leaf.name, leaf.days)?;
    write_pair(&pair, &cert, &key)?;
    tell(&cert, &key)
}

fn run_renewal(leaf: &LeafArgs) -> Result<()> {
    let authority = leaf.authority()?;
    let (cert, key) = leaf.paths();
    let pair = PemPair { certificate: read(&cert, "node")?, key: read(&key, "node")? };
    let renewed = renew(&authority.certificate, &authority.key, &pair, leaf.days)?;
    replace(&cert, renewed.as_bytes())?;
    Ok(output::line(&format!("made {} anew, good for {} days", cert.display(), leaf.days))?)
}

impl LeafArgs {
    /// The authority's certificate and key.
    fn authority(&self) -> Result<PemPair> {
        let certificate = read(&self.ca.join("ca.pem"), "ca")?;
        Ok(PemPair { certificate, key: read(&self.ca.join("ca.key"), "ca")? })
    }

    /// Where the leaf's certificate and key are.
    fn paths(&self) -> (PathBuf, PathBuf) {
        let path = |extension: &str| self.dir.join(format!("{}.{extension}", self.name));
        (path("pem"), path("key"))
    }
}

fn read(path: &Path, made_by: &str) -> Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}; `anser certs {made_by}` makes one", path.display()))
}

fn tell(cert: &Path, key: &Path) -> Result<()> {
    Ok(output::line(&format!("made {} and {}", cert.display(), key.display()))?)
}
