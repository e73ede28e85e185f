//! Commands that are run to their end, and what they said.

use serde_json::Value;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a command may run.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit status; -1 if a signal ended it.
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Said {
    /// What it printed, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// It ended with this status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Said {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.text(), self.err);
        self
    }

    /// The one JSON document that it printed.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It was refused: with this status, nothing on stdout, and one line that tells, with these words in it.
    #[track_caller]
    pub fn refused(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.text(), self.err);
        assert_eq!(self.text(), "", "a refusal has no result");
        assert_eq!(self.err.trim_end().lines().count(), 1, "a refusal is one line:\n{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "it does not say {word:?}: {}", self.err);
        }
    }
}

/// Runs a command with something on its standard input.
pub fn run(mut command: Command, input: &[u8]) -> Said {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A command that reads no input closes the pipe.
        let _ = stdin.write_all(&input);
    });
    let (out, err) =
        (drain(child.stdout.take().expect("a pipe")), drain(child.stderr.take().expect("a pipe")));
    let deadline = Instant::now() + ENDS_WITHIN;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the command is watched") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("it is this test's own");
        }
        std::thread::park_timeout(Duration::from_millis(2));
    };
    writer.join().expect("the writer ends");
    let (out, err) = (out.join().expect("stdout"), err.join().expect("stderr"));
    Said { code: status.code().unwrap_or(-1), out, err: String::from_utf8_lossy(&err).into_owned() }
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe is read");
        bytes
    })
}
