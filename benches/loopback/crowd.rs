//! The load: always the same number of operations outstanding, over one client.

use anser_client::{Client, GetError, GetOptions, Key, KeyspaceName, Level, PutError, PutOptions};
use bytes::Bytes;
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Operations outstanding at any time.
const OUTSTANDING: u64 = 64;
const VALUE_BYTES: usize = 100;
/// Coprime to the numbers of keys in use: gets come in no order.
const STRIDE: u64 = 61_813;
/// Longest latency that is told from a longer one.
const LATENCY_US_MAX: u64 = 60_000_000;
/// Replicas that a put is durable at, and that answer a get.
const LEVEL: Level = Level::Count(2);

/// A client, and how it asks.
#[derive(Clone)]
pub struct Crowd {
    client: Client,
    keyspace: KeyspaceName,
}

/// What came of a load.
pub struct Run {
    pub elapsed: Duration,
    pub latency_us: Histogram<u64>,
    pub failed: u64,
    /// The first failure.
    pub failure: Option<String>,
    /// Attempts of the SDK: one each, where nothing is tried again.
    pub attempts: u64,
}

impl Crowd {
    /// Loads through this client.
    pub fn new(client: Client) -> Crowd {
        Crowd { client, keyspace: KeyspaceName::default() }
    }

    /// Puts `count` new keys, the first of them `first`.
    pub async fn puts(&self, first: u64, count: u64) -> Run {
        self.run(count, async move |crowd, n| crowd.put(first + n).await.map_err(|error| error.to_string()))
            .await
    }

    /// Gets `count` times one of the `keys` keys from `first` on, and compares what it gets.
    pub async fn gets(&self, first: u64, keys: u64, count: u64) -> Run {
        self.run(count, async move |crowd, n| crowd.get(first + n * STRIDE % keys).await).await
    }

    /// Says good-bye.
    pub async fn close(self) {
        self.client.close().await;
    }

    async fn put(&self, n: u64) -> Result<(), PutError> {
        let options = PutOptions { level: Some(LEVEL), ..PutOptions::default() };
        self.client.put(&self.keyspace, &key(n), value(n), options).await.map(|_| ())
    }

    async fn get(&self, n: u64) -> Result<(), String> {
        let options = GetOptions { level: Some(LEVEL), ..GetOptions::default() };
        let found = self
            .client
            .get(&self.keyspace, &key(n), options)
            .await
            .map_err(|error: GetError| error.to_string())?;
        match found.value() {
            Some(found) if *found == value(n) => Ok(()),
            other => Err(format!("key {n} was read as {other:?}")),
        }
    }

    /// Runs an operation so often, [`OUTSTANDING`] at a time.
    async fn run(
        &self,
        count: u64,
        operation: impl AsyncFn(&Crowd, u64) -> Result<(), String> + Clone + 'static,
    ) -> Run {
        let attempts = self.client.counts().attempts;
        let next = Rc::new(Cell::new(0));
        let latency_us = Rc::new(RefCell::new(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).unwrap()));
        let mut failures = Vec::new();
        let begun = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..OUTSTANDING.min(count) {
            let (crowd, next, latency_us, operation) =
                (self.clone(), next.clone(), latency_us.clone(), operation.clone());
            workers.spawn_local(async move {
                let mut failures = Vec::new();
                while next.get() < count {
                    let n = next.replace(next.get() + 1);
                    let asked = Instant::now();
                    failures.extend(operation(&crowd, n).await.err());
                    latency_us
                        .borrow_mut()
                        .saturating_record(u64::try_from(asked.elapsed().as_micros()).unwrap());
                }
                failures
            });
        }
        while let Some(worker) = workers.join_next().await {
            failures.append(&mut worker.unwrap());
        }
        Run {
            elapsed: begun.elapsed(),
            latency_us: Rc::into_inner(latency_us).unwrap().into_inner(),
            failed: u64::try_from(failures.len()).unwrap(),
            failure: failures.into_iter().next(),
            attempts: self.client.counts().attempts - attempts,
        }
    }
}

fn key(n: u64) -> Key {
    Key::new(format!("user:{n:011}").into_bytes()).unwrap()
}

/// A value that only this key has.
fn value(n: u64) -> Bytes {
    let text = format!("{n:020}");
    Bytes::from(text.bytes().cycle().take(VALUE_BYTES).collect::<Vec<u8>>())
}
