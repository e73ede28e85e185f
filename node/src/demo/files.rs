//! The demo's data: the files of a folder.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Most files that are taken.
const FILES_MAX: usize = 5_000;
/// Largest file that is taken, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Most bytes that are taken.
const BYTES_MAX: u64 = 128 << 20;
/// Folders of no interest: what builds leave.
const SKIPPED: [&str; 3] = ["target", "node_modules", "anser-dev"];

/// Paths, relative to the folder, with their contents.
pub(super) type Files = BTreeMap<String, Bytes>;

/// Reads the files below a folder, up to the bounds; hidden ones and links are left out. A folder without any gives a few
/// made-up ones, so that there is always something to store.
pub(super) fn collect(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let mut entries: Vec<_> = fs::read_dir(&next).into_iter().flatten().flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(metadata) = entry.metadata() else { continue };
            if name.starts_with('.') || SKIPPED.contains(&name.as_str()) {
                continue;
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file()
                && metadata.len() <= FILE_BYTES_MAX
                && bytes + metadata.len() <= BYTES_MAX
            {
                let path = entry.path();
                let relative = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
                if let (Ok(content), true) = (fs::read(&path), files.len() < FILES_MAX) {
                    bytes += metadata.len();
                    files.insert(relative, content.into());
                }
            }
        }
    }
    if files.is_empty() {
        files = (0..100)
            .map(|i| (format!("made-up-{i}"), Bytes::from(format!("content {i}\n").repeat(i + 1))))
            .collect();
    }
    files
}
