//! Results on stdout. A reader that has gone away (`anser get k | head -c 1`) is no failure.

use super::failure::Failure;
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write};

/// Writes bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::usage(format!("the result could not be written to stdout: {error}"))),
    }
}

/// Writes a line.
pub fn line(line: &str) -> Result<(), Failure> {
    bytes(format!("{line}\n").as_bytes())
}

/// Writes one JSON document on one line.
pub fn json(document: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(document).map_err(Failure::bug)?;
    line(&text)
}

/// Writes a line on stderr: what is no result. Nobody is told if that fails.
pub fn note(line: &str) {
    let _ignored = writeln!(std::io::stderr().lock(), "{line}");
}

/// Whether stdout is a terminal.
pub fn to_terminal() -> bool {
    std::io::stdout().is_terminal()
}
