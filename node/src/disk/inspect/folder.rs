//! What lies beside the store: the lock, the identity, the witness; read, and never written.

use super::copy::Store;
use super::{Damage, InspectError, Told, Whose};
use crate::disk::folder::{self, IDENTITY, IDENTITY_NEW, LOCK, OpenError, STORE};
use crate::disk::sled_trees::BASES;
use crate::disk::witness::{self, Reached};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

/// The folder that a node's own one has it in.
const INNER: &str = "data";

fn failed(path: &Path, error: &std::io::Error) -> InspectError {
    InspectError::Failed { path: path.to_path_buf(), what: error.to_string() }
}

/// Locks a folder; none if it has no lock, so that no node uses it.
pub(super) fn lock(dir: &Path) -> Result<Option<File>, InspectError> {
    let names = [IDENTITY, IDENTITY_NEW, STORE];
    if !names.iter().any(|name| dir.join(name).exists()) {
        let inner = dir.join(INNER);
        let hint = match inner.join(IDENTITY).exists() {
            true => format!("; {} is one", inner.display()),
            false => String::new(),
        };
        return Err(InspectError::NoFolder { dir: dir.to_path_buf(), hint });
    }
    let path = dir.join(LOCK);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&path, &error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse { dir: dir.to_path_buf() }.into()),
        Err(error) => Err(failed(&path, &error.into())),
    }
}

/// Whose it is; none if that can't be read, which is told.
pub(super) fn whose(dir: &Path, tell: &mut dyn FnMut(Told)) -> Result<Option<Whose>, InspectError> {
    let path = dir.join(IDENTITY);
    let what = match fs::read(&path).map(String::from_utf8) {
        Ok(Ok(text)) => match folder::parse(dir, &text) {
            Ok(folder::Identity { folder, node, shards }) => {
                let whose = Whose { folder, node, shards };
                tell(Told::Whose(whose));
                return Ok(Some(whose));
            }
            Err(OpenError::Damaged { .. }) => "its checksum is wrong".into(),
            Err(error) => return Err(error.into()),
        },
        Ok(Err(_)) => "it is no text".into(),
        Err(error) if error.kind() == ErrorKind::NotFound => match dir.join(IDENTITY_NEW).exists() {
            true => "the folder's making was cut short".into(),
            false => "it is missing".into(),
        },
        Err(error) => return Err(failed(&path, &error)),
    };
    let meaning = "nobody knows whose copies these are, so no node opens it";
    tell(Told::Damage(Damage { place: "the identity", what, meaning }));
    Ok(None)
}

/// How far the store had come at least; nothing if the witness can't be read, which is told.
pub(super) fn witness(dir: &Path, tell: &mut dyn FnMut(Told)) -> Result<Reached, InspectError> {
    let path = dir.join(witness::NAME);
    let what = match fs::read(&path).map(|stored| witness::read(&stored)) {
        Ok(Some(reached)) => return Ok(reached),
        Ok(None) => "its checksum is wrong",
        Err(error) if error.kind() == ErrorKind::NotFound => "it is missing",
        Err(error) => return Err(failed(&path, &error)),
    };
    let meaning = "if the store had lost its newest writes, nothing would tell";
    tell(Told::Damage(Damage { place: "the witness", what: what.into(), meaning }));
    Ok(Reached::default())
}

/// The store's files; none if there are none, which is told.
pub(super) fn store(dir: &Path, tell: &mut dyn FnMut(Told)) -> Result<Option<Store>, InspectError> {
    let path = dir.join(STORE);
    let missing = BASES.iter().find(|base| !path.join(base).join("db").exists());
    let Some(base) = missing else {
        let store = Store::list(&path).map_err(|error| failed(&path, &error))?;
        if store.has_blobs {
            let what = "a value is in blobs/, which is never synced".into();
            tell(Told::Damage(Damage { place: super::STORE, what, meaning: "no node opens it" }));
        }
        return Ok(Some(store));
    };
    let meaning = "no node opens it, and the rest is nothing without it";
    tell(Told::Damage(Damage { place: super::STORE, what: format!("its part {base} is missing"), meaning }));
    Ok(None)
}
