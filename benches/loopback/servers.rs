//! The servers: `anser dev` in a folder of its own, on free ports.

use crate::cpu::Cpu;
use anser_client::{Client, Profile};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program that is measured.
const ANSER: &str = env!("CARGO_BIN_EXE_anser");
/// Names another one in its place, to compare two builds.
const OTHER_ANSER: &str = "BENCH_ANSER";
const NODES: u16 = 3;
/// Where free ports are looked for, and in steps of what.
const PORTS: std::ops::Range<u16> = 31_000..32_500;
/// Servers are quiet when they spend less than this in [`LOOK_EVERY`].
const QUIET_US: f64 = 10_000.0;
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long they get to become quiet.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);
/// How long a page of a node's may take.
const PAGE_WITHIN: Duration = Duration::from_secs(5);

/// A running cluster. It ends when this is dropped.
pub struct Servers {
    dev: Child,
    /// Kept open, so that a late line of theirs finds a reader.
    _out: BufReader<ChildStdout>,
    dir: TempDir,
    addresses: Vec<SocketAddr>,
    pages: Vec<SocketAddr>,
    pids: Vec<u32>,
}

/// What the servers' disks did together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Commits {
    pub groups: f64,
    pub records: f64,
}

impl Servers {
    /// Starts three nodes, and waits until they serve.
    pub fn start() -> Servers {
        // Not the system's folder for temporary files, which may be in memory.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let port = free_port().to_string();
        let mut command = Command::new(std::env::var(OTHER_ANSER).as_deref().unwrap_or(ANSER));
        // A node that crashes is to be seen, not replaced.
        command.args(["dev", "--json", "--no-restart", "--port", &port, "--dir"]).arg(dir.path());
        let mut dev = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(dev.stdout.take().unwrap());
        let mut table = String::new();
        out.read_line(&mut table).unwrap();
        let mut line = String::new();
        while line.trim_end() != "ready" {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "the cluster did not start: {table}");
        }
        let table: serde_json::Value = serde_json::from_str(&table).unwrap();
        let nodes = table["nodes"].as_array().unwrap();
        let pid = |node: &serde_json::Value| u32::try_from(node["pid"].as_u64().unwrap()).unwrap();
        let addresses = |of: &str| -> Vec<SocketAddr> {
            nodes.iter().map(|node| node[of].as_str().unwrap().parse().unwrap()).collect()
        };
        Servers {
            dev,
            _out: out,
            dir,
            addresses: addresses("quic"),
            pages: addresses("http"),
            pids: nodes.iter().map(pid).collect(),
        }
    }

    /// A client that knows every node.
    pub async fn client(&self) -> Client {
        let certs = |name: &str| -> PathBuf { self.dir.path().join("certs").join(name) };
        let profile = Profile {
            addresses: self.addresses.clone(),
            ca: certs("ca.pem"),
            cert: certs("client.pem"),
            key: certs("client.key"),
        };
        Client::connect(profile).await.unwrap()
    }

    /// CPU time of all nodes together. One that has ended is an error.
    pub fn cpu(&self) -> Cpu {
        self.pids.iter().map(|pid| Cpu::of(*pid)).fold(Cpu::default(), |sum, one| sum.plus(&one))
    }

    /// Groups committed since the start, and the records in them.
    pub fn commits(&self) -> Commits {
        let pages: Vec<String> = self.pages.iter().map(|node| page(*node, "/metrics")).collect();
        let sum = |name: &str| {
            let values =
                pages.iter().flat_map(|page| page.lines()).filter_map(|line| line.strip_prefix(name));
            values.map(|value| value.trim().parse::<f64>().unwrap()).sum()
        };
        Commits { groups: sum("anser_commit_batch_count "), records: sum("anser_commit_batch_sum ") }
    }

    /// Waits until no node has work left. How long that took.
    pub async fn settle(&self) -> Duration {
        let begun = Instant::now();
        let mut before = self.cpu();
        while begun.elapsed() < SETTLE_WITHIN {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.cpu();
            if now.since(&before).total_us() <= QUIET_US {
                break;
            }
            before = now;
        }
        begun.elapsed()
    }

    /// Ends the cluster, as Ctrl-C would.
    pub fn stop(mut self) {
        self.terminate();
        assert!(self.dev.wait().unwrap().success(), "the cluster did not end well");
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.dev.id()).unwrap()).unwrap();
        // One that ended already needs no signal.
        let _ = kill_process(pid, Signal::TERM);
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if matches!(self.dev.try_wait(), Ok(None)) {
            self.terminate();
            let _ = self.dev.wait();
        }
        // What went wrong is in the nodes' logs, and those go with the folder.
        if std::thread::panicking() {
            for node in fs::read_dir(self.dir.path()).into_iter().flatten().flatten() {
                let log = fs::read_to_string(node.path().join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().rev().take(10).collect();
                lines
                    .iter()
                    .rev()
                    .for_each(|line| eprintln!("{}: {line}", node.file_name().to_string_lossy()));
            }
        }
    }
}

/// A page of a node's HTTP.
fn page(node: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(node).unwrap();
    stream.set_read_timeout(Some(PAGE_WITHIN)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The first of enough free ports in a row.
fn free_port() -> u16 {
    let here = |port: u16| (Ipv4Addr::LOCALHOST, port);
    let free = |port: u16| UdpSocket::bind(here(port)).is_ok() && TcpListener::bind(here(port)).is_ok();
    PORTS.step_by(usize::from(2 * NODES)).find(|base| (*base..base + 2 * NODES).all(free)).unwrap()
}
