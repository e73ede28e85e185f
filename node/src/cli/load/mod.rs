//! `load`: a file's rows into a keyspace, many at once, with progress, a report of what failed, and a place to resume; and
//! the same rows read back and compared.

mod row;
mod source;
mod tally;
mod verify;

use super::failure::{Failure, FailureKind};
use super::{ClientArgs, output, parse, progress};
use anser_client::{Client, GetOptions, Key, KeyspaceName, Level, PutOptions};
use indicatif::ProgressBar;
use row::Row;
use serde::Serialize;
use source::{Format, Record};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tally::Tally;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

/// Rows read ahead of those under way.
const READ_AHEAD_ROWS: usize = 64;

/// `anser load`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  anser load users.jsonl --keyspace users
  anser load /usr/share/iso-codes/json/iso_3166-1.json --key-field alpha_2
  zcat measurements.csv.gz | anser load - --format csv --key-field station
  anser load users.jsonl --keyspace users --verify

JSON lines are {\"key\":…,\"value\":…}: a string is stored as text, anything else as JSON, bytes come
as value_base64. With --key-field F any objects will do: field F is the key, the object the value.
A JSON document that is an array of objects, or an object with one array, is loaded element by
element. CSV has a header row; its key is --key-field or the first column, its value the row as a
JSON object. Loading a row again is harmless: it supersedes what was loaded before. With --verify
nothing is stored: each row's key is read, and must hold exactly the row's value (of rows with the
same key, the last one's).")]
pub struct LoadArgs {
    /// The file; - reads stdin
    file: PathBuf,
    /// Into which keyspace
    #[arg(long, value_name = "NAME", value_parser = parse::keyspace, default_value = parse::KEYSPACE_DEFAULT)]
    keyspace: KeyspaceName,
    /// The field, or column, that is the key
    #[arg(long, value_name = "FIELD")]
    key_field: Option<String>,
    /// How the file is written [default: by its name; json for stdin]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Begin at this line (or element) of the file
    #[arg(long, value_name = "LINE", default_value_t = 1)]
    from: u64,
    /// Rows under way at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    concurrency: u16,
    /// Store nothing: read each row back and compare it
    #[arg(long, conflicts_with = "ttl")]
    verify: bool,
    /// How many replicas must have each row on disk, or answer for it [default: the keyspace's]
    #[arg(long, value_name = "LEVEL", value_parser = parse::level)]
    consistency: Option<Level>,
    /// The same, as a number
    #[arg(long, value_name = "N", value_parser = parse::count, conflicts_with = "consistency")]
    w: Option<Level>,
    /// After how long the values are not shown any more
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    ttl: Option<Duration>,
    /// How long a row may take over all attempts
    #[arg(long, value_name = "DURATION", value_parser = parse::timeout, default_value = "10s")]
    timeout: Duration,
    /// Print a JSON document at the end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// `load --json`.
#[derive(Debug, Serialize)]
struct LoadedJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    loaded: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<u64>,
    failed: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resume_from: Option<u64>,
}

/// What is done with each row.
enum Task {
    /// It is stored.
    Store(PutOptions),
    /// It is read and compared.
    Verify(GetOptions),
}

/// What all rows under way share.
struct Loading {
    client: Client,
    keyspace: KeyspaceName,
    task: Task,
    tally: Mutex<Tally>,
    records: tokio::sync::Mutex<mpsc::Receiver<Record>>,
    under_way: Mutex<BTreeSet<Key>>,
    released: Notify,
    stop: watch::Sender<bool>,
    bar: ProgressBar,
    begun: Instant,
}

impl LoadArgs {
    /// Runs it.
    pub async fn run(self) -> Result<(), Failure> {
        let at = |failure: Failure| failure.at(format_args!("load {}", self.file.display()));
        let (loading, reader) = self.begin().await.map_err(at)?;
        let mut workers = JoinSet::new();
        for _ in 0..self.concurrency {
            workers.spawn(Arc::clone(&loading).work());
        }
        let interrupted = tokio::select! {
            () = join(&mut workers) => false,
            _ = tokio::signal::ctrl_c() => true,
        };
        loading.stop.send_replace(true);
        join(&mut workers).await;
        loading.bar.finish_and_clear();
        // A reader that is not done waits for a file or a pipe that nobody wants any more.
        let read = if reader.is_finished() {
            reader.join().unwrap_or_else(|_| Err(Failure::bug("the reader of the file panicked")))
        } else {
            Ok(())
        };
        loading.client.close().await;
        self.end(&loading, interrupted, read).map_err(at)
    }

    /// Connects, and starts to read.
    async fn begin(&self) -> Result<(Arc<Loading>, Reader), Failure> {
        let by_name = match self.file.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("csv") => Format::Csv,
            Some(_) | None => Format::Json,
        };
        let from_stdin = self.file == Path::new("-");
        let (source, length): (Box<dyn std::io::BufRead + Send>, _) = if from_stdin {
            (Box::new(BufReader::new(std::io::stdin())), None)
        } else {
            let file = File::open(&self.file).map_err(Failure::usage)?;
            let length = file.metadata().map_err(Failure::usage)?;
            (Box::new(BufReader::new(file)), length.is_file().then_some(length.len()))
        };
        let client = self.client.connect().await?;
        let (sender, records) = mpsc::channel(READ_AHEAD_ROWS);
        let (format, key_field, from) = (self.format.unwrap_or(by_name), self.key_field.clone(), self.from);
        let reader = std::thread::spawn(move || {
            let mut sink = |record: Record| record.place < from || sender.blocking_send(record).is_ok();
            source::read(source, format, key_field.as_deref(), &mut sink)
        });
        let loading = Loading {
            client,
            keyspace: self.keyspace.clone(),
            task: self.task(),
            tally: Mutex::new(Tally::default()),
            records: tokio::sync::Mutex::new(records),
            under_way: Mutex::default(),
            released: Notify::new(),
            stop: watch::Sender::new(false),
            bar: progress::bar(if self.verify { "verifying" } else { "loading" }, length, true),
            begun: Instant::now(),
        };
        Ok((Arc::new(loading), reader))
    }

    fn task(&self) -> Task {
        let (level, timeout) = (self.consistency.or(self.w), self.timeout);
        if self.verify {
            Task::Verify(GetOptions { level, timeout })
        } else {
            Task::Store(PutOptions { level, ttl: self.ttl, timeout, ..PutOptions::default() })
        }
    }

    /// Prints what came of it, and tells how it ends.
    fn end(&self, loading: &Loading, interrupted: bool, read: Result<(), Failure>) -> Result<(), Failure> {
        let tally = loading.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = loading.begun.elapsed().as_secs_f64();
        let stopped = interrupted || tally.is_hopeless() || read.is_err();
        let resume_from = tally.resume_from(stopped);
        for line in tally.report() {
            output::note(&line);
        }
        if let Some(line) = resume_from {
            output::note(&format!("to go on there, run it again with --from {line}"));
        }
        let (done, failed) = (tally.done, tally.failed);
        if self.json {
            let loaded = (!self.verify).then_some(done);
            let verified = self.verify.then_some(done);
            output::json(&LoadedJson { loaded, verified, failed, seconds, resume_from })?;
        } else {
            let rate = done as f64 / seconds.max(f64::EPSILON);
            let what = if self.verify { "verified" } else { "loaded" };
            output::line(&format!(
                "{what} {done} rows in {seconds:.2} s ({rate:.0} a second), {failed} failed"
            ))?;
        }
        if interrupted {
            return Err(Failure::new(FailureKind::Interrupted, "interrupted"));
        }
        read.and(tally.end())
    }
}

/// The thread that reads the file.
type Reader = std::thread::JoinHandle<Result<(), Failure>>;

/// Waits for all workers. One that panicked is a bug that the others outlive: its row is missing from the tally.
async fn join(workers: &mut JoinSet<()>) {
    while let Some(ended) = workers.join_next().await {
        if let Err(error) = ended {
            output::note(&format!("anser: a bug: {error}"));
        }
    }
}

impl Loading {
    /// Stores, or compares, row after row until there are no more, or it is of no use.
    async fn work(self: Arc<Self>) {
        let mut stop = self.stop.subscribe();
        loop {
            let record = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => None,
                record = self.take() => record,
            };
            let Some(Record { place, read_bytes, row }) = record else { return };
            self.tally(|tally| tally.take(place));
            let done = match row {
                Ok(row) => {
                    let done = self.treat(&row).await.map_err(|failure| failure.at(&row.key));
                    self.release(&row.key);
                    done
                }
                Err(why) => Err(Failure::usage(why)),
            };
            let hopeless = self.tally(|tally| {
                match done {
                    Ok(()) => tally.done(),
                    Err(failure) => tally.failed(place, failure),
                }
                let rate = tally.done as f64 / self.begun.elapsed().as_secs_f64().max(f64::EPSILON);
                if !self.bar.is_hidden() {
                    self.bar.set_position(read_bytes);
                    self.bar.set_message(format!("{} rows, {rate:.0} a second", tally.done));
                }
                tally.is_hopeless()
            });
            if hopeless {
                self.stop.send_replace(true);
            }
        }
    }

    async fn treat(&self, row: &Row) -> Result<(), Failure> {
        match &self.task {
            Task::Store(options) => {
                let put = self.client.put(&self.keyspace, &row.key, row.value.clone(), options.clone());
                put.await.map(drop).map_err(Failure::from)
            }
            Task::Verify(options) => {
                let found = self.client.get(&self.keyspace, &row.key, options.clone()).await;
                verify::compare(row, &found.map_err(Failure::from)?)
            }
        }
    }

    /// The next row, once no row of the same key is under way: the last one in the file is the one that stays, and no
    /// two become siblings.
    async fn take(&self) -> Option<Record> {
        let mut records = self.records.lock().await;
        let record = records.recv().await?;
        if let Ok(row) = &record.row {
            while !self.under_way().insert(row.key.clone()) {
                self.released.notified().await;
            }
        }
        Some(record)
    }

    fn release(&self, key: &Key) {
        self.under_way().remove(key);
        self.released.notify_one();
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally<R>(&self, change: impl FnOnce(&mut Tally) -> R) -> R {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
