//! A copy of a store's files, gone when it is dropped.

use super::InspectError;
use crate::disk::sled_trees::BASES;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes that must stay free beside the copy, for what sled writes while it opens.
const ROOM_BYTES: u64 = 32 << 20;
/// Where sled would put large values.
const BLOBS: &str = "blobs";

/// The files of a store.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    files: Vec<PathBuf>,
    /// Bytes of all.
    pub bytes: u64,
    /// Whether some of them are large values.
    pub has_blobs: bool,
}

impl Store {
    /// Lists them: those in each of its databases' folders.
    pub fn list(dir: &Path) -> io::Result<Store> {
        let mut store = Store { dir: dir.to_path_buf(), files: Vec::new(), bytes: 0, has_blobs: false };
        for base in BASES {
            for entry in fs::read_dir(dir.join(base))? {
                store.take(&entry?)?;
            }
        }
        Ok(store)
    }

    fn take(&mut self, entry: &fs::DirEntry) -> io::Result<()> {
        if entry.file_type()?.is_dir() {
            let is_blobs = entry.file_name() == BLOBS;
            self.has_blobs |= is_blobs && fs::read_dir(entry.path())?.next().is_some();
        } else {
            self.bytes += entry.metadata()?.len();
            self.files.push(entry.path());
        }
        Ok(())
    }
}

/// A folder of its own for the copy.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Copies a store below `parent`. Where the file system can, the copy shares its blocks.
    pub async fn copy(store: &Store, parent: &Path) -> Result<Scratch, InspectError> {
        let uncopied = |error: &io::Error| InspectError::Uncopied {
            scratch: parent.to_path_buf(),
            what: error.to_string(),
        };
        let space = rustix::fs::statvfs(parent).map_err(|error| uncopied(&error.into()))?;
        let (needed, free) = (store.bytes + ROOM_BYTES, space.f_bavail.saturating_mul(space.f_frsize));
        if needed > free {
            return Err(InspectError::NoRoom { scratch: parent.to_path_buf(), needed, free });
        }
        let name = format!(".anser-check-{}-{:x}", std::process::id(), fastrand::u64(..));
        let scratch = Scratch { path: parent.join(name) };
        let folders = BASES.iter().map(|base| fs::create_dir_all(scratch.path.join(base)));
        folders.collect::<io::Result<()>>().map_err(|error| uncopied(&error))?;
        for file in &store.files {
            let target = scratch.path.join(file.strip_prefix(&store.dir).unwrap_or(file));
            let file = file.clone();
            let copied = tokio::task::spawn_blocking(move || fs::copy(file, target)).await;
            copied.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| uncopied(&error))?;
        }
        Ok(scratch)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // sled may still be writing to it; what is left then has a name that tells what it is.
        let _ignored = fs::remove_dir_all(&self.path);
    }
}
