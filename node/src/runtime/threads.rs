//! The threads that actors run on: each an arbiter with a current-thread runtime of its own.

use anser_host::runtime::Arbiter;
use anyhow::{Result, anyhow};
use std::future::Future;
use tokio::sync::oneshot;

/// The node's arbiters.
pub(super) struct Arbiters {
    /// Membership's: nothing slow beside its timers.
    pub(super) control: Arbiter,
    /// That of QUIC, sessions and the coordinator, which talk once a request.
    pub(super) network: Arbiter,
    /// One for each shard's replica.
    pub(super) shards: Vec<Arbiter>,
}

impl Arbiters {
    /// Starts them.
    pub(super) fn start(shards: u32) -> Arbiters {
        Arbiters {
            control: Arbiter::new(),
            network: Arbiter::new(),
            shards: (0..shards).map(|_| Arbiter::new()).collect(),
        }
    }

    /// Runs something on the network's thread, and waits for what it gives.
    pub(super) async fn on_network<R: Send + 'static>(
        &self,
        work: impl Future<Output = R> + Send + 'static,
    ) -> Result<R> {
        let (done, result) = oneshot::channel();
        self.network.spawn(async move {
            // Without a receiver nobody wants the result any more.
            let _ = done.send(work.await);
        });
        result.await.map_err(|_| anyhow!("the network's thread ended"))
    }

    /// Ends them.
    pub(super) fn stop(self) {
        for arbiter in [self.control, self.network].into_iter().chain(self.shards) {
            arbiter.stop();
        }
    }
}
