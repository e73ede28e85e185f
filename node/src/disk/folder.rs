//! The folder itself: its lock, its identity, and what is wrong with it.
//!
//! `LOCK` is held by the process that uses it; `identity` says whose it is, and is there only once the folder is complete;
//! `store/` is sled's; `witness` tells how far it has come.

use super::sled_trees::BASES;
use super::{DiskConfig, witness};
use anser_model::{FolderId, NodeId};
use anser_storage::store::StoreError;
use rustix::fs::{FlockOperation, flock};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

pub(super) const LOCK: &str = "LOCK";
pub(super) const IDENTITY: &str = "identity";
/// The identity of a folder whose making is not complete.
pub(super) const IDENTITY_NEW: &str = "identity.new";
pub(super) const STORE: &str = "store";
/// Most folders that are set aside: each takes room.
const ASIDE_MAX: u32 = 9;
/// First line of the identity.
const TITLE: &str = "anser data folder";
/// The format of all that is in a folder.
pub const FORMAT: u32 = 4;

/// Why a data folder can't be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("data folder {} is in use by another process; stop that one, or choose another folder", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// It is another node's.
    #[error("data folder {} belongs to node {owner}, this is node {own}; use that node's key, or an empty folder", dir.display())]
    OtherNode {
        /// The folder.
        dir: PathBuf,
        /// Whose it is.
        owner: NodeId,
        /// Who wants it.
        own: NodeId,
    },
    /// It was made by another version.
    #[error("data folder {} has format {found}, this version reads format {FORMAT}; use a version that reads it", dir.display())]
    UnknownFormat {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: String,
    },
    /// Its permissions forbid it.
    #[error("data folder {} can't be written ({what}); check its owner and permissions", dir.display())]
    NotWritable {
        /// The folder.
        dir: PathBuf,
        /// What the system says.
        what: String,
    },
    /// Its content can't be trusted.
    #[error("data folder {} can't be trusted: {what}", dir.display())]
    Damaged {
        /// The folder.
        dir: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The system refused something else.
    #[error("data folder {} can't be opened: {what}; check the disk", dir.display())]
    Failed {
        /// The folder.
        dir: PathBuf,
        /// What the system says.
        what: String,
    },
}

impl OpenError {
    pub(super) fn of(dir: &Path, error: &StoreError) -> OpenError {
        let dir = dir.to_path_buf();
        match error {
            StoreError::Failed(what) => OpenError::Failed { dir, what: what.clone() },
            StoreError::Damaged(what) => OpenError::Damaged { dir, what: what.clone() },
        }
    }

    fn io(dir: &Path, error: &io::Error) -> OpenError {
        let (dir, what) = (dir.to_path_buf(), error.to_string());
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                OpenError::NotWritable { dir, what }
            }
            _ => OpenError::Failed { dir, what },
        }
    }
}

/// Whose a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub folder: FolderId,
    pub node: NodeId,
    pub shards: u32,
}

/// A locked folder of the right node.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    pub lock: File,
    pub identity: Identity,
    pub store: PathBuf,
    /// Whether it is being made.
    pub created: bool,
}

/// The names that a folder is set aside under.
fn asides(real: &Path) -> impl Iterator<Item = PathBuf> {
    (1..=ASIDE_MAX).map(|number| {
        let mut name = real.to_path_buf().into_os_string();
        name.push(format!(".aside-{number}"));
        PathBuf::from(name)
    })
}

/// The folders that were set aside from this place, at this start or an earlier one, and are there still.
pub fn set_aside_before(dir: &Path) -> Vec<PathBuf> {
    let real = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    asides(&real).filter(|aside| aside.is_dir()).collect()
}

/// Renames a folder that can't be trusted to a free name beside it, for an operator to look at; nothing in it is changed.
pub fn set_aside(dir: &Path) -> Result<PathBuf, OpenError> {
    let io = |error: io::Error| OpenError::io(dir, &error);
    let real = dir.canonicalize().map_err(io)?;
    for aside in asides(&real) {
        if !aside.exists() {
            fs::rename(&real, &aside).map_err(|error| match error.kind() {
                ErrorKind::ResourceBusy => OpenError::Failed {
                    dir: dir.to_path_buf(),
                    what: "it can't be renamed, since it is a mount point; empty it, or let data_dir be a folder \
                           inside it"
                        .to_owned(),
                },
                _ => io(error),
            })?;
            real.parent().map_or(Ok(()), sync_dir).map_err(io)?;
            return Ok(aside);
        }
    }
    let what = format!("{ASIDE_MAX} folders were set aside beside it already; look at those first");
    Err(OpenError::Failed { dir: dir.to_path_buf(), what })
}

/// Locks a folder and checks whose it is, or begins to make one.
pub(super) fn open(dir: &Path, config: &DiskConfig) -> Result<Folder, OpenError> {
    let io = |error: io::Error| OpenError::io(dir, &error);
    fs::create_dir_all(dir).map_err(io)?;
    let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK)).map_err(io)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => OpenError::InUse { dir: dir.to_path_buf() },
        other => io(other.into()),
    })?;
    let store = dir.join(STORE);
    let damaged = |what: &str| OpenError::Damaged { dir: dir.to_path_buf(), what: what.into() };
    let (identity, created) = match fs::read_to_string(dir.join(IDENTITY)) {
        Ok(text) => {
            let identity = parse(dir, &text)?;
            if identity.node != config.node {
                let dir = dir.to_path_buf();
                return Err(OpenError::OtherNode { dir, owner: identity.node, own: config.node });
            }
            if BASES.iter().any(|base| !store.join(base).join("db").exists()) {
                return Err(damaged("its store is missing"));
            }
            (identity, false)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if store.exists() && !dir.join(IDENTITY_NEW).exists() {
                return Err(damaged("its identity is missing"));
            }
            (begin_creation(dir, config).map_err(io)?, true)
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(damaged("its identity is no text"));
        }
        Err(error) => return Err(io(error)),
    };
    Ok(Folder { dir: dir.to_path_buf(), lock, identity, store, created })
}

/// Begins to make a folder, over what an attempt before may have left.
fn begin_creation(dir: &Path, config: &DiskConfig) -> io::Result<Identity> {
    for removed in [fs::remove_dir_all(dir.join(STORE)), fs::remove_file(dir.join(witness::NAME))] {
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let mut folder = FolderId::default();
    getrandom::fill(&mut folder.0).map_err(io::Error::other)?;
    let identity = Identity { folder, node: config.node, shards: config.shards.max(1) };
    let mut file = File::create(dir.join(IDENTITY_NEW))?;
    file.write_all(print(&identity).as_bytes())?;
    file.sync_all()?;
    sync_dir(dir)?;
    Ok(identity)
}

impl Folder {
    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The store is complete and synced: now the folder counts.
    pub fn finish_creation(&self) -> Result<(), StoreError> {
        let finish = || {
            BASES.iter().try_for_each(|base| sync_dir(&self.store.join(base)))?;
            sync_dir(&self.store)?;
            sync_dir(&self.dir)?;
            fs::rename(self.dir.join(IDENTITY_NEW), self.dir.join(IDENTITY))?;
            sync_dir(&self.dir)?;
            match self.dir.canonicalize()?.parent() {
                Some(parent) => sync_dir(parent),
                None => Ok(()),
            }
        };
        finish().map_err(|error: io::Error| StoreError::Failed(error.to_string()))
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The identity as a text that a person can read, with its checksum.
fn print(identity: &Identity) -> String {
    let Identity { folder, node, shards } = identity;
    let mut text = format!("{TITLE}\nformat {FORMAT}\nfolder {folder}\nnode {node}\nshards {shards}\n");
    let checksum = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, "crc32c {checksum:08x}");
    text
}

/// Reads an identity back.
pub(super) fn parse(dir: &Path, text: &str) -> Result<Identity, OpenError> {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim()).unwrap_or_default()
    };
    let known = field("format ");
    if text.starts_with(TITLE) && !known.is_empty() && known != FORMAT.to_string() {
        return Err(OpenError::UnknownFormat { dir: dir.to_path_buf(), found: known.into() });
    }
    let read = || {
        let (folder, node) = (field("folder ").parse().ok()?, field("node ").parse().ok()?);
        let identity = Identity { folder, node, shards: field("shards ").parse().ok()? };
        (print(&identity) == text && identity.shards > 0).then_some(identity)
    };
    read().ok_or_else(|| OpenError::Damaged {
        dir: dir.to_path_buf(),
        what: "its identity is malformed".into(),
    })
}
