//! The run of a bench: the workers, and the read-back.

use super::BenchArgs;
use super::report::{Measures, Report};
use super::sample::{self, Sample, Verdict};
use super::workload::{Chooser, Op, Workload};
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::{output, progress};
use anser_client::{
    Certainty, Client, ContextArg, Found, GetError, GetOptions, Key, KeyspaceName, PutOptions,
};
use fastrand::Rng;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often a sampled key is read back before its answer counts as wrong: at low levels a read may lag.
const VERIFY_TRIES: u32 = 10;
/// Between two of these.
const VERIFY_PAUSE: Duration = Duration::from_millis(100);
/// How long the read-back may take in all.
const VERIFY_MAX: Duration = Duration::from_secs(30);

/// A bench under way. Cheap to clone.
#[derive(Clone)]
pub(super) struct Bench {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    keyspace: KeyspaceName,
    workload: Workload,
    keys: u64,
    value_bytes: usize,
    concurrency: u16,
    seconds: f64,
    rate: Option<f64>,
    put: PutOptions,
    get: GetOptions,
    chooser: Chooser,
    writes: AtomicU64,
    measures: Mutex<Measures>,
    sample: Mutex<Sample>,
    failure: Mutex<Option<Failure>>,
}

/// How long the measured part took, and what was refused in it.
pub(super) struct Measured {
    seconds: f64,
    refused: u64,
}

/// What the read-back showed.
#[derive(Default)]
pub(super) struct Checked {
    pub verified: u64,
    pub wrong: Vec<String>,
}

impl Bench {
    /// Makes ready.
    pub fn new(client: Client, args: &BenchArgs) -> Result<Bench, Failure> {
        let put =
            PutOptions { level: args.consistency.or(args.w), timeout: args.timeout, ..PutOptions::default() };
        let get = GetOptions { level: args.consistency.or(args.r), timeout: args.timeout };
        let distribution = args.distribution.unwrap_or_else(|| args.workload.distribution());
        let run = u64::from(Rng::with_seed(getrandom::u64().map_err(Failure::bug)?).u32(..));
        let shared = Shared {
            client,
            keyspace: args.keyspace.clone(),
            workload: args.workload,
            keys: args.keys,
            value_bytes: usize::try_from(args.value_bytes).map_err(Failure::bug)?,
            concurrency: args.concurrency,
            seconds: args.seconds,
            rate: args.rate,
            put,
            get,
            chooser: Chooser::new(distribution, args.keys),
            writes: AtomicU64::new(run << 32),
            measures: Mutex::new(Measures::new()?),
            sample: Mutex::default(),
            failure: Mutex::default(),
        };
        Ok(Bench { shared: Arc::new(shared) })
    }

    /// Writes every key once. Ends at the first failure: a bench of half the keys measures something else.
    pub async fn preload(&self) -> Result<(), Failure> {
        let bar = progress::bar("writing", Some(self.shared.keys), false);
        let next = Arc::new(AtomicU64::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..self.shared.concurrency {
            let (shared, next, bar) = (Arc::clone(&self.shared), Arc::clone(&next), bar.clone());
            workers.spawn(async move {
                loop {
                    let key = next.fetch_add(1, Ordering::Relaxed);
                    if key >= shared.keys {
                        return Ok(());
                    }
                    shared.write(key, ContextArg::Blind).await?;
                    bar.inc(1);
                }
            });
        }
        let mut ended = Ok(());
        while let Some(worker) = workers.join_next().await {
            ended = ended.and(worker.map_err(Failure::bug)?.map_err(|failure: Failure| failure.at("--load")));
        }
        bar.finish_and_clear();
        ended
    }

    /// Runs the workload; ctrl-C ends it early.
    pub async fn measure(&self) -> Measured {
        let shared = &self.shared;
        let refused = shared.client.counts().refused;
        let begun = Instant::now();
        let load = Arc::new(Load {
            begun,
            until: begun + Duration::from_secs_f64(shared.seconds),
            rate: shared.rate,
            tickets: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let mut workers = JoinSet::new();
        for worker in 0..shared.concurrency {
            let random = Rng::with_seed(shared.writes.load(Ordering::Relaxed) ^ u64::from(worker));
            workers.spawn(Arc::clone(shared).work(Arc::clone(&load), random));
        }
        let joined = async {
            while let Some(worker) = workers.join_next().await {
                if let Err(error) = worker {
                    shared.fail(Failure::bug(error));
                }
            }
        };
        tokio::pin!(joined);
        tokio::select! {
            () = &mut joined => {}
            _ = tokio::signal::ctrl_c() => {
                load.stop.store(true, Ordering::Relaxed);
                joined.await;
            }
        }
        Measured {
            seconds: begun.elapsed().as_secs_f64(),
            refused: shared.client.counts().refused.saturating_sub(refused),
        }
    }

    /// Reads the sampled keys back.
    pub async fn verify(&self) -> Checked {
        let shared = &self.shared;
        let keys = shared.sample().keys();
        let mut checked = Checked::default();
        let begun = Instant::now();
        for key in keys {
            if begun.elapsed() > VERIFY_MAX {
                output::note("anser: the read-back took too long and was left unfinished");
                break;
            }
            match shared.verify(key).await {
                Ok(Verdict::Sound) => checked.verified += 1,
                Ok(Verdict::Lost) => checked.wrong.push(format!("{} lacks an acknowledged write", name(key))),
                Ok(Verdict::Altered) => checked.wrong.push(format!("{} holds what nobody wrote", name(key))),
                Err(failure) => shared.fail(failure.at(format_args!("read back {}", name(key)))),
            }
        }
        checked
    }

    /// The report.
    pub fn report(&self, measured: Measured, verified: u64) -> Result<Report, Failure> {
        Ok(self.shared.measures().report(measured.seconds, measured.refused, verified))
    }

    /// The failure that tells how the bench ends, if any operation failed.
    pub fn first_failure(&self) -> Option<Failure> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Leaves the cluster.
    pub async fn close(&self) {
        self.shared.client.close().await;
    }
}

/// What all workers of the measured part share.
struct Load {
    begun: Instant,
    until: Instant,
    rate: Option<f64>,
    tickets: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    /// When the next operation is due; none if that is after the end.
    fn next_due(&self) -> Option<Instant> {
        let due = match self.rate {
            Some(rate) => {
                let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
                self.begun + Duration::try_from_secs_f64(ticket as f64 / rate).ok()?
            }
            None => Instant::now(),
        };
        (due < self.until && !self.stop.load(Ordering::Relaxed)).then_some(due)
    }
}

impl Shared {
    async fn work(self: Arc<Self>, load: Arc<Load>, mut random: Rng) {
        while let Some(due) = load.next_due() {
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            let op = self.workload.op(random.u8(..100));
            let done = self.operate(op, &mut random).await;
            let latency_us = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.measures().note(op, latency_us, done.is_ok());
            if let Err(failure) = done {
                self.fail(failure);
            }
        }
    }

    async fn operate(&self, op: Op, random: &mut Rng) -> Result<(), Failure> {
        match op {
            Op::Put => self.write(self.chooser.choose(random), ContextArg::Blind).await,
            Op::Insert => self.write(self.chooser.insert(), ContextArg::Blind).await,
            Op::Get => self.read(self.chooser.choose(random)).await.map(drop),
            Op::ReadModifyWrite => {
                let key = self.chooser.choose(random);
                let found = self.read(key).await?;
                self.write(key, ContextArg::Token(found.context)).await
            }
        }
    }

    async fn write(&self, key: u64, context: ContextArg) -> Result<(), Failure> {
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        let options = PutOptions { context, ..self.put.clone() };
        let value = sample::value(key, write, self.value_bytes);
        self.sample().begin(key, write);
        let done = self.client.put(&self.keyspace, &key_of(key)?, value, options).await;
        let failed = done.as_ref().is_err_and(|error| error.certainty() == Certainty::Failed);
        self.sample().end(key, write, done.is_ok(), failed);
        done.map(drop).map_err(|error| Failure::from(error).at(name(key)))
    }

    async fn read(&self, key: u64) -> Result<Found, Failure> {
        let found = self.get(key).await.map_err(|error| Failure::from(error).at(name(key)))?;
        if found.versions.is_empty() {
            self.measures().missing += 1;
        }
        if found.versions.iter().any(|version| !sample::is_sound(key, &version.value)) {
            return Err(Failure::bug("a get showed what nobody wrote").at(name(key)));
        }
        Ok(found)
    }

    async fn get(&self, key: u64) -> Result<Found, GetError> {
        let key = key_of(key).map_err(|failure| GetError::Nonsense(failure.line))?;
        self.client.get(&self.keyspace, &key, self.get.clone()).await
    }

    /// Reads a key back until it is sound, a bounded number of times.
    async fn verify(&self, key: u64) -> Result<Verdict, Failure> {
        let mut last = Ok(Verdict::Sound);
        for _ in 0..VERIFY_TRIES {
            last = match self.get(key).await {
                Ok(found) => {
                    let shown: Vec<_> = found.versions.iter().map(|version| version.value.as_ref()).collect();
                    Ok(self.sample().judge(key, &shown))
                }
                Err(error) => Err(Failure::from(error)),
            };
            match last {
                Ok(Verdict::Sound) => break,
                Ok(Verdict::Lost | Verdict::Altered) | Err(_) => tokio::time::sleep(VERIFY_PAUSE).await,
            }
        }
        last
    }

    /// Keeps the failure that tells how the bench ends: the first, unless a later one is unknown or a bug.
    fn fail(&self, failure: Failure) {
        let weight = |failure: &Failure| match failure.kind {
            FailureKind::Bug => 2,
            FailureKind::Unknown => 1,
            FailureKind::Missing
            | FailureKind::Usage
            | FailureKind::Unavailable
            | FailureKind::Conflict
            | FailureKind::NotAllowed
            | FailureKind::Unreachable
            | FailureKind::Interrupted => 0,
        };
        let mut kept = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|kept| weight(kept) < weight(&failure)) {
            *kept = Some(failure);
        }
    }

    fn measures(&self) -> MutexGuard<'_, Measures> {
        self.measures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sample(&self) -> MutexGuard<'_, Sample> {
        self.sample.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(key: u64) -> String {
    format!("bench-{key:012}")
}

fn key_of(key: u64) -> Result<Key, Failure> {
    Key::new(name(key)).map_err(Failure::bug)
}
