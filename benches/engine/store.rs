//! What is asked of every store that is measured.

use anser_storage::StoreKey;
use bytes::Bytes;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// One that is measured.
pub trait Store {
    /// Writes a batch, durable when it returns.
    fn write(&mut self, batch: &[(StoreKey, Bytes)]);
    /// Reads one key.
    fn get(&mut self, key: &StoreKey) -> Option<Bytes>;
    /// Reads many keys, several at once; how many were found.
    fn get_many(&mut self, keys: &[StoreKey]) -> usize;
    /// Reads many keys as of one moment; how many were found.
    fn get_batch(&mut self, keys: &[StoreKey]) -> usize;
    /// Reads everything in order; how many keys there are.
    fn scan(&mut self) -> usize;
    /// Waits until nothing is left to be done in the background; `idle` as after a long time without work.
    fn settle(&mut self, idle: bool);
    /// Whether it flushes or merges, or is about to.
    fn is_busy(&mut self) -> bool;
    /// How often its filters were asked for what their table does not hold, and how often they let it pass.
    fn filters(&self) -> (u64, u64);
    /// Its files.
    fn dir(&self) -> &Path;
}

/// Bytes of a folder's files, as the file system has given them out.
pub fn bytes_on_disk(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_on_disk(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            // Gone meanwhile.
            Err(_) => 0,
        })
        .sum()
}
