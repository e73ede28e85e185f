//! The node's settings: `node.toml`, overridden by `ANSER_<SECTION>_<KEY>` in the environment.
//!
//! Keeps: an unknown key, a bad value or an unreadable file stops the start with one line that names file, line and key.

mod raw;
mod size;

pub use size::ByteSize;

use anser_model::key::VALUE_BYTES_MAX;
use anser_model::ring::{DcName, NodeName, Weight, ZoneName};
use raw::Raw;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// The least memory target that makes sense, in bytes.
pub const MEMORY_BYTES_MIN: u64 = 128 << 20;
/// Most seeds.
const SEEDS_MAX: usize = 64;
/// Client requests that a node works on at once, unless configured.
const INFLIGHT_DEFAULT: usize = 8192;

/// Everything a node is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is.
    pub name: NodeName,
    /// Its data centre.
    pub dc: DcName,
    /// Its zone.
    pub zone: ZoneName,
    /// Its strength.
    pub weight: Weight,
    /// Its data folder.
    pub data_dir: PathBuf,
    /// UDP address of QUIC.
    pub quic: SocketAddr,
    /// UDP address of bulk QUIC.
    pub bulk: SocketAddr,
    /// TCP address of the operator's HTTP.
    pub http: SocketAddr,
    /// Where it tells others to reach it.
    pub advertise: SocketAddr,
    /// Whom to ask first.
    pub seeds: Vec<SocketAddr>,
    /// The authority's certificate.
    pub ca: PathBuf,
    /// Its own certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Target for the whole process, in bytes.
    pub memory_bytes: u64,
    /// Largest value, in bytes.
    pub max_value_bytes: usize,
    /// Client requests worked on at once.
    pub max_inflight: usize,
    /// The node does not start with less free space than this, in bytes.
    pub disk_reserve_bytes: u64,
    /// What to log: a level, or a filter such as `info,anser_quic=debug`.
    pub log_level: String,
    /// How to log.
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is no configuration. One line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Reads a file, and the environment over it.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError(format!("{}: cannot read it: {error}", path.display())))?;
        Config::parse(&text, path, std::env::vars())
    }

    /// Reads a text that stands in `path`, and settings over it.
    pub fn parse(
        text: &str,
        path: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let mut raw = Raw::from_text(text, path).map_err(ConfigError)?;
        for (name, value) in environment {
            raw.override_with(&name, &value).map_err(ConfigError)?;
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        Config::from_raw(raw, folder).map_err(|error| ConfigError(format!("{}: {error}", path.display())))
    }

    fn from_raw(raw: Raw, folder: &Path) -> Result<Config, String> {
        let need = |key: &str| format!("{key} is missing");
        let quic = raw.listen.quic.ok_or_else(|| need("[listen] quic"))?;
        let next_port = quic
            .port()
            .checked_add(1)
            .ok_or("[listen] quic: port 65535 leaves none for bulk; set [listen] bulk and http".to_owned());
        let bulk = match raw.listen.bulk {
            Some(bulk) => bulk,
            None => SocketAddr::new(quic.ip(), next_port.clone()?),
        };
        let http = match raw.listen.http {
            Some(http) => http,
            None => SocketAddr::from(([127, 0, 0, 1], next_port?)),
        };
        let advertise = raw.listen.advertise.unwrap_or(quic);
        if advertise.ip().is_unspecified() {
            return Err(format!(
                "[listen] advertise: {advertise} is no address others can reach; set it to this machine's own"
            ));
        }
        let memory_bytes = raw.limits.memory.map_or_else(default_memory_bytes, |size| size.0);
        if memory_bytes < MEMORY_BYTES_MIN {
            return Err(format!(
                "[limits] memory: {} is too little; the least is 128MiB",
                ByteSize(memory_bytes)
            ));
        }
        let max_value_bytes = raw.limits.max_value.map_or(VALUE_BYTES_MAX as u64, |size| size.0);
        let max_value_bytes = usize::try_from(max_value_bytes)
            .ok()
            .filter(|bytes| (1..=VALUE_BYTES_MAX).contains(bytes))
            .ok_or("[limits] max_value: from 1 to 16MiB".to_owned())?;
        Ok(Config {
            name: raw.node.name.ok_or_else(|| need("[node] name"))?,
            dc: raw.node.dc.ok_or_else(|| need("[node] dc"))?,
            zone: raw.node.zone.ok_or_else(|| need("[node] zone"))?,
            weight: raw.node.weight.unwrap_or_default(),
            data_dir: folder.join(raw.node.data_dir.ok_or_else(|| need("[node] data_dir"))?),
            quic,
            bulk,
            http,
            advertise,
            seeds: resolve(raw.cluster.seeds.unwrap_or_default())?,
            ca: folder.join(raw.tls.ca.ok_or_else(|| need("[tls] ca"))?),
            cert: folder.join(raw.tls.cert.ok_or_else(|| need("[tls] cert"))?),
            key: folder.join(raw.tls.key.ok_or_else(|| need("[tls] key"))?),
            memory_bytes,
            max_value_bytes,
            max_inflight: raw.limits.max_inflight.map_or(INFLIGHT_DEFAULT, |count| count.get()),
            disk_reserve_bytes: raw.limits.disk_reserve.map_or(256 << 20, |size| size.0),
            log_level: raw.log.level.unwrap_or_else(|| "info".to_owned()),
            log_format: raw.log.format.unwrap_or(LogFormat::Text),
        })
    }
}

/// Addresses of the seeds; a name may stand for several.
fn resolve(seeds: Vec<String>) -> Result<Vec<SocketAddr>, String> {
    if seeds.len() > SEEDS_MAX {
        return Err(format!("[cluster] seeds: {} of them; at most {SEEDS_MAX}", seeds.len()));
    }
    let mut addresses = Vec::new();
    for seed in seeds {
        let found = seed.to_socket_addrs().map_err(|error| {
            format!("[cluster] seeds: {seed:?} is no HOST:PORT that can be found: {error}")
        })?;
        addresses.extend(found.take(SEEDS_MAX));
    }
    Ok(addresses)
}

/// A quarter of what this process may use: of the control group's limit, or of the machine's memory.
fn default_memory_bytes() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let of_group = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse::<u64>().ok());
    let of_machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
    });
    let all = of_group.into_iter().chain(of_machine).min().unwrap_or(4 << 30);
    (all / 4).max(MEMORY_BYTES_MIN)
}

#[cfg(test)]
mod tests;
