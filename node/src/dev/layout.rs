//! The folder of a development cluster: who runs where, certificates, configuration files.
//!
//! Keeps: nothing that a run made before is made anew, and no folder is emptied that `dev` did not make.

use anser_quic::{Kind, PemPair, create_ca, issue};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The name of a development cluster, as its certificates have it.
pub const CLUSTER_NAME: &str = "dev";
/// Most nodes of a development cluster.
pub const NODES_MAX: u16 = 64;
/// How long development certificates are good for, in days.
const CERTIFICATE_DAYS: u32 = 3650;

/// How many nodes, in how many data centres.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Data centres.
    pub dcs: u16,
    /// Nodes in each.
    pub nodes: u16,
}

/// One node of the cluster.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// Its data centre.
    pub dc: String,
    /// Its zone.
    pub zone: String,
    /// Its folder.
    pub folder: PathBuf,
    /// UDP address of QUIC.
    pub quic: SocketAddr,
    /// UDP address of bulk QUIC.
    pub bulk: SocketAddr,
    /// TCP address of HTTP.
    pub http: SocketAddr,
}

/// The whole folder.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Where it is.
    pub dir: PathBuf,
    /// Its nodes, in the order of their names.
    pub nodes: Vec<NodePlan>,
}

impl Layout {
    /// The layout of a cluster in `dir`: a new one of the wanted shape (three nodes unless said), or the one that is there.
    pub fn prepare(
        dir: &Path,
        dcs: Option<u16>,
        nodes: Option<u16>,
        base: u16,
        fresh: bool,
    ) -> Result<Layout> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let marker = dir.join("dev.json");
        if fresh && marker.exists() {
            empty(&dir)?;
        }
        let shape = match fs::read(&marker) {
            Ok(bytes) => {
                let there: Shape = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is damaged; start with --fresh", marker.display()))?;
                let wanted = Shape { dcs: dcs.unwrap_or(there.dcs), nodes: nodes.unwrap_or(there.nodes) };
                if wanted != there {
                    bail!(
                        "{} holds a cluster of {} x {} nodes; start it as it is, or anew with --fresh (its data is then gone)",
                        dir.display(),
                        there.dcs,
                        there.nodes
                    );
                }
                there
            }
            Err(_) => {
                if fs::read_dir(&dir)?.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lock")) {
                    bail!(
                        "{} is not empty, and no development cluster; name another folder with --dir",
                        dir.display()
                    );
                }
                Shape { dcs: dcs.unwrap_or(1), nodes: nodes.unwrap_or(3) }
            }
        };
        let layout = Layout { nodes: plan(&dir, shape, base)?, dir };
        layout.write_certificates()?;
        layout.write_configs()?;
        replace(&marker, &serde_json::to_vec(&shape)?)?;
        Ok(layout)
    }

    /// The client's profile.
    pub fn client_profile(&self) -> PathBuf {
        self.dir.join("client.toml")
    }

    /// The operator's profile: the client's, with a certificate that may found the cluster.
    pub fn operator_profile(&self) -> PathBuf {
        self.dir.join("operator.toml")
    }

    fn write_certificates(&self) -> Result<()> {
        let certs = self.dir.join("certs");
        fs::create_dir_all(&certs)?;
        let (ca_cert, ca_key) = (certs.join("ca.pem"), certs.join("ca.key"));
        if !ca_key.exists() {
            write_pair(&create_ca(CLUSTER_NAME)?, &ca_cert, &ca_key)?;
        }
        let (authority, authority_key) = (fs::read_to_string(&ca_cert)?, fs::read_to_string(&ca_key)?);
        let nodes = self.nodes.iter().map(|node| (Kind::Node, node.name.as_str()));
        for (kind, name) in nodes.chain([(Kind::Client, "client"), (Kind::Operator, "operator")]) {
            let (cert, key) = (certs.join(format!("{name}.pem")), certs.join(format!("{name}.key")));
            if !cert.exists() {
                let pair = issue(&authority, &authority_key, CLUSTER_NAME, kind, name, CERTIFICATE_DAYS)?;
                write_pair(&pair, &cert, &key)?;
            }
        }
        Ok(())
    }

    /// Written at every start, so that another `--port` reaches them.
    fn write_configs(&self) -> Result<()> {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.quic.to_string()).collect();
        for node in &self.nodes {
            fs::create_dir_all(&node.folder)?;
            let mut text = String::new();
            writeln!(
                text,
                "[node]\nname = \"{}\"\ndc = \"{}\"\nzone = \"{}\"",
                node.name, node.dc, node.zone
            )?;
            writeln!(text, "data_dir = \"data\"\n")?;
            writeln!(
                text,
                "[listen]\nquic = \"{}\"\nbulk = \"{}\"\nhttp = \"{}\"\n",
                node.quic, node.bulk, node.http
            )?;
            writeln!(text, "[cluster]\nseeds = {addresses:?}\n")?;
            let name = &node.name;
            writeln!(
                text,
                "[tls]\nca = \"../certs/ca.pem\"\ncert = \"../certs/{name}.pem\"\nkey = \"../certs/{name}.key\""
            )?;
            replace(&node.folder.join("node.toml"), text.as_bytes())?;
        }
        for (path, name) in [(self.client_profile(), "client"), (self.operator_profile(), "operator")] {
            let text = format!(
                "[cluster]\naddresses = {addresses:?}\n\n[tls]\nca = \"certs/ca.pem\"\ncert = \"certs/{name}.pem\"\nkey = \"certs/{name}.key\"\n"
            );
            replace(&path, text.as_bytes())?;
        }
        Ok(())
    }
}

/// Names and ports: node i listens on `base + 2i` (QUIC) and `base + 2i + 1` (bulk, and HTTP on TCP).
fn plan(dir: &Path, shape: Shape, base: u16) -> Result<Vec<NodePlan>> {
    let count = shape.dcs.checked_mul(shape.nodes).filter(|count| (1..=NODES_MAX).contains(count));
    let Some(count) = count else { bail!("a development cluster has 1 to {NODES_MAX} nodes") };
    if base.checked_add(2 * count).is_none() || base == 0 {
        bail!("--port {base}: {count} nodes need {} ports from there on", 2 * count);
    }
    let digits = count.to_string().len();
    Ok((0..count)
        .map(|i| {
            let name = format!("n{:0digits$}", i + 1);
            let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            NodePlan {
                folder: dir.join(&name),
                name,
                dc: format!("dc{}", i / shape.nodes + 1),
                zone: format!("z{}", i % shape.nodes + 1),
                quic: at(base + 2 * i),
                bulk: at(base + 2 * i + 1),
                http: at(base + 2 * i + 1),
            }
        })
        .collect())
}

/// Removes what earlier runs left in a development cluster's folder.
fn empty(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name == "lock") {
            continue;
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Writes a certificate, and its key for the owner's eyes only.
pub fn write_pair(pair: &PemPair, cert: &Path, key: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(key).with_context(|| {
            format!(
                "cannot make {} (an existing key is never overwritten; `anser certs renew` makes a new certificate for it)",
                key.display()
            )
        })?;
    std::io::Write::write_all(&mut file, pair.key.as_bytes())?;
    fs::write(cert, &pair.certificate).with_context(|| format!("cannot write {}", cert.display()))
}

/// Replaces a file at once: a reader sees the old content or the new.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, content).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("cannot replace {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_in_the_order_of_ports() {
        let nodes = plan(Path::new("/d"), Shape { dcs: 2, nodes: 6 }, 7400).unwrap();
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(names, sorted);
        assert_eq!((nodes[6].dc.as_str(), nodes[6].quic.port(), nodes[6].http.port()), ("dc2", 7412, 7413));
        assert!(plan(Path::new("/d"), Shape { dcs: 1, nodes: 3 }, 65_533).is_err());
        assert!(plan(Path::new("/d"), Shape { dcs: 0, nodes: 3 }, 7400).is_err());
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let dir = std::env::temp_dir().join(format!("anser-layout-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("thesis.txt"), "years of work").unwrap();
        let error = Layout::prepare(&dir, None, None, 7400, true).unwrap_err();
        assert!(error.to_string().contains("not empty"), "{error}");
        assert!(dir.join("thesis.txt").exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
