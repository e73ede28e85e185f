//! What a shard has appended to its log since it was read back, and no table holds yet.

use anser_machine::Lsn;
use std::collections::VecDeque;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unwritten {
    entries: VecDeque<(Lsn, usize)>,
    bytes: usize,
}

impl Unwritten {
    /// An entry of so many bytes is appended. How many bytes there are with it.
    pub fn append(&mut self, lsn: Lsn, bytes: usize) -> usize {
        self.entries.push_back((lsn, bytes));
        self.bytes += bytes;
        self.bytes
    }

    /// Tables hold all through a position.
    pub fn written(&mut self, through: Lsn) {
        while let Some((lsn, bytes)) = self.entries.front().copied()
            && lsn <= through
        {
            self.entries.pop_front();
            self.bytes -= bytes;
        }
    }

    /// The shard is read back.
    pub fn begin_anew(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}
