//! `anser demo`: the whole story on this machine, told while it happens; it ends well only if nothing was lost.

mod crowd;
mod files;
mod story;

use crate::cli::{output, profile};
use crate::dev::{Cluster, DevArgs, free_base_port};
use anser_client::Client;
use anyhow::{Context, Result, bail};
use files::Files;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use story::{Figures, Story};
use tokio::signal::unix::{SignalKind, signal};

/// What `anser demo` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  anser demo                       with the files of this folder
  anser demo --files /usr/share/doc --json")]
pub struct DemoArgs {
    /// The folder whose files are stored [default: the current one]
    #[arg(long)]
    pub files: Option<PathBuf>,
    /// Nodes of the cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(3..=9))]
    pub nodes: u16,
    /// Keep the cluster's folder, and say where it is
    #[arg(long)]
    pub keep: bool,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// Tells the story.
pub async fn run(args: DemoArgs) -> Result<()> {
    let folder = args.files.clone().map_or_else(std::env::current_dir, Ok)?;
    let dir = std::env::temp_dir().join(format!("anser-demo-{}", std::process::id()));
    let dev = DevArgs {
        dcs: Some(1),
        nodes: Some(args.nodes),
        dir: dir.clone(),
        fresh: false,
        port: free_base_port(args.nodes)?,
        no_restart: true,
        json: false,
    };
    let begun = Instant::now();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut cluster = Cluster::start(&dev).await?;
    let told = tokio::select! {
        told = tell(&mut cluster, files::collect(&folder)) => told,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    let stopped = cluster.stop().await;
    if args.keep {
        eprintln!("the cluster's folder is {}", dir.display());
    } else {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    let mut figures = told?;
    stopped?;
    figures.seconds = begun.elapsed().as_secs_f64();
    if args.json {
        output::json(&figures)?;
    }
    if !figures.nothing_lost() {
        bail!("something was lost: {}", serde_json::to_string(&figures)?);
    }
    eprintln!("\nNothing was lost. The whole story took {:.1} s.", figures.seconds);
    Ok(())
}

/// The story, chapter by chapter.
async fn tell(cluster: &mut Cluster, files: Files) -> Result<Figures> {
    let nodes = cluster.processes().len();
    eprintln!("\n1. A cluster of {nodes} nodes, each its own process, talking QUIC with mutual TLS.");
    cluster.ready().await?;
    let client = Client::connect(profile::read(&cluster.layout.client_profile())?).await?;
    let mut story = Story::new(client, Arc::new(files));
    story.load().await?;
    story.read_back("every file reads back byte for byte").await?;
    let victim = nodes - 1;
    story.note_kill(cluster.kill(victim).await?);
    story.read_back("every file still reads back, from the others").await?;
    story.write_on().await?;
    story.conflict().await?;
    cluster.start_again(victim).await?;
    story.note_return();
    story.heal().await?;
    Ok(story.into_figures())
}
