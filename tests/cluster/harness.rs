//! A real cluster for a test: `anser dev` on free ports in a folder of its own, ended when the test ends.

mod command;
mod pages;
mod ports;
mod process;
mod turn;

pub use command::{Said, run};
pub use pages::{Sample, http, http_get, samples};
pub use ports::free_port;
pub use process::{is_alive, proc_entries, resident_bytes, signal};
pub use rustix::process::Signal;

use anser_client::{Client, Profile};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use turn::Turn;

/// The program under test.
pub const ANSER: &str = env!("CARGO_BIN_EXE_anser");
/// How long a cluster gets to serve, and a killed node to be back.
pub const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long anything else that is waited for may take.
pub const SOON: Duration = Duration::from_secs(30);
/// How long `anser dev` may take to stop.
pub const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Ports that a cluster of a test may use.
const PORTS: u16 = 16;
/// Lines of each log that a failed test shows.
const LOG_LINES_SHOWN: usize = 12;

/// What cluster a test wants.
#[derive(Clone, Copy, Default)]
pub struct Setup {
    /// More words for `anser dev`.
    pub words: &'static [&'static str],
    /// Settings in its environment.
    pub settings: &'static [(&'static str, &'static str)],
    /// Whether no other cluster may run meanwhile: the test measures.
    pub alone: bool,
}

/// A running cluster.
pub struct TestCluster {
    /// The cluster's folder.
    pub dir: PathBuf,
    /// Its nodes, in the order of their names.
    pub nodes: Vec<TestNode>,
    /// What `anser dev --json` printed.
    pub table: Value,
    /// Its first port.
    pub port: u16,
    dev: Option<Child>,
    setup: Setup,
    root: TempDir,
    _turn: Turn,
}

/// One of its nodes.
pub struct TestNode {
    pub name: String,
    pub folder: PathBuf,
    pub quic: SocketAddr,
    pub http: SocketAddr,
}

impl TestCluster {
    /// Three nodes in one data centre that restart when they crash.
    pub fn start() -> TestCluster {
        TestCluster::start_as(Setup::default())
    }

    /// Another one.
    pub fn start_as(setup: Setup) -> TestCluster {
        let turn = Turn::take(setup.alone);
        let root = TempDir::new().expect("a folder");
        let (dir, port) = (root.path().join("cluster"), free_port(PORTS));
        let (nodes, table) = (Vec::new(), Value::Null);
        let mut cluster = TestCluster { dir, nodes, table, port, dev: None, setup, root, _turn: turn };
        cluster.run_dev();
        cluster
    }

    /// The command that starts it.
    pub fn dev_command(&self) -> Command {
        let mut command = Command::new(ANSER);
        command.args(["dev", "--json", "--port", &self.port.to_string(), "--dir"]).arg(&self.dir);
        command.args(self.setup.words).envs(self.setup.settings.iter().copied()).stdin(Stdio::null());
        command
    }

    /// Starts `anser dev` in the cluster's folder, and waits until it is ready.
    pub fn run_dev(&mut self) {
        let log = File::options().create(true).append(true).open(self.dev_log()).expect("a log");
        let mut child =
            self.dev_command().stdout(Stdio::piped()).stderr(log).spawn().expect("anser dev starts");
        let out = child.stdout.take().expect("a pipe");
        self.dev = Some(child);
        let (sender, lines) = mpsc::channel();
        // Reads on to the end, so that nothing it prints can block it.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // After `ready` nobody listens.
                let _ = sender.send(line);
            }
        });
        let deadline = Instant::now() + READY_WITHIN;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|line| line != "ready") {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("anser dev is not ready in {READY_WITHIN:?}: {seen:?}")
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("anser dev ended before it was ready: {seen:?}")
                }
            }
        }
        self.table = serde_json::from_str(&seen[0]).expect("a table in JSON");
        let nodes = self.table["nodes"].as_array().expect("nodes");
        self.nodes = nodes.iter().map(|node| TestNode::of(&self.dir, node)).collect();
    }

    fn dev_log(&self) -> PathBuf {
        self.root.path().join("dev.log")
    }

    /// A folder for the test's own files.
    pub fn scratch(&self) -> &Path {
        self.root.path()
    }

    /// The client's profile.
    pub fn profile_path(&self) -> PathBuf {
        self.dir.join("client.toml")
    }

    /// The certificates' folder.
    pub fn certs(&self) -> PathBuf {
        self.dir.join("certs")
    }

    /// What a client needs to know.
    pub fn profile(&self) -> Profile {
        let certs = self.certs();
        Profile {
            addresses: self.nodes.iter().map(|node| node.quic).collect(),
            ca: certs.join("ca.pem"),
            cert: certs.join("client.pem"),
            key: certs.join("client.key"),
        }
    }

    /// A client that knows every node.
    pub async fn client(&self) -> Client {
        Client::connect(self.profile()).await.expect("the cluster is reached")
    }

    /// Runs the command line against this cluster.
    pub fn anser(&self, words: &[impl AsRef<OsStr>]) -> Said {
        self.anser_with_input(words, b"")
    }

    /// With something on its standard input.
    pub fn anser_with_input(&self, words: &[impl AsRef<OsStr>], input: &[u8]) -> Said {
        let mut command = Command::new(ANSER);
        command.args(words).env("ANSER_PROFILE", self.profile_path());
        run(command, input)
    }

    /// Waits until a node serves.
    pub fn wait_ready(&self, node: usize) {
        let node = &self.nodes[node];
        wait_for(&format!("{} serves", node.name), READY_WITHIN, || node.is_ready());
    }

    /// Waits until every node serves, and every node sees every other alive.
    pub fn wait_whole(&self) {
        for node in 0..self.nodes.len() {
            self.wait_ready(node);
        }
        wait_for("every node sees every other alive", READY_WITHIN, || {
            self.nodes.iter().all(|node| node.states().iter().all(|(_, state)| state == "alive"))
        });
    }

    /// Ends `anser dev` as a power cut would.
    pub fn kill_dev(&mut self) {
        let mut dev = self.dev.take().expect("anser dev runs");
        dev.kill().expect("it is this test's own");
        dev.wait().expect("anser dev ends");
    }

    /// Stops the cluster as Ctrl-C would: how it ended, and how long it took.
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        let mut dev = self.dev.take().expect("anser dev runs");
        let begun = Instant::now();
        signal(dev.id(), Signal::TERM);
        (dev.wait().expect("anser dev ends"), begun.elapsed())
    }

    fn show_logs(&self) {
        let logs = self.nodes.iter().map(|node| node.folder.join("log")).chain([self.dev_log()]);
        for log in logs {
            let text = fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().rev().take(LOG_LINES_SHOWN).collect();
            eprintln!("--- the end of {}", log.display());
            lines.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        let Some(mut dev) = self.dev.take() else { return };
        signal(dev.id(), Signal::TERM);
        let deadline = Instant::now() + STOP_WITHIN;
        while dev.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        // Its nodes end with it; an error here has nobody left to be told.
        let _ = dev.kill();
        let _ = dev.wait();
    }
}

impl TestNode {
    fn of(dir: &Path, node: &Value) -> TestNode {
        let text = |key: &str| node[key].as_str().expect(key).to_owned();
        TestNode {
            folder: dir.join(text("node")),
            name: text("node"),
            quic: text("quic").parse().expect("an address"),
            http: text("http").parse().expect("an address"),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.folder.join("pid")).expect("a pid file");
        text.trim().parse().expect("a process id")
    }

    /// Ends it as a power cut would, and waits until it is gone. Its process id.
    pub fn kill(&self) -> u32 {
        let pid = self.pid();
        signal(pid, Signal::KILL);
        wait_for("the killed node is gone", SOON, || !is_alive(pid));
        pid
    }

    /// Whether it serves.
    pub fn is_ready(&self) -> bool {
        http_get(self.http, "/ready").is_some_and(|(status, _)| status == 200)
    }

    /// A page in JSON; null if it did not answer.
    pub fn page(&self, path: &str) -> Value {
        http_get(self.http, path).map_or(Value::Null, |(_, text)| serde_json::from_str(&text).expect("JSON"))
    }

    /// The members' states as it sees them, by name; none if it did not answer.
    pub fn states(&self) -> Vec<(String, String)> {
        let page = self.page("/api/v1/cluster");
        let text = |member: &Value, key: &str| member[key].as_str().expect(key).to_owned();
        let members = page["members"].as_array().cloned().unwrap_or_default();
        let states: Vec<_> = members.iter().map(|m| (text(m, "node"), text(m, "state"))).collect();
        if states.is_empty() { vec![(self.name.clone(), "silent".to_owned())] } else { states }
    }

    /// How it sees a member.
    pub fn state_of(&self, name: &str) -> String {
        let found = self.states().into_iter().find(|(member, _)| member == name);
        found.map_or_else(|| "silent".to_owned(), |(_, state)| state)
    }

    /// All that its metrics page shows.
    pub fn samples(&self) -> Vec<Sample> {
        let (status, page) = http_get(self.http, "/metrics").expect("the metrics page");
        assert_eq!(status, 200, "{page}");
        samples(&page)
    }

    /// A metric's value: the sum over all its label sets that have these labels.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.samples();
        let fits =
            |sample: &&Sample| sample.name == name && labels.iter().all(|(key, value)| sample.is(key, value));
        samples.iter().filter(fits).map(|sample| sample.value).sum()
    }
}

/// Waits for a condition.
pub fn wait_for(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {within:?} in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Runs what talks to a cluster by the SDK.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}
