//! The start and the end of a node's network.
//!
//! Keeps: an end is in good order (no new connections, queued messages sent, the other ends told) and bounded in time.

use crate::accept::accept;
use crate::identity::Kind;
use crate::network::{BindError, Inbound, NetworkConfig};
use crate::reader::PERMIT_BYTES;
use crate::rejection::CLOSE_ENDING;
use crate::settings::{self, End};
use crate::shared::{Half, Shared};
use crate::stats::Stats;
use quinn::Endpoint;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often queues without a connection are looked through, in milliseconds.
const SWEEP_MS: u64 = 100;
/// How long an end waits for the lanes, and then for the other ends, in milliseconds each.
const CLOSE_STAGE_MS: u64 = 1000;
const REASON: &[u8] = b"the node is stopping";

/// Binds both endpoints and starts their tasks. The network and the two addresses.
pub(crate) fn start(
    config: NetworkConfig,
    inbound: Arc<dyn Inbound>,
) -> Result<(Arc<Shared>, SocketAddr, SocketAddr), BindError> {
    check(&config)?;
    let bulk_runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| BindError::Socket { address: config.bulk, what: "bulk", why })?;
    let (opened, (quic, bulk)) = match open_both(&config, &bulk_runtime) {
        Ok(opened) => opened,
        Err(error) => {
            // A runtime must not be dropped, which waits, where nothing may wait.
            bulk_runtime.shutdown_background();
            return Err(error);
        }
    };
    let shared = run(config, inbound, bulk_runtime.handle().clone(), opened);
    let stop = shared.stop_bulk.clone();
    let thread = std::thread::Builder::new().name("bulk".to_owned());
    thread.spawn(move || bulk_runtime.block_on(stop.cancelled())).map_err(|why| BindError::Socket {
        address: bulk,
        what: "bulk",
        why,
    })?;
    Ok((shared, quic, bulk))
}

/// Starts on endpoints that are open already, both driven by the runtime that this is called in.
#[cfg(test)]
pub(crate) fn start_on(
    config: NetworkConfig,
    inbound: Arc<dyn Inbound>,
    main: Endpoint,
    bulk: Endpoint,
) -> Result<Arc<Shared>, BindError> {
    check(&config)?;
    let opened = Opened { main, bulk, bulk_port: config.bulk.port(), dialler: dialler(&config)? };
    Ok(run(config, inbound, Handle::current(), opened))
}

/// Whether the credentials are this node's.
fn check(config: &NetworkConfig) -> Result<(), BindError> {
    let identity = config.credentials.identity();
    if identity.kind != Kind::Node {
        return Err(BindError::NotThisNode("it is a client's or an operator's"));
    }
    if identity.node != config.member.node {
        return Err(BindError::NotThisNode("its key is another node's"));
    }
    Ok(())
}

/// Both endpoints, and how to dial.
struct Opened {
    main: Endpoint,
    bulk: Endpoint,
    bulk_port: u16,
    dialler: quinn::ClientConfig,
}

fn open_both(
    config: &NetworkConfig,
    bulk_runtime: &Runtime,
) -> Result<(Opened, (SocketAddr, SocketAddr)), BindError> {
    let (main, quic_address) = open(config, config.quic, "data")?;
    let (bulk, bulk_address) = {
        let _inside = bulk_runtime.enter();
        open(config, config.bulk, "bulk")?
    };
    let opened = Opened { main, bulk, bulk_port: bulk_address.port(), dialler: dialler(config)? };
    Ok((opened, (quic_address, bulk_address)))
}

fn dialler(config: &NetworkConfig) -> Result<quinn::ClientConfig, BindError> {
    settings::client_config(&config.credentials, End::NodeDials)
        .map_err(|error| BindError::Credentials(error.to_string()))
}

/// Starts the tasks.
fn run(
    config: NetworkConfig,
    inbound: Arc<dyn Inbound>,
    bulk_runtime: Handle,
    opened: Opened,
) -> Arc<Shared> {
    let Opened { main, bulk, bulk_port, dialler } = opened;
    let budget = || Arc::new(Semaphore::new(config.limits.bulk_receive_bytes_max.div_ceil(PERMIT_BYTES)));
    let shared = Arc::new(Shared {
        me: config.member.node,
        member: config.member,
        cluster: config.cluster,
        boot: config.boot,
        clock: config.clock,
        limits: config.limits,
        inbound,
        stats: Stats::default(),
        main: Half { endpoint: main, runtime: Handle::current() },
        bulk: Half { endpoint: bulk, runtime: bulk_runtime.clone() },
        bulk_port,
        dialler,
        sessions: Default::default(),
        node_budget: budget(),
        session_budget: budget(),
        lanes: TaskTracker::new(),
        stop_bulk: CancellationToken::new(),
        closing: Default::default(),
        peers: Default::default(),
        credentials: config.credentials.clone(),
    });
    tokio::spawn(accept(Arc::clone(&shared), false));
    bulk_runtime.spawn(accept(Arc::clone(&shared), true));
    tokio::spawn(sweep(Arc::clone(&shared)));
    shared
}

fn open(
    config: &NetworkConfig,
    address: SocketAddr,
    what: &'static str,
) -> Result<(Endpoint, SocketAddr), BindError> {
    let server = settings::server_config(&config.credentials)
        .map_err(|error| BindError::Credentials(error.to_string()))?;
    let socket = |why| BindError::Socket { address, what, why };
    let endpoint =
        settings::open_endpoint(address, &config.credentials, config.boot, Some(server)).map_err(socket)?;
    let bound = endpoint.local_addr().map_err(socket)?;
    Ok((endpoint, bound))
}

async fn sweep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(SWEEP_MS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !shared.is_closing() {
        ticks.tick().await;
        shared.sweep();
    }
}

/// Ends in good order.
pub(crate) async fn close(shared: &Arc<Shared>) {
    shared.closing.store(true, Ordering::Release);
    for half in [&shared.main, &shared.bulk] {
        half.endpoint.set_server_config(None);
    }
    for peer in shared.all_peers() {
        for link in peer.links() {
            if let Some(kept) = link.kept() {
                kept.life.drain();
                link.queue.wake_all();
            }
        }
    }
    for session in shared.sessions.all() {
        session.drain();
    }
    shared.lanes.close();
    let stage = Duration::from_millis(CLOSE_STAGE_MS);
    let _ = tokio::time::timeout(stage, shared.lanes.wait()).await;
    let idle = async {
        for half in [&shared.main, &shared.bulk] {
            half.endpoint.close(CLOSE_ENDING, REASON);
        }
        shared.main.endpoint.wait_idle().await;
        shared.bulk.endpoint.wait_idle().await;
    };
    let _ = tokio::time::timeout(stage, idle).await;
    shared.stop_bulk.cancel();
}

/// Ends without waiting.
pub(crate) fn close_at_once(shared: &Arc<Shared>) {
    shared.closing.store(true, Ordering::Release);
    for half in [&shared.main, &shared.bulk] {
        half.endpoint.close(CLOSE_ENDING, REASON);
    }
    shared.stop_bulk.cancel();
}
