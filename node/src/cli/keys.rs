//! `put`, `get` and `del`: one key.

use super::failure::{Failure, FailureKind};
use super::json::{FoundJson, WrittenJson};
use super::parse::{self, KeyArg};
use super::{ClientArgs, output};
use anser_client::{Client, Found, GetError, GetOptions, Level, PutError, PutOptions, ShownVersion, Written};
use bytes::Bytes;
use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

/// Values are read from files and stdin up to this, and one byte to see that there is more.
const VALUE_BYTES_MAX: u64 = anser_model::key::VALUE_BYTES_MAX as u64;
/// How much of each version is shown on stderr when there are several.
const LISTED_CHARS_MAX: usize = 60;

/// How a command writes.
#[derive(Debug, clap::Args)]
pub struct WriteArgs {
    /// What the write settles: a context that `get` or `put` printed; `none` asks for a sibling; without it, the write
    /// supersedes what its replica holds
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// How many replicas must have it on disk: one, two, three, quorum, all, local_one, local_quorum or each_quorum
    /// [default: the keyspace's]
    #[arg(long, value_name = "LEVEL", value_parser = parse::level)]
    consistency: Option<Level>,
    /// The same, as a number
    #[arg(long, value_name = "N", value_parser = parse::count, conflicts_with = "consistency")]
    w: Option<Level>,
    /// How long it may take over all attempts
    #[arg(long, value_name = "DURATION", value_parser = parse::timeout, default_value = "2s")]
    timeout: Duration,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// `anser put`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  anser put greeting 'hello, world'
  anser put users/1001 --file ada.json --consistency all
  date | anser put today --ttl 24h

The first slash of KEY ends the keyspace's name: users/1001 is key 1001 of keyspace users, and a
key that has a slash itself is written default/a/b. VALUE - or none reads stdin.")]
pub struct PutArgs {
    /// The key: KEY or KEYSPACE/KEY
    key: OsString,
    /// The value; - or none reads stdin
    value: Option<OsString>,
    /// Read the value from a file
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    file: Option<PathBuf>,
    /// Store a value of no bytes; without it, one is refused: it is more often an unset variable or a failed pipe
    #[arg(long)]
    allow_empty: bool,
    /// How long the value is shown, as 30s, 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    ttl: Option<Duration>,
    #[command(flatten)]
    write: WriteArgs,
}

/// `anser del`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  anser del greeting
  anser del users/1001 --consistency all --json

Deleting a key that does not exist succeeds.")]
pub struct DelArgs {
    /// The key: KEY or KEYSPACE/KEY
    key: OsString,
    #[command(flatten)]
    write: WriteArgs,
}

/// `anser get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  anser get greeting
  anser get users/1001 --json
  anser get cart --all

Prints the value's bytes as they are; a newline is added only on a terminal. Exits with 1 if the key
does not exist, and with 5 if it has several versions: writing with the context of `get --json`
settles them.")]
pub struct GetArgs {
    /// The key: KEY or KEYSPACE/KEY
    key: OsString,
    /// How many replicas must answer: one, two, three, quorum, all, local_one, local_quorum or each_quorum
    /// [default: the keyspace's]
    #[arg(long, value_name = "LEVEL", value_parser = parse::level)]
    consistency: Option<Level>,
    /// The same, as a number
    #[arg(long, value_name = "N", value_parser = parse::count, conflicts_with = "consistency")]
    r: Option<Level>,
    /// Print the values of all versions if there are several, a line each
    #[arg(long)]
    all: bool,
    /// How long it may take over all attempts
    #[arg(long, value_name = "DURATION", value_parser = parse::timeout, default_value = "2s")]
    timeout: Duration,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

impl WriteArgs {
    fn options(&self, ttl: Option<Duration>) -> PutOptions {
        let context = parse::context(self.context.as_deref());
        PutOptions { context, level: self.consistency.or(self.w), ttl, timeout: self.timeout }
    }

    fn print(&self, done: &str, written: Written) -> Result<(), Failure> {
        if self.json {
            return output::json(&WrittenJson::from(written));
        }
        let receipt = written.receipt;
        let fallbacks = match receipt.fallbacks {
            0 => String::new(),
            fallbacks => format!(" and {fallbacks} fallbacks"),
        };
        output::line(&format!(
            "{done}, durable on {} of {} replicas{fallbacks} ({})",
            receipt.durable, receipt.replicas, receipt.level
        ))
    }
}

impl PutArgs {
    /// Runs it.
    pub async fn run(self) -> Result<(), Failure> {
        let key = KeyArg::parse(&self.key).map_err(|failure| failure.at("put"))?;
        let at = |failure: Failure| failure.at(format_args!("put {key}"));
        let value = self.value().map_err(at)?;
        if value.is_empty() && !self.allow_empty {
            return Err(at(Failure::usage("the value is empty; if that is meant, add --allow-empty")));
        }
        let options = self.write.options(self.ttl);
        let put = async |client: &Client| {
            client
                .put(&key.keyspace, &key.key, value, options)
                .await
                .map_err(|error| put_failure(&key, error))
        };
        let written = self.write.client.with(put).await.map_err(at)?;
        self.write.print("stored", written)
    }

    fn value(&self) -> Result<Bytes, Failure> {
        match (&self.value, &self.file) {
            (None, Some(file)) => {
                let named = |error: std::io::Error| Failure::usage(format!("{}: {error}", file.display()));
                read(std::fs::File::open(file).map_err(named)?).map_err(|failure| failure.at(file.display()))
            }
            (Some(value), _) if value != "-" => {
                let value = std::os::unix::ffi::OsStrExt::as_bytes(value.as_os_str());
                Ok(Bytes::copy_from_slice(value))
            }
            (Some(_) | None, _) => read(std::io::stdin().lock()),
        }
    }
}

impl DelArgs {
    /// Runs it.
    pub async fn run(self) -> Result<(), Failure> {
        let key = KeyArg::parse(&self.key).map_err(|failure| failure.at("del"))?;
        let at = |failure: Failure| failure.at(format_args!("del {key}"));
        let options = self.write.options(None);
        let delete = async |client: &Client| {
            client.delete(&key.keyspace, &key.key, options).await.map_err(|error| put_failure(&key, error))
        };
        let written = self.write.client.with(delete).await.map_err(at)?;
        self.write.print("deleted", written)
    }
}

impl GetArgs {
    /// Runs it.
    pub async fn run(self) -> Result<(), Failure> {
        let key = KeyArg::parse(&self.key).map_err(|failure| failure.at("get"))?;
        let at = |failure: Failure| failure.at(format_args!("get {key}"));
        let options = GetOptions { level: self.consistency.or(self.r), timeout: self.timeout };
        let get = async |client: &Client| {
            client.get(&key.keyspace, &key.key, options).await.map_err(|error| get_failure(&key, error))
        };
        let found = self.client.with(get).await.map_err(at)?;
        self.print(&key, &found).map_err(at)
    }

    fn print(&self, key: &KeyArg, found: &Found) -> Result<(), Failure> {
        if self.json {
            output::json(&FoundJson::new(key.keyspace.as_str(), key.key.as_bytes(), found))?;
        }
        match found.versions.as_slice() {
            [] => Err(Failure::new(FailureKind::Missing, "the key does not exist")),
            [_] if self.json => Ok(()),
            [version] => {
                output::bytes(&version.value)?;
                let newline = output::to_terminal() && !version.value.ends_with(b"\n");
                if newline { output::bytes(b"\n") } else { Ok(()) }
            }
            versions => {
                if !self.json {
                    for version in versions {
                        if self.all {
                            output::bytes(&[version.value.as_ref(), b"\n"].concat())?;
                        } else {
                            output::note(&listed(version));
                        }
                    }
                }
                Err(Failure::new(
                    FailureKind::Conflict,
                    format!(
                        "the key has {} conflicting versions; write with the context of `get --json` to settle them",
                        versions.len()
                    ),
                ))
            }
        }
    }
}

/// Why a write failed. A keyspace that is not there may be the first part of a key with a slash.
fn put_failure(key: &KeyArg, error: PutError) -> Failure {
    if error == PutError::UnknownKeyspace { no_keyspace(key) } else { error.into() }
}

/// Why a read failed.
fn get_failure(key: &KeyArg, error: GetError) -> Failure {
    if error == GetError::UnknownKeyspace { no_keyspace(key) } else { error.into() }
}

fn no_keyspace(key: &KeyArg) -> Failure {
    Failure::usage(format!(
        "there is no keyspace {0}; a key that has a slash is written default/{0}/…",
        key.keyspace
    ))
}

/// One of several versions, on a line.
fn listed(version: &ShownVersion) -> String {
    let text = String::from_utf8_lossy(&version.value);
    let mut shown: String = text.chars().take(LISTED_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > LISTED_CHARS_MAX {
        shown.push('…');
    }
    format!("version {} ({} bytes): {shown}", version.dot, version.value.len())
}

/// Reads a value to its end, but no more than a value may have.
fn read(source: impl Read) -> Result<Bytes, Failure> {
    let mut value = Vec::new();
    let read = source.take(VALUE_BYTES_MAX + 1).read_to_end(&mut value);
    read.map_err(|error| Failure::usage(format!("the value can't be read: {error}")))?;
    if value.len() as u64 > VALUE_BYTES_MAX {
        return Err(Failure::usage(format!("the value is too large; the limit is {VALUE_BYTES_MAX} bytes")));
    }
    Ok(Bytes::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_past_the_limit_is_refused_before_anything_is_sent() {
        let failure = read(std::io::repeat(b'x')).unwrap_err();
        assert!(failure.line.contains("16777216"), "{failure}");
        assert_eq!(read(&b"small"[..]).unwrap().as_ref(), b"small");
    }
}
