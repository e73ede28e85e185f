//! A witness outside sled: how far the log and the manifest had come when they were last synced.
//!
//! sled opens a damaged file without a word, as it was at some earlier time, and so could take acknowledged writes back.
//! The witness is written after each sync, so it never claims what is not there, and is not synced itself each time, so it
//! may lag. A store that is behind its witness has lost what was acknowledged.
//!
//! Single trees can fall back too, and a slot that did would be whole: so it also says how often each was written.
//!
//! Version (1 byte), manifest's changes, segment, pieces in it, writes of each slot (8 bytes each), CRC-32C.

use anser_machine::SlotName;
use anser_storage::store::StoreError;
use anser_storage::store::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Its file in the folder.
pub(super) const NAME: &str = "witness";
const VERSION: u8 = 3;
/// Slots of the node that it speaks of, and slots of copies: those of so many shards, which is all that a folder is made with.
const NODE_SLOTS: [SlotName; 3] = [SlotName::Ring, SlotName::Incarnation, SlotName::Peers];
const SHARDS: u32 = 16;
pub(super) const SLOTS: usize = NODE_SLOTS.len() + SHARDS as usize;
const WORDS: usize = 3 + SLOTS;
const BYTES: usize = 1 + WORDS * 8 + 4;

/// How far a store has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// Changes of the manifest.
    pub changes: u64,
    /// The segment that was written last.
    pub segment: u64,
    /// How many pieces it has.
    pub pieces: u64,
    /// How often each slot was written.
    pub saves: [u64; SLOTS],
}

impl Reached {
    /// The slots with how often each was written.
    pub fn slots(&self) -> impl Iterator<Item = (Cell, u64)> {
        spoken_of().zip(self.saves)
    }

    /// A slot was written.
    pub fn saved(&mut self, (cell, generation): (Cell, u64)) {
        if let Some((_, saves)) = spoken_of().zip(&mut self.saves).find(|(slot, _)| *slot == cell) {
            *saves = generation;
        }
    }
}

/// The slots, in the witness's order.
fn spoken_of() -> impl Iterator<Item = Cell> {
    let copies = (0..SHARDS).map(|shard| Cell::of(SlotName::Copies, shard));
    NODE_SLOTS.into_iter().map(|slot| Cell::of(slot, 0)).chain(copies)
}

/// The witness's file.
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    reached: Reached,
}

fn failed(error: io::Error) -> StoreError {
    StoreError::Failed(format!("the witness: {error}"))
}

impl Witness {
    /// Opens a folder's witness; one that is missing or torn claims nothing, as in a folder that is being made.
    pub fn open(dir: &Path, created: bool) -> Result<Witness, StoreError> {
        let options = File::options().create(true).truncate(false).read(true).write(true).clone();
        let file = options.open(dir.join(NAME)).map_err(failed)?;
        let mut stored = [0; BYTES];
        let reached = match file.read_exact_at(&mut stored, 0) {
            Ok(()) => decode(&stored),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(failed(error)),
        };
        if reached.is_none() && !created {
            tracing::warn!("the store has no witness, so a loss of its newest writes would go unnoticed");
        }
        Ok(Witness { file, reached: reached.unwrap_or_default() })
    }

    /// How far the store had come, at least.
    pub fn reached(&self) -> Reached {
        self.reached
    }

    /// Notes how far it has come, after the sync.
    pub fn note(&mut self, change: impl FnOnce(&mut Reached)) -> Result<(), StoreError> {
        change(&mut self.reached);
        self.file.write_all_at(&encode(&self.reached), 0).map_err(failed)
    }

    /// Makes it durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(failed)
    }
}

/// What a witness's file says; none if it is torn.
pub(super) fn read(stored: &[u8]) -> Option<Reached> {
    decode(stored.try_into().ok()?)
}

fn encode(reached: &Reached) -> [u8; BYTES] {
    let Reached { changes, segment, pieces, saves } = reached;
    let mut out = [VERSION; BYTES];
    let (_, rest) = out.split_at_mut(1);
    let (words, checksum) = rest.split_at_mut(WORDS * 8);
    for (word, value) in words.chunks_exact_mut(8).zip([changes, segment, pieces].into_iter().chain(saves)) {
        word.copy_from_slice(&value.to_le_bytes());
    }
    let sum = crc32c::crc32c(words);
    checksum.copy_from_slice(&sum.to_le_bytes());
    out
}

fn decode(stored: &[u8; BYTES]) -> Option<Reached> {
    let (version, rest) = stored.split_first()?;
    let (words, checksum) = rest.split_last_chunk()?;
    if *version != VERSION || crc32c::crc32c(words) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (words, _) = words.as_chunks();
    let [changes, segment, pieces, saves @ ..] = words else { return None };
    let [changes, segment, pieces] = [changes, segment, pieces].map(|word| u64::from_le_bytes(*word));
    let saves: &[[u8; 8]; SLOTS] = saves.try_into().ok()?;
    Some(Reached { changes, segment, pieces, saves: saves.map(u64::from_le_bytes) })
}
