//! One node's process: started, watched, restarted, stopped.

use super::layout::{NodePlan, replace};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// Waited before the first restart; doubles with each crash that follows soon.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Waited at most.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A process that ran this long has recovered: the next crash is a first one again.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// A log over this is put aside, over the one put aside before.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// A node's process.
pub struct NodeProcess {
    plan: NodePlan,
    running: Option<(Child, Instant)>,
    backoff: Duration,
    restart_at: Option<Instant>,
}

impl NodeProcess {
    /// Starts it.
    pub fn start(plan: NodePlan) -> Result<NodeProcess> {
        let mut process = NodeProcess { plan, running: None, backoff: BACKOFF_MIN, restart_at: None };
        process.spawn()?;
        Ok(process)
    }

    /// What runs where.
    pub fn plan(&self) -> &NodePlan {
        &self.plan
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().and_then(|(child, _)| child.id())
    }

    fn spawn(&mut self) -> Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        // Standard input is a pipe that nobody writes to: it ends when this process does, however it does, and then so
        // does the node.
        let binary = own_binary();
        let child = Command::new(&binary)
            .arg("node")
            .arg("--config")
            .arg(self.plan.folder.join("node.toml"))
            .arg("--supervised")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        if let Some(pid) = child.id() {
            replace(&self.plan.folder.join("pid"), format!("{pid}\n").as_bytes())?;
        }
        self.running = Some((child, Instant::now()));
        self.restart_at = None;
        Ok(())
    }

    /// Looks whether it ended since the last look.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some((child, since)) = &mut self.running else { return Ok(None) };
        let Some(status) = child.try_wait()? else { return Ok(None) };
        self.backoff = if since.elapsed() > STEADY_AFTER { BACKOFF_MIN } else { self.backoff };
        self.running = None;
        Ok(Some(status))
    }

    /// Has it restarted when its back-off is over.
    pub fn restart_later(&mut self) {
        self.restart_at = Some(Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }

    /// Restarts it if it is time. Whether it did.
    pub fn restart_if_due(&mut self) -> Result<bool> {
        let due = self.restart_at.is_some_and(|at| at <= Instant::now());
        if due {
            self.spawn()?;
        }
        Ok(due)
    }

    /// Starts it now, if it is down.
    pub fn start_again(&mut self) -> Result<()> {
        if self.running.is_none() { self.spawn() } else { Ok(()) }
    }

    /// Asks it to end.
    pub fn terminate(&mut self) {
        self.restart_at = None;
        self.signal(rustix::process::Signal::TERM);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // A process that ended meanwhile needs no signal.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Where it logs.
    pub fn log_path(&self) -> PathBuf {
        self.plan.folder.join("log")
    }

    /// The last lines it logged: what it has to say about its end.
    pub fn last_words(&self) -> String {
        let text = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Puts a log that grew too long aside. The node appends, so it goes on at the start of the emptied file.
    pub fn rotate_log(&self) -> Result<()> {
        let path = self.log_path();
        if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            fs::copy(&path, self.plan.folder.join("log.1"))?;
            fs::OpenOptions::new().write(true).open(&path)?.set_len(0)?;
        }
        Ok(())
    }
}

/// This program's file. One that was replaced meanwhile, as a build does, is still there by another name.
fn own_binary() -> PathBuf {
    let there = std::env::current_exe().ok().filter(|path| path.exists());
    there.unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}
