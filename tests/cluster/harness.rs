//! A real cluster for a test: `anser dev` on free ports in a folder of its own, ended when the test ends.

use anser_client::{Client, Profile};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a cluster gets to serve, and a killed node to be back.
pub const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long anything else that is waited for may take.
pub const SOON: Duration = Duration::from_secs(30);
/// The program under test.
pub const ANSER: &str = env!("CARGO_BIN_EXE_anser");

/// A running cluster.
pub struct TestCluster {
    pub dir: TempDir,
    dev: Child,
    pub nodes: Vec<TestNode>,
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
        TestCluster::start_with(&[])
    }

    /// With these words more for `anser dev`.
    pub fn start_with(words: &[&str]) -> TestCluster {
        let dir = TempDir::new().expect("a folder");
        let port = free_port(16);
        let mut command = Command::new(ANSER);
        command.arg("dev").arg("--json").arg("--port").arg(port.to_string()).arg("--dir").arg(dir.path());
        let dev = command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("anser dev starts");
        let mut cluster = TestCluster { dir, dev, nodes: Vec::new() };
        let mut seen = String::new();
        let mut out = cluster.dev.stdout.take().expect("a pipe");
        let deadline = Instant::now() + READY_WITHIN;
        while !seen.lines().any(|line| line == "ready") {
            let mut bytes = [0; 4096];
            let read = out.read(&mut bytes).expect("its output");
            assert!(read > 0 && Instant::now() < deadline, "anser dev ended before it was ready: {seen}");
            seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        cluster.dev.stdout = Some(out);
        let table: serde_json::Value = serde_json::from_str(seen.lines().next().expect("a table")).expect("JSON");
        cluster.nodes = table["nodes"].as_array().expect("nodes").iter().map(|node| cluster.node(node)).collect();
        cluster
    }

    fn node(&self, node: &serde_json::Value) -> TestNode {
        let text = |key: &str| node[key].as_str().expect(key).to_owned();
        TestNode {
            folder: self.dir.path().join(text("node")),
            name: text("node"),
            quic: text("quic").parse().expect("an address"),
            http: text("http").parse().expect("an address"),
        }
    }

    /// The client's profile.
    pub fn profile_path(&self) -> PathBuf {
        self.dir.path().join("client.toml")
    }

    /// A client that knows every node.
    pub async fn client(&self) -> Client {
        let certs = self.dir.path().join("certs");
        let profile = Profile {
            addresses: self.nodes.iter().map(|node| node.quic).collect(),
            ca: certs.join("ca.pem"),
            cert: certs.join("client.pem"),
            key: certs.join("client.key"),
        };
        Client::connect(profile).await.expect("the cluster is reached")
    }

    /// Runs the command line against this cluster.
    pub fn anser(&self, words: &[&str]) -> Output {
        self.anser_with_input(words, b"")
    }

    /// With something on its standard input.
    pub fn anser_with_input(&self, words: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(ANSER);
        command.args(words).env("ANSER_PROFILE", self.profile_path());
        run_with_input(command, input)
    }

    /// Waits until a node serves.
    pub fn wait_ready(&self, node: usize) {
        let http = self.nodes[node].http;
        wait_for("the node serves", READY_WITHIN, || http_get(http, "/ready").is_some_and(|(status, _)| status == 200));
    }

    /// The process that `anser dev` is.
    pub fn dev_pid(&self) -> u32 {
        self.dev.id()
    }

    /// Stops the cluster as Ctrl-C would. Whether it ended well.
    pub fn stop(mut self) -> bool {
        signal(self.dev.id(), rustix::process::Signal::TERM);
        self.dev.wait().expect("anser dev ends").success()
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if self.dev.try_wait().is_ok_and(|ended| ended.is_none()) {
            signal(self.dev.id(), rustix::process::Signal::TERM);
            // Its nodes end with it; an error here has nobody left to be told.
            let _ = self.dev.wait();
        }
    }
}

impl TestNode {
    /// Its process.
    pub fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.folder.join("pid")).expect("a pid file");
        text.trim().parse().expect("a process id")
    }

    /// Ends it as a power cut would.
    pub fn kill(&self) -> u32 {
        let pid = self.pid();
        signal(pid, rustix::process::Signal::KILL);
        pid
    }

    /// A metric's value: the sum over all its label sets that have this in them.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let (_, page) = http_get(self.http, "/metrics").expect("the metrics page");
        let lines = page.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            (rest.starts_with('{') || rest.starts_with(' ')) && line.contains(label)
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// Sends a signal to a process of this test's.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("a process id");
    // A process that ended meanwhile needs no signal.
    let _ = rustix::process::kill_process(pid, signal);
}

/// Waits for a condition.
pub fn wait_for(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {within:?} in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A page of a node.
pub fn http_get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    http(address, "GET", path)
}

/// A request to a node's HTTP.
pub fn http(address: SocketAddr, method: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

/// Runs a command with something on its standard input.
pub fn run_with_input(mut command: Command, input: &[u8]) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A command that reads no input closes the pipe.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("the command ends");
    writer.join().expect("the writer ends");
    output
}

/// A port such that it and the next ones are free, found a little apart from where other tests look.
pub fn free_port(count: u16) -> u16 {
    use std::net::{TcpListener, UdpSocket};
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 100).expect("small") * 100;
    let free = |port| UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..300 {
        let offset = NEXT.fetch_add(count, Ordering::Relaxed);
        let port = 10_000 + (start + offset) % 20_000;
        if (port..port + count).all(free) {
            return port;
        }
    }
    panic!("no free ports");
}

/// What a command said, for messages of tests that fail.
pub fn told(output: &Output) -> String {
    format!(
        "exit {:?}\nstdout: {}\nstderr: {}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Resident memory of a process, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") << 10
}

/// Entries of a folder under /proc of a process: `fd` for descriptors, `task` for threads.
pub fn proc_entries(pid: u32, what: &str) -> usize {
    fs::read_dir(Path::new("/proc").join(pid.to_string()).join(what)).expect("its folder").count()
}
