//! Looking at a data folder that no node uses: whose it is, and whether all that is in it is as it was stored.
//!
//! Keeps: nothing in the folder is changed. sled can be opened for writing only, and mends, cuts off and rewrites what it
//! finds; so it is given a copy of the store, which is removed at the end. A store that does not answer, or panics, is a
//! damage like others. Deliberately absent: repair. A damaged copy is refilled from the other replicas, not merged from.

mod copy;
mod folder;
mod reading;

use super::folder::OpenError;
use anser_model::{FolderId, NodeId};
use anser_storage::store::check::Finding;
use copy::Scratch;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// Findings that wait to be told.
const AHEAD_MAX: usize = 1024;
/// How long the store may take for one answer, at least.
const PATIENCE_MIN: Duration = Duration::from_secs(60);
/// Bytes of the store for each of which it may take a second longer: opening reads much of it.
const BYTES_A_SECOND_MIN: u64 = 20 << 20;

/// How a folder is looked at.
#[derive(Clone, Debug, Default)]
pub struct InspectOptions {
    /// Where the copy is made; beside the folder if none.
    pub scratch: Option<PathBuf>,
    /// How long the store may be silent before it is given up; by its size if none.
    pub patience: Option<Duration>,
}

/// Whose a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The folder's identity.
    pub folder: FolderId,
    /// The node's.
    pub node: NodeId,
    /// How many shards it has.
    pub shards: u32,
}

/// What is told of a folder, in the order in which it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Whose it is.
    Whose(Whose),
    /// Bytes that its store takes on disk.
    OnDisk(u64),
    /// From within the store.
    Store(Finding),
    /// Something outside of the store's trees is not as it was left.
    Damage(Damage),
}

/// Something that is not as it was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where.
    pub place: &'static str,
    /// What is wrong with it.
    pub what: String,
    /// What that means.
    pub meaning: &'static str,
}

/// Why a folder can't be looked at. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is in use, or of another version.
    #[error(transparent)]
    Unopened(#[from] OpenError),
    /// There is no data folder.
    #[error("{} is no data folder{hint}", dir.display())]
    NoFolder {
        /// Where one was looked for.
        dir: PathBuf,
        /// Where there might be one.
        hint: String,
    },
    /// There is no room for the copy.
    #[error("a copy of its store needs {needed} bytes, and {} has {free} free; name a folder with room by --scratch", scratch.display())]
    NoRoom {
        /// Where it should go.
        scratch: PathBuf,
        /// Its bytes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The copy could not be made.
    #[error("its store can't be copied to {} ({what}); name another folder by --scratch", scratch.display())]
    Uncopied {
        /// Where it should go.
        scratch: PathBuf,
        /// What the system says.
        what: String,
    },
    /// The system refused something else.
    #[error("{}: {what}", path.display())]
    Failed {
        /// Of what.
        path: PathBuf,
        /// What the system says.
        what: String,
    },
}

/// Looks at all of a data folder. It holds the folder's lock meanwhile. Dropped early, it leaves nothing behind.
pub async fn inspect(
    dir: &Path,
    options: &InspectOptions,
    mut tell: impl FnMut(Told),
) -> Result<(), InspectError> {
    let _lock = folder::lock(dir)?;
    let whose = folder::whose(dir, &mut tell)?;
    let reached = folder::witness(dir, &mut tell)?;
    let Some(store) = folder::store(dir, &mut tell)? else { return Ok(()) };
    tell(Told::OnDisk(store.bytes));
    let beside = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = options.scratch.as_deref().unwrap_or(beside);
    let copied = Scratch::copy(&store, scratch).await?;
    let patience =
        options.patience.unwrap_or(PATIENCE_MIN + Duration::from_secs(store.bytes / BYTES_A_SECOND_MIN));
    let (sender, mut found) = mpsc::channel(AHEAD_MAX);
    let shards = whose.map_or(u32::MAX, |whose| whose.shards);
    reading::start(copied.path().to_path_buf(), shards, reached, sender)
        .map_err(|error| InspectError::Failed { path: dir.to_path_buf(), what: error.to_string() })?;
    loop {
        match tokio::time::timeout(patience, found.recv()).await {
            Ok(Some(told)) => tell(told),
            Ok(None) => return Ok(()),
            Err(_) => {
                let what = format!("it has not answered for {} s", patience.as_secs());
                tell(Told::Damage(Damage { place: STORE, what, meaning: UNREADABLE }));
                return Ok(());
            }
        }
    }
}

/// The store as a whole, as a place of damage.
const STORE: &str = "the store";
/// What a damage there means.
const UNREADABLE: &str = "a node that opens it ends or hangs";
