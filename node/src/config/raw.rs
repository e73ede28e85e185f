//! The file's own shape, before anything is made of it: every key optional, unknown ones refused.

use super::{ByteSize, LogFormat};
use anser_model::ring::{DcName, NodeName, Weight, ZoneName};
use serde::Deserialize;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Declares a section whose keys are all optional, and how a later setting goes over an earlier one.
macro_rules! section {
    ($name:ident { $($key:ident: $type:ty),* $(,)? }) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name {
            $(pub(super) $key: Option<$type>,)*
        }

        impl $name {
            fn overlay(&mut self, over: $name) {
                $(if over.$key.is_some() { self.$key = over.$key; })*
            }
        }
    };
}

section!(Node { name: NodeName, dc: DcName, zone: ZoneName, weight: Weight, data_dir: PathBuf });
section!(Listen { quic: SocketAddr, bulk: SocketAddr, http: SocketAddr, advertise: SocketAddr });
section!(Cluster { seeds: Vec<String> });
section!(Tls { ca: PathBuf, cert: PathBuf, key: PathBuf });
section!(Limits {
    memory: ByteSize,
    max_value: ByteSize,
    max_inflight: NonZeroUsize,
    disk_reserve: ByteSize
});
section!(Log { level: String, format: LogFormat });

/// The names of the sections, as files and the environment have them.
const SECTIONS: [&str; 6] = ["node", "listen", "cluster", "tls", "limits", "log"];

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) node: Node,
    pub(super) listen: Listen,
    pub(super) cluster: Cluster,
    pub(super) tls: Tls,
    pub(super) limits: Limits,
    pub(super) log: Log,
}

impl Raw {
    /// Parses a file's text; the error is one line with file, line and key.
    pub(super) fn from_text(text: &str, path: &Path) -> Result<Raw, String> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let before = text.get(..at).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let key = text.lines().nth(line - 1).and_then(|line| line.split('=').next()).unwrap_or_default();
            format!("{}:{line}: {}: {}", path.display(), key.trim(), one_line(error.message()))
        })
    }

    /// Takes one variable of the environment in; those that name no section are not ours.
    pub(super) fn override_with(&mut self, variable: &str, value: &str) -> Result<(), String> {
        let Some(rest) = variable.strip_prefix("ANSER_") else { return Ok(()) };
        let Some((section, key)) = rest.split_once('_') else { return Ok(()) };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        if !SECTIONS.contains(&section.as_str()) {
            return Ok(());
        }
        // A list is written with commas; anything else as text first, and as a bare number if the key wants one.
        let list: Vec<&str> = value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
        let over = if key == "seeds" {
            one_setting(&section, &key, &format!("{list:?}"))
        } else {
            one_setting(&section, &key, &toml::Value::from(value).to_string())
                .or_else(|error| one_setting(&section, &key, value).map_err(|_| error))
        };
        let over = over.map_err(|error| format!("{variable}={value}: {error}"))?;
        self.node.overlay(over.node);
        self.listen.overlay(over.listen);
        self.cluster.overlay(over.cluster);
        self.tls.overlay(over.tls);
        self.limits.overlay(over.limits);
        self.log.overlay(over.log);
        Ok(())
    }
}

/// A file of one setting.
fn one_setting(section: &str, key: &str, value: &str) -> Result<Raw, String> {
    toml::from_str(&format!("[{section}]\n{key} = {value}\n")).map_err(|error| one_line(error.message()))
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
