//! `anser dev`: a real cluster on this machine, each node its own process.
//!
//! Keeps: a crashed node is back within a second at first, five at most; nothing outlives the command.

mod child;
mod layout;

pub use child::NodeProcess;
pub use layout::{CLUSTER_NAME, Layout, NodePlan, Shape, replace, write_pair};

use crate::cli::output;
use crate::http;
use crate::init;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How often processes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a founding that failed is tried again.
const FOUND_AGAIN_MAX: u32 = 20;
/// How long nodes get to stop by themselves.
const STOP_WITHIN: Duration = Duration::from_secs(9);
/// How long a new cluster gets until every node serves.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What `anser dev` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  anser dev                                three nodes, data in ./anser-dev
  anser dev --dcs 2 --nodes 3 --fresh      two data centres, begun anew")]
pub struct DevArgs {
    /// Data centres [default: 1, or what is there]
    #[arg(long)]
    pub dcs: Option<u16>,
    /// Nodes in each data centre [default: 3, or what is there]
    #[arg(long)]
    pub nodes: Option<u16>,
    /// The cluster's folder
    #[arg(long, default_value = "anser-dev")]
    pub dir: PathBuf,
    /// Begin anew: what is in the folder is removed
    #[arg(long)]
    pub fresh: bool,
    /// First port: node i listens on UDP PORT+2i (QUIC), UDP PORT+2i+1 (bulk), TCP PORT+2i+1 (HTTP)
    #[arg(long, value_name = "BASE", default_value_t = 7400)]
    pub port: u16,
    /// Leave a crashed node down
    #[arg(long)]
    pub no_restart: bool,
    /// Print the table as JSON
    #[arg(long)]
    pub json: bool,
}

/// A running development cluster. Dropping it ends its nodes: their standard input ends.
pub struct Cluster {
    /// Its folder.
    pub layout: Layout,
    processes: Vec<NodeProcess>,
    restart: bool,
    /// Held while the cluster runs.
    _lock: File,
}

impl Cluster {
    /// Starts every node, and founds the cluster if it is a new one. It may not serve yet.
    pub async fn start(args: &DevArgs) -> Result<Cluster> {
        let lock = lock(&args.dir)?;
        orphans_end(&args.dir).await?;
        let layout = Layout::prepare(&args.dir, args.dcs, args.nodes, args.port, args.fresh)?;
        let mut cluster = Cluster { layout, processes: Vec::new(), restart: !args.no_restart, _lock: lock };
        for plan in &cluster.layout.nodes {
            cluster.processes.push(NodeProcess::start(plan.clone())?);
        }
        Ok(cluster)
    }

    /// The nodes' processes, in the order of their names.
    pub fn processes(&mut self) -> &mut [NodeProcess] {
        &mut self.processes
    }

    /// Waits until every node serves; founds the cluster on the way. A node that ends meanwhile is an error.
    pub async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let (mut founded, mut refused) = (false, 0);
        loop {
            for process in &mut self.processes {
                if let Some(status) = process.ended()? {
                    bail!(
                        "node {} could not start ({status}): {}\nits log is {}",
                        process.plan().name,
                        process.last_words(),
                        process.log_path().display()
                    );
                }
            }
            if !founded && self.all_answer("/live", true).await {
                match self.found().await {
                    Ok(()) => founded = true,
                    // A node that sets its data folder aside starts anew, and does not answer just then.
                    Err(_) if refused < FOUND_AGAIN_MAX => refused += 1,
                    Err(error) => return Err(error),
                }
            }
            if founded && self.all_answer("/ready", false).await {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "not every node serves after {} s; see the logs in {}",
                    READY_WITHIN.as_secs(),
                    self.layout.dir.display()
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn all_answer(&self, path: &str, any_answer: bool) -> bool {
        for process in &self.processes {
            match http::status_of(process.plan().http, path).await {
                Ok(status) if any_answer || status == 200 => {}
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    /// Makes the nodes one cluster, if they are not yet.
    async fn found(&self) -> Result<()> {
        let members = self.layout.nodes.iter().map(|node| (node.name.clone(), node.quic)).collect();
        init::found(&self.layout.operator_profile(), members, init::PARTITIONS_DEFAULT).await.map(|_| ())
    }

    /// Looks after the processes once: restarts what ended, keeps logs short.
    pub fn look_after(&mut self) -> Result<()> {
        for process in &mut self.processes {
            if let Some(status) = process.ended()? {
                let name = process.plan().name.clone();
                if self.restart {
                    eprintln!("node {name} ended ({status}); restarting it");
                    process.restart_later();
                } else {
                    eprintln!("node {name} ended ({status}); it stays down");
                }
            }
            if process.restart_if_due()? {
                eprintln!("node {} runs again, pid {}", process.plan().name, process.pid().unwrap_or(0));
            }
            process.rotate_log()?;
        }
        Ok(())
    }

    /// Ends a node with SIGKILL, and leaves it down. Its name.
    pub async fn kill(&mut self, node: usize) -> Result<String> {
        let process = self.processes.get_mut(node).context("no such node")?;
        process.kill();
        let deadline = Instant::now() + STOP_WITHIN;
        while process.ended()?.is_none() {
            if Instant::now() > deadline {
                bail!("node {} does not end", process.plan().name);
            }
            tokio::time::sleep(LOOK_EVERY / 10).await;
        }
        Ok(process.plan().name.clone())
    }

    /// Starts a node that is down, and waits until it serves.
    pub async fn start_again(&mut self, node: usize) -> Result<()> {
        self.processes.get_mut(node).context("no such node")?.start_again()?;
        self.ready().await
    }

    /// Stops every node, those that don't by force.
    pub async fn stop(mut self) -> Result<()> {
        self.processes.iter_mut().for_each(NodeProcess::terminate);
        let deadline = Instant::now() + STOP_WITHIN;
        while self.processes.iter().any(|process| process.pid().is_some()) {
            for process in &mut self.processes {
                process.ended()?;
            }
            if Instant::now() > deadline {
                self.processes.iter_mut().for_each(NodeProcess::kill);
                bail!("a node did not stop within {} s and was killed", STOP_WITHIN.as_secs());
            }
            tokio::time::sleep(LOOK_EVERY / 4).await;
        }
        Ok(())
    }
}

/// A first port such that all the ports of so many nodes are free now.
pub fn free_base_port(nodes: u16) -> Result<u16> {
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};
    let free = |port: u16| {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    };
    // Different processes look in different places, so that two that start at once seldom meet.
    let pid = u16::try_from(std::process::id() % 200).unwrap_or(0);
    (0..200u16)
        .map(|i| 20_000 + (pid + i) % 200 * 50)
        .find(|base| (0..2 * nodes).all(|offset| free(base + offset)))
        .context("no free ports were found; stop other clusters")
}

/// One `dev` at a time in a folder.
fn lock(dir: &Path) -> Result<File> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let file = File::create(dir.join("lock"))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        anyhow::anyhow!("another `anser dev` runs in {}; stop it, or name another --dir", dir.display())
    })?;
    Ok(file)
}

/// Nodes of a `dev` that was killed end by themselves, but not at once. Waits until none has its data folder in use; one
/// that another process keeps is for its node to tell.
async fn orphans_end(dir: &Path) -> Result<()> {
    let deadline = Instant::now() + STOP_WITHIN;
    for entry in std::fs::read_dir(dir)? {
        let Ok(lock) = File::open(entry?.path().join("data/LOCK")) else { continue };
        let free = || rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared).is_ok();
        while !free() && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}

/// Runs the command until it is told to stop.
pub async fn run(args: DevArgs) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut cluster = Cluster::start(&args).await?;
    let started = tokio::select! {
        started = cluster.ready() => started.map(|()| true),
        _ = interrupt.recv() => Ok(false),
        _ = terminate.recv() => Ok(false),
    };
    match started {
        Ok(true) => {}
        Ok(false) => return cluster.stop().await,
        Err(error) => {
            // The error that stopped the start is the one to tell.
            let _ = cluster.stop().await;
            return Err(error);
        }
    }
    print_table(&cluster, args.json)?;
    output::line("ready")?;
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = look.tick() => cluster.look_after()?,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    eprintln!("stopping {} nodes", cluster.processes.len());
    cluster.stop().await
}

fn print_table(cluster: &Cluster, json: bool) -> Result<()> {
    let profile = cluster.layout.client_profile();
    if json {
        let nodes = cluster.processes.iter().map(|process| {
            let plan = process.plan();
            serde_json::json!({
                "node": plan.name, "dc": plan.dc, "pid": process.pid(), "quic": plan.quic, "http": plan.http,
            })
        });
        let nodes: Vec<_> = nodes.collect();
        return Ok(output::json(&serde_json::json!({ "nodes": nodes, "profile": profile }))?);
    }
    let mut text = format!("{:<6} {:<6} {:>8}  {:<22} HTTP\n", "NODE", "DC", "PID", "QUIC");
    for process in &cluster.processes {
        let (plan, pid) = (process.plan(), process.pid().unwrap_or(0));
        let quic = plan.quic.to_string();
        writeln!(text, "{:<6} {:<6} {pid:>8}  {quic:<22} http://{}", plan.name, plan.dc, plan.http)?;
    }
    let here = std::env::current_dir()?.join("anser-dev/client.toml");
    let option = if here == profile { String::new() } else { format!(" --profile {}", profile.display()) };
    writeln!(text, "\ntry, in another terminal:")?;
    let program = program()?;
    for words in ["put{} greeting hello", "get{} greeting", "cluster status{}"] {
        writeln!(text, "  {program} {}", words.replace("{}", &option))?;
    }
    if let Some(process) = cluster.processes.first() {
        writeln!(text, "  kill -9 $(cat {}/pid)   # and get again", process.plan().folder.display())?;
    }
    Ok(output::line(&text)?)
}

/// How a shell in this folder calls this program: by its name if it finds it so, else by its path.
fn program() -> Result<String> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&folders).map(|folder| folder.join("anser")).find(|file| file.is_file());
    if found.and_then(|file| file.canonicalize().ok()) == own.canonicalize().ok() {
        return Ok("anser".to_owned());
    }
    let here = std::env::current_dir()?;
    Ok(match own.strip_prefix(&here) {
        Ok(relative) => format!("./{}", relative.display()),
        Err(_) => own.display().to_string(),
    })
}
