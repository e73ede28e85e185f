//! Ordered trees in memory, as a tree store on a disk is after a crash: what was synced is there, and of what came after,
//! whatever was put first. They may be damaged, put back from a backup, or have no room.

use anser_storage::store::{Part, StoreError, TreeName, Trees, VALUE_BYTES_MAX, Visit};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// One tree. Segments of the log have dense keys, laid out beforehand: a list is ten times as fast.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    Map(BTreeMap<Vec<u8>, Bytes>),
    List(Vec<Option<Bytes>>),
}

/// The place of a key in a list.
fn place(key: &[u8]) -> usize {
    let sequence = key.try_into().map(u64::from_be_bytes).expect("a log's key is a sequence");
    usize::try_from(sequence).expect("a segment is short")
}

impl Tree {
    fn new(name: TreeName) -> Tree {
        match name {
            TreeName::Log(_) => Tree::List(Vec::new()),
            TreeName::Manifest | TreeName::Slots | TreeName::Table(_) => Tree::Map(BTreeMap::new()),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        match self {
            Tree::Map(map) => map.get(key),
            Tree::List(list) => list.get(place(key))?.as_ref(),
        }
    }

    /// Sets or removes; gives what was there.
    pub(super) fn set(&mut self, key: &[u8], value: Option<Bytes>) -> Option<Bytes> {
        match (self, value) {
            (Tree::Map(map), Some(value)) => map.insert(key.to_vec(), value),
            (Tree::Map(map), None) => map.remove(key),
            (Tree::List(list), value) => {
                let place = place(key);
                if list.len() <= place {
                    list.resize(place + 1, None);
                }
                let before = std::mem::replace(&mut list[place], value);
                while list.last().is_some_and(Option::is_none) {
                    list.pop();
                }
                before
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Tree::Map(map) => map.is_empty(),
            Tree::List(list) => list.is_empty(),
        }
    }

    pub(super) fn walk(&self, visit: &mut Visit<'_>) -> ControlFlow<()> {
        match self {
            Tree::Map(map) => map.iter().try_for_each(|(key, value)| visit(key, value)),
            Tree::List(list) => (0_u64..).zip(list).try_for_each(|(key, value)| match value {
                Some(value) => visit(&key.to_be_bytes(), value),
                None => ControlFlow::Continue(()),
            }),
        }
    }
}

/// How to take one unsynced change back.
#[derive(Clone, Debug)]
enum Undo {
    Key(TreeName, Vec<u8>, Option<Bytes>),
    /// A key of the log.
    Sequence(u64, [u8; 8], Option<Bytes>),
    /// Keys of a new segment, from this one on, that were laid out one after the other.
    LaidOut(u64, usize),
    Tree(TreeName, Tree),
}

impl Undo {
    fn part(&self) -> Part {
        match self {
            Undo::Key(name, ..) | Undo::Tree(name, _) => name.part(),
            Undo::Sequence(..) | Undo::LaidOut(..) => Part::Log,
        }
    }
}

pub(super) type Content = BTreeMap<TreeName, Tree>;

/// Takes changes back, the last one first.
fn take_back(content: &mut Content, undos: impl DoubleEndedIterator<Item = Undo>) {
    for undo in undos.rev() {
        match undo {
            Undo::Key(name, key, before) => restore(content, name, &key, before),
            Undo::Sequence(segment, key, before) => restore(content, TreeName::Log(segment), &key, before),
            Undo::LaidOut(segment, from) => {
                let name = TreeName::Log(segment);
                if let Some(Tree::List(list)) = content.get_mut(&name) {
                    list.truncate(from);
                    if list.is_empty() {
                        content.remove(&name);
                    }
                }
            }
            Undo::Tree(name, tree) => {
                content.insert(name, tree);
            }
        }
    }
}

/// What there is room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Room {
    /// Everything.
    #[default]
    Plenty,
    /// So many more keys, then writes are refused.
    Keys(u32),
    /// Writes are taken, and syncs refused.
    NoSync,
}

/// What was on a disk at some time.
#[derive(Clone, Debug)]
pub(crate) struct Image(Content);

/// Sets a key back; a tree without keys is none.
fn restore(content: &mut Content, name: TreeName, key: &[u8], before: Option<Bytes>) {
    let gone = before.is_none();
    let tree = content.entry(name).or_insert_with(|| Tree::new(name));
    tree.set(key, before);
    if gone && tree.is_empty() {
        content.remove(&name);
    }
}

/// The trees of one disk.
#[derive(Debug, Default)]
pub(crate) struct SimTrees {
    pub(super) content: RefCell<Content>,
    /// What changed since the last sync, the first change first.
    unsynced: RefCell<Vec<Undo>>,
    /// Whether syncs do nothing and say that they did.
    lies: Cell<bool>,
    room: Cell<Room>,
    /// Damaged values, as they were written.
    pub(super) damaged: RefCell<BTreeMap<(TreeName, Vec<u8>), Bytes>>,
}

impl SimTrees {
    /// How many changes a crash may take back.
    pub fn unsynced(&self) -> usize {
        self.unsynced.borrow().len()
    }

    /// A crash that keeps of each part the first so many changes since its last sync.
    pub fn crash(&self, mut kept: impl FnMut(Part, usize) -> usize) {
        let mut content = self.content.borrow_mut();
        for part in Part::ALL {
            let mut unsynced = self.unsynced.borrow_mut();
            let of_part: Vec<Undo> = unsynced.extract_if(.., |undo| undo.part() == part).collect();
            let kept = kept(part, of_part.len());
            take_back(&mut content, of_part.into_iter().skip(kept));
        }
    }

    /// Lets syncs lie from now on.
    pub fn lie(&self) {
        self.lies.set(true);
    }

    /// There is so much room from now on.
    pub fn set_room(&self, room: Room) {
        self.room.set(room);
    }

    /// Whether there is room for everything.
    pub fn has_room(&self) -> bool {
        self.room.get() == Room::Plenty
    }

    /// What a power cut would leave now.
    pub fn image(&self) -> Image {
        let mut content = self.content.borrow().clone();
        take_back(&mut content, self.unsynced.borrow().iter().cloned());
        Image(content)
    }

    /// All is as it was.
    pub fn put_back(&self, image: Image) {
        *self.content.borrow_mut() = image.0;
        self.unsynced.borrow_mut().clear();
        self.damaged.borrow_mut().clear();
    }

    fn set(&self, name: TreeName, key: &[u8], value: Option<Bytes>) {
        let mut content = self.content.borrow_mut();
        let tree = content.entry(name).or_insert_with(|| Tree::new(name));
        let mut unsynced = self.unsynced.borrow_mut();
        if let (TreeName::Log(segment), Tree::List(list), Some(value)) = (name, &mut *tree, &value)
            && value.is_empty()
            && list.len() == place(key)
        {
            match unsynced.last() {
                Some(Undo::LaidOut(last, _)) if *last == segment => {}
                Some(_) | None => unsynced.push(Undo::LaidOut(segment, list.len())),
            }
            list.push(Some(Bytes::new()));
            return;
        }
        let before = tree.set(key, value);
        let undo = match (name, key.try_into()) {
            (TreeName::Log(segment), Ok(key)) => Undo::Sequence(segment, key, before),
            _ => Undo::Key(name, key.to_vec(), before),
        };
        unsynced.push(undo);
        let mut damaged = self.damaged.borrow_mut();
        if !damaged.is_empty() {
            damaged.remove(&(name, key.to_vec()));
        }
    }

    /// Takes one key from the room that there is.
    fn take_room(&self) -> Result<(), StoreError> {
        match self.room.get() {
            Room::Plenty | Room::NoSync => Ok(()),
            Room::Keys(0) => Err(StoreError::Failed("no space left".to_owned())),
            Room::Keys(left) => {
                self.room.set(Room::Keys(left - 1));
                Ok(())
            }
        }
    }
}

impl Trees for SimTrees {
    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.content.borrow().get(&tree).and_then(|tree| tree.get(key)).cloned())
    }

    fn put(&self, tree: TreeName, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes in {tree}", value.len());
        self.take_room()?;
        self.set(tree, key, Some(Bytes::copy_from_slice(value)));
        Ok(())
    }

    fn remove(&self, tree: TreeName, key: &[u8]) -> Result<(), StoreError> {
        self.set(tree, key, None);
        Ok(())
    }

    fn walk(&self, tree: TreeName, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        if let Some(tree) = self.content.borrow().get(&tree) {
            // Stopping early is the visitor's right, not an error.
            let _ = tree.walk(visit);
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<TreeName>, StoreError> {
        Ok(self.content.borrow().keys().copied().collect())
    }

    fn drop_tree(&self, tree: TreeName) -> Result<(), StoreError> {
        if let Some(before) = self.content.borrow_mut().remove(&tree) {
            self.unsynced.borrow_mut().push(Undo::Tree(tree, before));
            self.damaged.borrow_mut().retain(|(name, _), _| *name != tree);
        }
        Ok(())
    }

    fn sync_part(&self, part: Part) -> Result<(), StoreError> {
        if self.room.get() == Room::NoSync {
            return Err(StoreError::Failed("no space left".to_owned()));
        }
        if !self.lies.get() {
            self.unsynced.borrow_mut().retain(|undo| undo.part() != part);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: TreeName = TreeName::Log(1);
    const KEYS: [[u8; 8]; 2] = [[0; 8], [0, 0, 0, 0, 0, 0, 0, 1]];

    #[test]
    fn a_crash_keeps_what_was_synced_and_the_first_of_the_rest() {
        let trees = SimTrees::default();
        trees.put(LOG, &KEYS[0], b"1").unwrap();
        trees.sync().unwrap();
        trees.put(LOG, &KEYS[0], b"2").unwrap();
        trees.put(LOG, &KEYS[1], b"1").unwrap();
        trees.put(TreeName::Slots, b"c", b"1").unwrap();
        trees.put(TreeName::Manifest, b"m", b"1").unwrap();
        trees.drop_tree(LOG).unwrap();
        trees.crash(|part, unsynced| if part == Part::Log { 1 } else { unsynced });
        assert_eq!(trees.get(LOG, &KEYS[0]).unwrap().unwrap(), "2");
        assert_eq!(
            (trees.get(LOG, &KEYS[1]).unwrap(), trees.names().unwrap()),
            (None, vec![TreeName::Manifest, LOG])
        );
        assert_eq!(trees.unsynced(), 0);
    }

    #[test]
    fn a_crash_takes_a_layout_back_and_a_backup_has_what_was_synced() {
        let trees = SimTrees::default();
        trees.put(TreeName::Slots, b"c", b"1").unwrap();
        trees.sync().unwrap();
        KEYS.iter().for_each(|key| trees.put(LOG, key, b"").unwrap());
        trees.put(LOG, &KEYS[1], b"1").unwrap();
        assert_eq!(trees.unsynced(), 2);
        let image = trees.image();
        trees.crash(|_, _| 1);
        assert_eq!(trees.get(LOG, &KEYS[1]).unwrap().unwrap(), "");
        trees.put_back(image);
        assert_eq!(trees.names().unwrap(), [TreeName::Slots]);
    }

    #[test]
    fn a_full_disk_refuses_writes_or_syncs() {
        let trees = SimTrees::default();
        trees.set_room(Room::Keys(1));
        assert!(trees.put(LOG, &KEYS[0], b"1").is_ok() && trees.put(LOG, &KEYS[1], b"1").is_err());
        trees.set_room(Room::NoSync);
        assert!(trees.put(LOG, &KEYS[1], b"1").is_ok() && trees.sync().is_err());
        trees.set_room(Room::Plenty);
        assert!(trees.sync().is_ok());
    }
}
