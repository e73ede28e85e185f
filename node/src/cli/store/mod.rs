//! `store`: a data folder that no node uses, looked at from outside.
//!
//! Deliberately absent: changing one. What is damaged is refilled from the other replicas.

mod check;
mod stat;
mod survey;

use super::failure::Failure;
use crate::disk::inspect::InspectOptions;
use std::path::PathBuf;

/// `anser store`.
#[derive(Debug, clap::Subcommand)]
pub enum StoreCommand {
    /// Verify every checksum of a data folder: exit status 0 only if all is as it was stored
    Check(check::CheckArgs),
    /// What is in a data folder
    Stat(stat::StatArgs),
}

/// Which folder, and how it is read.
#[derive(Clone, Debug, clap::Args)]
pub struct FolderArgs {
    /// The data folder: [node] data_dir of the configuration
    dir: PathBuf,
    /// Where the store is copied to while it is read [default: beside DIR]
    #[arg(long, value_name = "FOLDER")]
    scratch: Option<PathBuf>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

impl StoreCommand {
    /// Runs it.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            StoreCommand::Check(args) => args.run().await,
            StoreCommand::Stat(args) => args.run().await,
        }
    }
}

impl FolderArgs {
    fn options(&self) -> InspectOptions {
        InspectOptions { scratch: self.scratch.clone(), patience: None }
    }
}
