//! Nodes that do not start, or start and do not join: each says why in one line, and harms nobody.

use crate::harness::{
    ANSER, READY_WITHIN, SOON, STOP_WITHIN, Said, Signal, TestCluster, free_port, http_get, is_alive, run,
    signal, wait_for,
};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A node beside the cluster's own, with settings of its own.
struct Stray {
    folder: PathBuf,
    name: String,
    certs: PathBuf,
    data: PathBuf,
    port: u16,
    seeds: Vec<SocketAddr>,
}

impl Stray {
    /// One that has its own ports and data, and the name and certificate of a node of the cluster. It knows nobody.
    fn new(cluster: &TestCluster, name: &str) -> Stray {
        let port = free_port(2);
        let folder = cluster.scratch().join(format!("stray-{port}"));
        fs::create_dir_all(&folder).unwrap();
        let data = folder.join("data");
        Stray { folder, name: name.to_owned(), certs: cluster.certs(), data, port, seeds: Vec::new() }
    }

    fn http(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port + 1))
    }

    fn config(&self) -> String {
        let cert = |name: &str, kind: &str| self.certs.join(format!("{name}.{kind}"));
        format!(
            "[node]\nname = {:?}\ndc = \"dc1\"\nzone = \"z1\"\ndata_dir = {:?}\n\n[listen]\nquic = \"127.0.0.1:{}\"\n\n\
             [cluster]\nseeds = {:?}\n\n[tls]\nca = {:?}\ncert = {:?}\nkey = {:?}\n",
            self.name,
            self.data,
            self.port,
            self.seeds.iter().map(SocketAddr::to_string).collect::<Vec<_>>(),
            cert("ca", "pem"),
            cert(&self.name, "pem"),
            cert(&self.name, "key"),
        )
    }

    fn command(&self, config: &str) -> Command {
        let path = self.folder.join("node.toml");
        fs::write(&path, config).unwrap();
        let mut command = Command::new(ANSER);
        // What it logs on its way up is not the line that tells why it ends.
        command.arg("node").arg("--config").arg(path).env("ANSER_LOG_LEVEL", "warn");
        command
    }

    /// Runs it to its end, which is soon.
    fn runs(&self) -> Said {
        run(self.command(&self.config()), b"")
    }

    /// Starts it and waits until it is live.
    fn start(&self) -> Running {
        let mut command = self.command(&self.config());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let running = Running(child);
        wait_for("it is live", READY_WITHIN, || {
            http_get(self.http(), "/live").is_some_and(|(status, _)| status == 200)
        });
        running
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn stop(mut self) {
        signal(self.0.id(), Signal::TERM);
        wait_for("it stops", STOP_WITHIN, || !is_alive(self.0.id()));
        assert!(self.0.wait().unwrap().success(), "it stops in order");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_node_that_can_not_start_says_why() {
    let cluster = TestCluster::start();
    configurations(&cluster);
    ports(&cluster);
    data_folders(&cluster);
    another_cluster(&cluster);
    cluster.wait_whole();
    cluster.anser(&["put", "still", "here", "--consistency", "all"]).exits(0);
}

fn configurations(cluster: &TestCluster) {
    let stray = Stray::new(cluster, "n1");
    let config = stray.config();
    let refused = |from: &str, to: &str, words: &[&str]| {
        assert!(config.contains(from), "{from} is in the file");
        run(stray.command(&config.replace(from, to)), b"").refused(2, words);
    };
    refused("quic =", "quick =", &["node.toml:8", "quick"]);
    refused("[listen]", "[listens]", &["node.toml:7", "listens"]);
    refused("dc = \"dc1\"", "dc = 1", &["node.toml:3", "dc"]);
    refused("name = \"n1\"\n", "", &["node.toml", "[node] name"]);
    refused("[tls]", "[limits]\nmemory = \"12MiB\"\n\n[tls]", &["node.toml", "[limits] memory", "128MiB"]);
    // A name that the certificate doesn't have.
    refused("name = \"n1\"", "name = \"n7\"", &["n7", "n1", "certs"]);
    let mut missing = Command::new(ANSER);
    missing.args(["node", "--config", "/nowhere/node.toml"]);
    run(missing, b"").refused(2, &["/nowhere/node.toml"]);
    let mut overridden = stray.command(&config);
    overridden.env("ANSER_LISTEN_QUIC", "here");
    run(overridden, b"").refused(2, &["ANSER_LISTEN_QUIC"]);
    assert!(!stray.data.exists(), "no data folder was made");
}

fn ports(cluster: &TestCluster) {
    let taken = cluster.nodes[0].quic.port();
    let stray = Stray { port: taken, ..Stray::new(cluster, "n1") };
    stray.runs().refused(2, &[&(taken + 1).to_string(), "in use"]);
    let own = Stray::new(cluster, "n1");
    for (key, port) in [("ANSER_LISTEN_QUIC", taken), ("ANSER_LISTEN_BULK", taken + 1)] {
        let mut command = own.command(&own.config());
        command.env("ANSER_LISTEN_HTTP", own.http().to_string()).env(key, format!("127.0.0.1:{port}"));
        run(command, b"").refused(2, &[&port.to_string(), "in use"]);
    }
}

fn data_folders(cluster: &TestCluster) {
    let running = cluster.nodes[0].folder.join("data");
    let stray = Stray { data: running, ..Stray::new(cluster, "n1") };
    stray.runs().refused(2, &["data folder", "in use by another process"]);

    // A folder that is n1's, and is not in use.
    let first = Stray::new(cluster, "n1");
    let started = first.start();
    assert_eq!(http_get(first.http(), "/ready").unwrap().0, 503, "a node in no cluster does not serve");
    started.stop();
    let second = Stray { data: first.data.clone(), ..Stray::new(cluster, "n2") };
    second.runs().refused(2, &["data folder", "belongs to node"]);
    // Its owner may have it still.
    first.start().stop();

    let file = cluster.scratch().join("no-folder");
    fs::write(&file, "").unwrap();
    let stray = Stray { data: file, ..Stray::new(cluster, "n1") };
    stray.runs().refused(2, &["data folder"]);
}

/// A node of another authority that has the cluster's nodes as its seeds.
fn another_cluster(cluster: &TestCluster) {
    let certs = cluster.scratch().join("elsewhere");
    certificates(cluster, &certs, "dev", "n4");
    let seeds = cluster.nodes.iter().map(|node| node.quic).collect();
    let stray = Stray { certs, seeds, ..Stray::new(cluster, "n4") };
    let rejected =
        || cluster.nodes.iter().map(|node| node.metric("anser_wire_rejected_total", &[])).sum::<f64>();
    let before = rejected();
    let running = stray.start();
    wait_for("it was refused", SOON, || rejected() > before);
    assert_eq!(http_get(stray.http(), "/ready").unwrap().0, 503);
    for node in &cluster.nodes {
        let states = node.states();
        assert_eq!(states.len(), cluster.nodes.len(), "{states:?}");
        assert!(states.iter().all(|(name, state)| name != "n4" && state == "alive"), "{states:?}");
    }
    running.stop();
}

fn certificates(cluster: &TestCluster, folder: &Path, name: &str, node: &str) {
    let folder = folder.to_str().unwrap();
    cluster.anser(&["certs", "ca", "--cluster", name, "--dir", folder]).exits(0);
    cluster.anser(&["certs", "node", node, "--ca", folder, "--dir", folder]).exits(0);
}
