//! A node's data folder: the disk behind every machine's [`DiskRequest`](anser_machine::DiskRequest)s, on sled 0.34.7 and threads of its own.
//!
//! - `anser-commit` takes all that arrived while its last sync ran, writes it as one group of the log, syncs once, answers.
//! - `anser-tables` writes frozen memtables as tables and merges tables, reads shards back, prepares and drops log segments.
//! - `anser-fetch-N`, one at each processor, read blocks.
//!
//! Keeps: nothing is answered durable before a completed flush and `fdatasync`; a failed sync ends the store and is never
//! retried; no stored value leaves sled's log for its `blobs/`, which is never synced.
//! Deliberately absent: admission. Requests are queued without a bound of their own, since whoever submits them was
//! admitted with credits for their bytes; and no caller ever waits.

mod background;
mod commit;
mod fetch;
mod folder;
mod garbage;
pub mod inspect;
mod merging;
mod near;
mod port;
mod queue;
mod sled_trees;
mod slowness;
mod spent;
mod tables;
mod witness;
mod works;

#[cfg(test)]
mod tests;

pub use folder::{FORMAT, OpenError, set_aside, set_aside_before};
pub use port::{Asker, DiskHandle, FeedbackSink};

use anser_model::{FolderId, NodeId};
use port::Port;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use works::Works;

/// How a data folder is opened.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// Whose folder it must be, or becomes.
    pub node: NodeId,
    /// Shards of a folder that is made now. One that exists keeps what it was made with.
    pub shards: u32,
    /// What sled may cache, in bytes; it holds some more. Hot blocks are cached elsewhere.
    pub cache_bytes: u64,
    /// Bytes of the log from which its oldest segment is written anew at its end.
    pub log_bytes_max: u64,
}

impl DiskConfig {
    /// A node's folder with the default sizes.
    pub fn new(node: NodeId, shards: u32) -> DiskConfig {
        DiskConfig { node, shards, cache_bytes: 16 << 20, log_bytes_max: 512 << 20 }
    }
}

/// An open data folder.
#[derive(Debug)]
pub struct OpenedFolder {
    /// Ends with [`Disk::close`].
    pub disk: Disk,
    /// The folder's identity: node and folder make a member.
    pub folder: FolderId,
    /// How many shards it has, fixed when it was made.
    pub shards: u32,
    /// Whether it was made now.
    pub created: bool,
}

/// The threads of an open folder.
#[derive(Debug)]
pub struct Disk {
    port: Arc<Port>,
    works: Option<Arc<Works>>,
    commit: Option<JoinHandle<()>>,
    tables: Option<JoinHandle<()>>,
    fetch: Vec<JoinHandle<()>>,
    // The last field: the folder is given free when all else is gone.
    _lock: std::fs::File,
}

impl Disk {
    /// Opens a node's data folder, or makes it; reads and verifies all of its log, and the metadata of its tables.
    pub fn open(
        dir: &Path,
        config: &DiskConfig,
        sink: Arc<dyn FeedbackSink>,
    ) -> Result<OpenedFolder, OpenError> {
        let folder = folder::open(dir, config)?;
        let port = Arc::new(Port::new(sink));
        let works = works::guarded(|| Works::open(&folder, config, port.clone()))
            .map_err(|error| OpenError::of(dir, &error))?;
        let works = Arc::new(works);
        let failed =
            |error: std::io::Error| OpenError::Failed { dir: dir.to_path_buf(), what: error.to_string() };
        let mut disk = Disk {
            port: port.clone(),
            works: None,
            commit: None,
            tables: None,
            fetch: Vec::new(),
            _lock: folder.lock,
        };
        disk.commit = Some(works::spawn("anser-commit", works.clone(), commit::run).map_err(failed)?);
        disk.tables = Some(works::spawn("anser-tables", works.clone(), tables::run).map_err(failed)?);
        for reader in 0..port.fetch.readers() {
            let body = move |works: &Works| fetch::run(works, reader);
            let thread = works::spawn(&format!("anser-fetch-{reader}"), works.clone(), body);
            disk.fetch.push(thread.map_err(failed)?);
        }
        disk.works = Some(works);
        Ok(OpenedFolder {
            disk,
            folder: folder.identity.folder,
            shards: folder.identity.shards,
            created: folder.created,
        })
    }

    /// The same; a folder that can't be trusted is set aside, never deleted, and a new one is made in its place.
    pub fn open_or_set_aside(
        dir: &Path,
        config: &DiskConfig,
        sink: &Arc<dyn FeedbackSink>,
    ) -> Result<OpenedFolder, OpenError> {
        match Disk::open(dir, config, sink.clone()) {
            Err(error @ OpenError::Damaged { .. }) => {
                let aside = folder::set_aside(dir)?;
                tracing::error!("{error}; it is {} now, and an empty one takes its place", aside.display());
                Disk::open(dir, config, sink.clone())
            }
            opened => opened,
        }
    }

    /// What others hold to reach it.
    pub fn handle(&self) -> DiskHandle {
        DiskHandle::new(self.port.clone())
    }

    /// Carries out what was submitted, syncs, ends the threads and gives the folder free. What is submitted afterwards
    /// is answered `DiskFailed`.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // In this order, since commits hand work to the tables.
        self.port.commit.close();
        join(self.commit.take());
        self.port.tables.close();
        join(self.tables.take());
        self.port.fetch.close();
        self.fetch.drain(..).for_each(|thread| join(Some(thread)));
        if let Some(works) = self.works.take() {
            works.end();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.end();
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    // A thread catches its panics itself, and reports them.
    let _ = thread.map(JoinHandle::join);
}
