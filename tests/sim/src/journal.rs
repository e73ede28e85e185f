//! The event log of a run: always hashed, so that two runs can be compared, and kept as lines for people if asked for.

use xxhash_rust::xxh3::xxh3_64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Journal {
    hash: u64,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Journal {
    /// An empty one; whether it keeps lines.
    pub fn new(keeps_lines: bool) -> Journal {
        Journal { hash: 0, events: 0, lines: keeps_lines.then(Vec::new) }
    }

    /// Something happened at a time: `kind` and `content` tell what.
    pub fn event(&mut self, at: u64, kind: u64, content: &[u8]) {
        self.events += 1;
        let mixed = (self.hash ^ at).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ kind;
        self.hash = if content.is_empty() { mixed } else { mixed.rotate_left(17) ^ xxh3_64(content) };
    }

    /// A line for people.
    pub fn line(&mut self, at: u64, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>6}.{:06} {}", at / 1_000_000, at % 1_000_000, line()));
        }
    }

    /// Hash of all events.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The lines.
    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
