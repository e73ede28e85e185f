//! The way up, and the way down.
//!
//! Keeps: nothing is served before what it needs is there; a signal ends the process within ten seconds, in order: no more
//! requests, answers out, disk synced.

use super::awaited;
use super::budget::Budget;
use super::clock::Clock;
use super::restart;
use super::room::{self, Space};
use super::roster;
use super::switchboard::Switchboard;
use super::threads::Arbiters;
use super::view::NodeView;
use crate::config::{ByteSize, Config, LogFormat};
use crate::disk::{self, Disk, DiskConfig, FeedbackSink, OpenedFolder};
use crate::{http, metrics};
use anser_host::Watchdog;
use anser_host::runtime::System;
use anser_model::{Member, NodeId};
use anser_quic::{Credentials, Identity, Kind, Limits, NetworkConfig, NetworkHandle, NodeNetwork};
use anyhow::{Context, Result, anyhow, bail};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// How long requests that are under way get at the end.
const DRAIN_WITHIN: Duration = Duration::from_millis(2500);
/// How long everything else gets at the end.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How often seeds are dialled while nobody else is known.
const SEEDS_EVERY: Duration = Duration::from_secs(1);
/// And how often else, in those rounds.
const SEEDS_SELDOM: u64 = 30;
/// A start writes a little: with less than this free, it is not tried.
const START_BYTES_MIN: u64 = 16 << 20;
/// Most shards of a new data folder.
const SHARDS_MAX: u32 = 16;
/// How long an actor may be stuck before the process gives up: its supervisor starts it anew.
const STUCK_ABORT_AFTER: Duration = Duration::from_secs(30);

/// What `anser node` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  anser node --config /etc/anser/node.toml

Every key of the file can be overridden by ANSER_<SECTION>_<KEY>, for instance ANSER_LOG_LEVEL=debug.")]
pub struct NodeArgs {
    /// The configuration file
    #[arg(long)]
    pub config: PathBuf,
    /// Stop when standard input ends: for a supervisor that wants no orphans
    #[arg(long, hide = true)]
    pub supervised: bool,
}

/// Runs a node until it is told to stop.
pub fn run(args: &NodeArgs) -> Result<()> {
    let config = Config::load(&args.config)?;
    start_log(&config)?;
    let data_dir = config.data_dir.clone();
    match System::new().block_on(serve(config, args.supervised))? {
        Ended::Told => Ok(()),
        Ended::FolderIsOld => {
            let aside = disk::set_aside(&data_dir)?;
            tracing::error!(
                "the data folder was an older copy of itself, as other members remember; it is {} now, and an empty one takes \
                 its place and is refilled",
                aside.display()
            );
            Err(restart::in_place()).context("starting anew with an empty data folder")
        }
    }
}

/// Why a node stopped.
enum Ended {
    /// Somebody said so.
    Told,
    /// Its data folder is an old copy.
    FolderIsOld,
}

fn start_log(config: &Config) -> Result<()> {
    let filter: Targets = config.log_level.parse().with_context(|| {
        format!("[log] level: {:?} is no level, nor a list such as info,anser_quic=debug", config.log_level)
    })?;
    let to_stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let started = match config.log_format {
        LogFormat::Text => tracing_subscriber::registry().with(to_stderr.with_filter(filter)).try_init(),
        LogFormat::Json => {
            tracing_subscriber::registry().with(to_stderr.json().with_filter(filter)).try_init()
        }
    };
    started.map_err(|error| anyhow!("the log can't be started: {error}"))
}

async fn serve(config: Config, supervised: bool) -> Result<Ended> {
    // Listening for signals comes first: one that arrives during the start ends it in order.
    let told_to_stop = stop_signal(supervised)?;
    let node = Node::start(config).await?;
    let ended = tokio::select! {
        () = told_to_stop => Ended::Told,
        () = node.switchboard.peers().folder_is_replaceable() => Ended::FolderIsOld,
    };
    tracing::info!("stopping");
    node.stop().await?;
    tracing::info!("stopped");
    Ok(ended)
}

/// A running node: all that must be ended in order.
struct Node {
    switchboard: Arc<Switchboard>,
    view: Arc<NodeView>,
    disk: Disk,
    arbiters: Arbiters,
    network: Arc<NodeNetwork>,
    watchdog: Watchdog,
    seeds: JoinHandle<()>,
    room: JoinHandle<()>,
    awaited: JoinHandle<()>,
    samples: JoinHandle<()>,
    pages: JoinHandle<std::io::Result<()>>,
}

impl Node {
    /// Everything that can be refused is tried before anything is served.
    async fn start(config: Config) -> Result<Node> {
        let credentials = Credentials::load(&config.ca, &config.cert, &config.key)?;
        let identity = credentials.identity().clone();
        check_name(&config, &identity)?;
        let listener = TcpListener::bind(config.http)
            .await
            .with_context(|| format!("can't listen on {}/tcp (HTTP); is the port in use?", config.http))?;
        let page = metrics::install()?;
        let clock = Clock::new();
        let switchboard = Arc::new(Switchboard::new(identity.node, clock));
        let opened = open_disk(&config, identity.node, &switchboard)?;
        let (disk, member) = (opened.disk, Member { node: identity.node, folder: opened.folder });
        switchboard.set_shards(opened.shards);
        switchboard.set_disk(disk.handle());
        let arbiters = Arbiters::start(opened.shards);
        let network = start_network(&config, &credentials, member, clock, &switchboard, &arbiters).await?;
        switchboard.peers().set_network(network.handle());
        switchboard.set_directory(roster::start(&config, &identity.cluster, member, &arbiters, &switchboard));
        let watchdog = start_watchdog(&switchboard)?;
        let view = Arc::new(NodeView {
            me: identity.node,
            name: identity.name.clone(),
            address: config.advertise,
            switchboard: switchboard.clone(),
            draining: AtomicBool::new(false),
            set_aside: disk::set_aside_before(&config.data_dir),
            certificate_expires_at_s: credentials.expires_at_s(),
        });
        let samples = tokio::spawn(metrics::sum_up(page.clone(), metrics::SUM_UP_INTERVAL));
        let pages = tokio::spawn(http::serve(listener, view.clone(), page));
        tracing::info!(
            node = identity.name, id = %identity.node, folder = %member.folder, quic = %config.quic,
            http = %config.http, "the node runs"
        );
        let reserve = reserve(&config, opened.shards);
        let room =
            tokio::task::spawn_local(room::watch(config.data_dir.clone(), reserve, switchboard.clone()));
        let awaited = tokio::task::spawn_local(awaited::watch(switchboard.clone()));
        let seeds = tokio::task::spawn_local(dial_seeds(config, switchboard.clone(), network.handle()));
        Ok(Node {
            switchboard,
            view,
            disk,
            arbiters,
            network,
            watchdog,
            seeds,
            room,
            awaited,
            samples,
            pages,
        })
    }

    /// No more requests, answers out, disk synced; the pages last, so that they tell of it.
    async fn stop(self) -> Result<()> {
        self.view.draining.store(true, Ordering::Relaxed);
        self.seeds.abort();
        self.room.abort();
        self.awaited.abort();
        drain(&self.switchboard).await;
        let closing = async {
            self.network.close().await;
            drop(self.watchdog);
            for handle in self.switchboard.directory().iter().flat_map(|directory| directory.all()) {
                handle.stop();
            }
            let closed = tokio::task::spawn_blocking(move || self.disk.close()).await;
            self.samples.abort();
            self.pages.abort();
            closed.context("closing the disk")
        };
        let closed = tokio::time::timeout(STOP_WITHIN, closing).await;
        self.arbiters.stop();
        let late = || {
            anyhow!("it did not stop within {} s; what was acknowledged is on disk", STOP_WITHIN.as_secs())
        };
        closed.unwrap_or_else(|_| Err(late()))
    }
}

/// The certificate says who a node is; the configuration must agree.
fn check_name(config: &Config, identity: &Identity) -> Result<()> {
    if identity.kind == Kind::Node && identity.name == config.name.as_str() {
        return Ok(());
    }
    bail!(
        "{}: it is the certificate of {} {}, and this is node {}; make one with `anser certs node {}`",
        config.cert.display(),
        identity.kind,
        identity.name,
        config.name,
        config.name
    )
}

/// Opens the data folder; a new one gets a shard for each processor that the network's thread leaves free.
fn open_disk(config: &Config, node: NodeId, switchboard: &Arc<Switchboard>) -> Result<OpenedFolder> {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let shards = u32::try_from(processors - 1).unwrap_or(SHARDS_MAX).clamp(1, SHARDS_MAX);
    let budget = Budget::of(config.memory_bytes, shards);
    let wanted =
        DiskConfig { cache_bytes: budget.sled, log_bytes_max: budget.log, ..DiskConfig::new(node, shards) };
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("can't make the data folder {}", config.data_dir.display()))?;
    let space = Space::of(&config.data_dir).context("asking for free space")?;
    if space.free_bytes < START_BYTES_MIN {
        bail!(
            "{}: only {} are free there, and a start needs {}; make room",
            config.data_dir.display(),
            ByteSize(space.free_bytes),
            ByteSize(START_BYTES_MIN)
        );
    }
    let sink: Arc<dyn FeedbackSink> = switchboard.clone();
    Ok(Disk::open_or_set_aside(&config.data_dir, &wanted, &sink)?)
}

/// What is kept free: as configured, and at least what memory still owes the disk when writes are no longer taken.
fn reserve(config: &Config, shards: u32) -> u64 {
    let budget = Budget::of(config.memory_bytes, shards);
    config.disk_reserve_bytes.max(budget.owed(shards))
}

/// The network's tasks live on its arbiter.
async fn start_network(
    config: &Config,
    credentials: &Credentials,
    member: Member,
    clock: Clock,
    switchboard: &Arc<Switchboard>,
    arbiters: &Arbiters,
) -> Result<Arc<NodeNetwork>> {
    let wanted = NetworkConfig {
        credentials: credentials.clone(),
        quic: config.quic,
        bulk: config.bulk,
        member,
        cluster: switchboard.peers().cluster(),
        boot: roster::random_u64(),
        clock: Arc::new(move || clock.tick()),
        limits: Limits { session_requests_max: config.max_inflight, ..Limits::default() },
    };
    let inbound = switchboard.clone();
    let started = arbiters.on_network(async move { NodeNetwork::start(wanted, inbound) }).await?;
    Ok(Arc::new(started?))
}

/// Notices actors that are stuck; one that stays so ends the process, since nothing else frees its thread.
fn start_watchdog(switchboard: &Switchboard) -> Result<Watchdog> {
    let handles = switchboard.directory().iter().flat_map(|directory| directory.all().cloned()).collect();
    let stuck = |handle: &anser_host::Handle| {
        let handle = handle.clone();
        let watch = move || {
            std::thread::sleep(STUCK_ABORT_AFTER);
            if handle.status().stuck {
                tracing::error!(actor = handle.name(), slot = handle.slot(), "still stuck: aborting");
                std::process::abort();
            }
        };
        if let Err(error) = std::thread::Builder::new().name("stuck".to_owned()).spawn(watch) {
            tracing::error!(%error, "no thread to watch the stuck actor");
        }
    };
    Watchdog::start(handles, stuck).context("the watchdog can't be started")
}

/// Refuses what comes from now on, and waits until what is under way is answered.
async fn drain(switchboard: &Switchboard) {
    let Some(directory) = switchboard.directory() else { return };
    directory.coordinator.refuse_requests();
    let answered = async {
        while directory.coordinator.requests() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(DRAIN_WITHIN, answered).await.is_err() {
        tracing::warn!(
            requests = directory.coordinator.requests(),
            "some requests were not answered in time"
        );
    }
}

/// Dials the seeds until some peer is known, and now and then after: a seed may be another cluster half's only link.
async fn dial_seeds(config: Config, switchboard: Arc<Switchboard>, network: NetworkHandle) {
    let mut every = tokio::time::interval(SEEDS_EVERY);
    for round in 0_u64.. {
        every.tick().await;
        let alone = switchboard.peers().known().peers.is_empty();
        if alone || round % SEEDS_SELDOM == 0 {
            for seed in config.seeds.iter().filter(|seed| **seed != config.advertise) {
                network.dial_seed(*seed);
            }
        }
    }
}

/// Ends at SIGTERM or SIGINT, or (supervised) when standard input does.
fn stop_signal(supervised: bool) -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (ended, input_ended) = oneshot::channel::<()>();
    let ended = Some(ended).filter(|_| supervised);
    if let Some(ended) = ended {
        std::thread::Builder::new().name("supervisor".to_owned()).spawn(move || {
            let mut ignored = [0; 64];
            while std::io::Read::read(&mut std::io::stdin(), &mut ignored).is_ok_and(|read| read > 0) {}
            // Without a receiver the node is stopping already.
            let _ = ended.send(());
        })?;
    }
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            Ok(()) = input_ended => {}
        }
    })
}
