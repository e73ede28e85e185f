//! Old copies of data folders, recognised by what others remember: each node says how far its own folder is, and remembers of
//! the others' the furthest that they said, and which folders another one replaced.
//!
//! Keeps: what a folder is remembered to have held is durable here some seconds after it was said; a folder is sound only once
//! every other member has said so but for the dead, or could not be reached in time; from a word to the contrary on it is old
//! for good.
//! Deliberately absent: what becomes of an old folder, which is the host's business.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use anser_machine::FolderTrust;
use anser_model::{FolderId, NodeId};
use anser_proto::Tick;
use anser_proto::gossip::{Heard, Mark, Trust};
use serde::{Deserialize, Serialize};

/// Replaced folders remembered of each node: more than an operator puts back.
const FORMER_MAX: usize = 8;
/// Members that don't answer are waited for no longer: what can't be reached can't be served with either.
pub(crate) const ASK_MS: u64 = 3000;
/// Between two questions to those that did not answer yet.
pub(crate) const ASK_GAP_MS: u64 = 200;

/// What is remembered of one peer's folders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// The folder that it ran with last.
    pub folder: FolderId,
    /// The most records that it said to hold.
    pub records: u64,
    /// Those that it ran with before, the oldest first.
    former: Vec<FolderId>,
}

impl Remembered {
    fn of(mark: &Mark) -> Remembered {
        Remembered { folder: mark.folder, records: mark.records, former: Vec::new() }
    }

    /// Takes in what the peer says itself.
    fn hear(&mut self, mark: &Mark) {
        if mark.folder == self.folder {
            self.records = self.records.max(mark.records);
        } else if !self.former.contains(&mark.folder) {
            let surplus = (self.former.len() + 1).saturating_sub(FORMER_MAX);
            self.former.drain(..surplus);
            self.former.push(self.folder);
            (self.folder, self.records) = (mark.folder, mark.records);
        }
    }

    /// What to tell it of the folder that it runs with.
    fn tell(&self, folder: &FolderId) -> Heard {
        if *folder == self.folder {
            Heard::Records(self.records)
        } else if self.former.contains(folder) {
            Heard::Replaced
        } else {
            Heard::Nothing
        }
    }
}

/// What is remembered of the peers' folders.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    peers: BTreeMap<NodeId, Remembered>,
    /// As it is on disk.
    saved: BTreeMap<NodeId, Remembered>,
    /// As it is being written.
    saving: Option<BTreeMap<NodeId, Remembered>>,
}

impl Folders {
    /// As it was saved.
    pub fn restored(saved: Vec<(NodeId, Remembered)>) -> Folders {
        let peers: BTreeMap<_, _> = saved.into_iter().collect();
        Folders { saved: peers.clone(), peers, saving: None }
    }

    /// A peer says how far its folder is; it is told what is remembered of that folder from before.
    pub fn hear(&mut self, node: NodeId, mark: &Mark) -> Heard {
        match self.peers.get_mut(&node) {
            Some(known) => {
                let told = known.tell(&mark.folder);
                known.hear(mark);
                told
            }
            None => {
                self.peers.insert(node, Remembered::of(mark));
                Heard::Nothing
            }
        }
    }

    /// Forgets all but these.
    pub fn retain(&mut self, keep: impl Fn(&NodeId) -> bool) {
        self.peers.retain(|node, _| keep(node));
    }

    /// Whether something is to be saved.
    pub fn changed(&self) -> bool {
        self.saving.is_none() && self.peers != self.saved
    }

    /// All of it, on its way to the disk.
    pub fn begin_save(&mut self) -> Vec<(NodeId, Remembered)> {
        self.saving = Some(self.peers.clone());
        self.peers.iter().map(|(node, known)| (*node, known.clone())).collect()
    }

    /// What was on its way is durable.
    pub fn saved(&mut self) {
        if let Some(saving) = self.saving.take() {
            self.saved = saving;
        }
    }

    /// What this node will remember of a peer's folder after a crash.
    pub fn durable(&self, node: &NodeId) -> Option<&Remembered> {
        self.saved.get(node)
    }
}

/// What another member said of this node's folder.
#[derive(Clone, Copy, Debug)]
struct Said {
    heard: Option<Heard>,
    trust: Trust,
}

/// Another member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Other {
    /// Which.
    pub node: NodeId,
    /// Whether it is believed to be dead.
    pub is_dead: bool,
}

/// This node's own folder.
#[derive(Debug)]
pub(crate) struct OwnFolder {
    folder: FolderId,
    shards: usize,
    /// By shard, how many records its log holds durably; none where it can't be read back.
    records: BTreeMap<u32, Option<u64>>,
    /// By shard, how many copies are being refilled.
    joining: BTreeMap<u32, usize>,
    said: BTreeMap<NodeId, Said>,
    trust: Trust,
    /// Whether it was sound by the word of all others. What is said later is then about another process of the same name.
    was_sound: bool,
    /// Until when answers are waited for, once they were asked for.
    until: Option<Tick>,
    /// Whether something is known that was not judged.
    undecided: bool,
    told: Option<FolderTrust>,
}

impl OwnFolder {
    /// A folder of so many shards of which nothing is known yet.
    pub fn new(folder: FolderId, shards: u32) -> OwnFolder {
        OwnFolder {
            folder,
            shards: usize::try_from(shards).unwrap_or(usize::MAX),
            records: BTreeMap::new(),
            joining: BTreeMap::new(),
            said: BTreeMap::new(),
            trust: Trust::Asking,
            was_sound: false,
            until: None,
            undecided: true,
            told: None,
        }
    }

    /// How far it is.
    pub fn mark(&self) -> Mark {
        let is_whole =
            self.joining.len() >= self.shards && self.joining.values().all(|joining| *joining == 0);
        let trust = match self.trust {
            Trust::Sound if is_whole => Trust::Sound,
            Trust::Sound => Trust::Unsure,
            Trust::Asking | Trust::Unsure | Trust::Old => self.trust,
        };
        Mark { folder: self.folder, records: self.count(), trust }
    }

    fn count(&self) -> u64 {
        self.records.values().flatten().fold(0, |all, records| all.saturating_add(*records))
    }

    /// A shard's log holds so many records; none if it can't be read back.
    pub fn grow(&mut self, shard: u32, records: Option<u64>) {
        let known = self.records.entry(shard).or_insert(records);
        *known = records.max(*known);
    }

    /// So many copies of a shard are being refilled.
    pub fn refills(&mut self, shard: u32, joining: usize) {
        self.joining.insert(shard, joining);
    }

    /// From now on the others are asked.
    pub fn ask(&mut self, now: Tick) {
        self.until.get_or_insert(now.plus_ms(ASK_MS));
    }

    /// Another member says how far it trusts its own folder, and, if it was asked, what it remembers of this one.
    pub fn hear(&mut self, node: NodeId, trust: Trust, heard: Option<Heard>) {
        let said = self.said.entry(node).or_insert(Said { heard: None, trust });
        let is_first = said.heard.is_none() && heard.is_some();
        said.trust = trust;
        said.heard = heard.or(said.heard);
        let matters = match self.trust {
            Trust::Asking | Trust::Old => true,
            Trust::Unsure => is_first,
            Trust::Sound => false,
        };
        self.undecided |= matters || heard.is_some_and(|heard| self.is_further(heard));
    }

    /// Whether it has to be judged.
    pub fn is_undecided(&self) -> bool {
        self.undecided || self.trust == Trust::Asking
    }

    /// Whether answers are waited for.
    pub fn is_asking(&self) -> bool {
        self.trust == Trust::Asking && self.until.is_some()
    }

    /// Until when.
    pub fn until(&self) -> Option<Tick> {
        self.until.filter(|_| self.trust == Trust::Asking && self.is_read_back())
    }

    /// Whether a member did not say yet what it remembers.
    pub fn is_unheard(&self, node: &NodeId) -> bool {
        self.said.get(node).is_none_or(|said| said.heard.is_none())
    }

    fn is_further(&self, heard: Heard) -> bool {
        match heard {
            Heard::Nothing => false,
            // Where a log can't be read back, there is nothing to compare with.
            Heard::Records(records) => {
                self.is_read_back() && self.records.values().all(Option::is_some) && records > self.count()
            }
            Heard::Replaced => true,
        }
    }

    fn is_read_back(&self) -> bool {
        self.records.len() >= self.shards
    }

    /// Judges by what is known now, `others` being the other members; none if there is no ring that this folder is part of.
    /// The verdict, if it is another than the last.
    pub fn judge(&mut self, now: Tick, others: Option<&[Other]>) -> Option<FolderTrust> {
        self.undecided = false;
        let verdict = self.verdict(now, others)?;
        self.trust = match verdict {
            FolderTrust::Sound if self.have_all_answered(others) => Trust::Sound,
            FolderTrust::Sound => self.trust.max(Trust::Unsure),
            FolderTrust::Old { .. } => Trust::Old,
        };
        self.was_sound |= self.trust == Trust::Sound && others.is_some();
        (self.told.replace(verdict) != Some(verdict)).then_some(verdict)
    }

    fn verdict(&self, now: Tick, others: Option<&[Other]>) -> Option<FolderTrust> {
        // A folder that was in no ring has promised nothing.
        let Some(others) = others else { return Some(FolderTrust::Sound) };
        let heard = |other: &Other| self.said.get(&other.node).and_then(|said| said.heard);
        let is_old =
            self.trust == Trust::Old || others.iter().filter_map(heard).any(|heard| self.is_further(heard));
        if is_old {
            return Some(FolderTrust::Old {
                replaceable: !self.was_sound && is_replaceable(&self.said, others),
            });
        }
        if matches!(self.trust, Trust::Sound | Trust::Unsure) {
            return Some(FolderTrust::Sound);
        }
        // Whom those who answered believe dead is not waited for.
        let answered = others.is_empty() || others.iter().any(|other| heard(other).is_some());
        let all_heard = answered && others.iter().all(|other| other.is_dead || heard(other).is_some());
        let waited = self.until.is_some_and(|until| until <= now);
        (self.is_read_back() && (all_heard || waited)).then_some(FolderTrust::Sound)
    }

    /// Whether every other member has said what it remembers.
    fn have_all_answered(&self, others: Option<&[Other]>) -> bool {
        let answered = |other: &Other| self.said.get(&other.node).is_some_and(|said| said.heard.is_some());
        others.is_none_or(|others| others.iter().all(answered))
    }
}

/// Every other member is sound. One that is away, asks, is refilled, or is old too may hold what no other does, or need what this
/// folder holds: if several were put back from backups of different moments, an operator has to choose.
fn is_replaceable(said: &BTreeMap<NodeId, Said>, others: &[Other]) -> bool {
    let is_sound = |other: &Other| said.get(&other.node).is_some_and(|said| said.trust == Trust::Sound);
    others.iter().all(|other| !other.is_dead && is_sound(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: FolderId = FolderId([1; 16]);
    const OTHER: FolderId = FolderId([2; 16]);

    fn node(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    fn mark(folder: FolderId, records: u64) -> Mark {
        Mark { folder, records, trust: Trust::Sound }
    }

    #[test]
    fn the_furthest_that_a_folder_said_is_remembered_and_so_is_that_it_was_replaced() {
        let mut folders = Folders::default();
        assert_eq!(folders.hear(node(1), &mark(FOLDER, 5)), Heard::Nothing);
        assert_eq!(folders.hear(node(1), &mark(FOLDER, 9)), Heard::Records(5));
        assert_eq!(folders.hear(node(1), &mark(FOLDER, 3)), Heard::Records(9));
        assert_eq!(folders.hear(node(1), &mark(OTHER, 1)), Heard::Nothing, "a new one");
        assert_eq!(folders.hear(node(1), &mark(FOLDER, 100)), Heard::Replaced);
        assert_eq!(folders.hear(node(1), &mark(OTHER, 2)), Heard::Records(1));
        assert!(folders.changed());
        let saved = folders.begin_save();
        assert!(!folders.changed() && folders.durable(&node(1)).is_none(), "on its way");
        folders.saved();
        assert_eq!(folders.durable(&node(1)).map(|known| (known.folder, known.records)), Some((OTHER, 2)));
        let mut restored = Folders::restored(saved);
        assert_eq!(restored.hear(node(1), &mark(FOLDER, 100)), Heard::Replaced);
        assert!(!restored.changed());
        restored.retain(|_| false);
        assert!(restored.changed());
    }

    #[test]
    fn replaced_folders_are_remembered_up_to_a_bound() {
        let mut folders = Folders::default();
        for number in 0..=10 {
            folders.hear(node(1), &mark(FolderId([number; 16]), 0));
        }
        assert_eq!(folders.hear(node(1), &mark(FolderId([9; 16]), 0)), Heard::Replaced);
        assert_eq!(folders.hear(node(1), &mark(FolderId([2; 16]), 0)), Heard::Replaced);
        assert_eq!(folders.hear(node(1), &mark(FolderId([1; 16]), 0)), Heard::Nothing, "long ago");
    }

    fn own(records: u64) -> OwnFolder {
        let mut own = OwnFolder::new(FOLDER, 2);
        own.grow(0, Some(records));
        own.grow(1, Some(0));
        own.ask(Tick(0));
        own
    }

    fn alive(number: u8) -> Other {
        Other { node: node(number), is_dead: false }
    }

    const SOUND: Option<FolderTrust> = Some(FolderTrust::Sound);

    #[test]
    fn a_sound_folder_is_judged_again_when_somebody_knows_that_it_was_further() {
        let mut sound = own(10);
        sound.hear(node(2), Trust::Sound, Some(Heard::Records(10)));
        assert_eq!(sound.judge(Tick(0), Some(&[alive(2)])), SOUND);
        sound.hear(node(2), Trust::Sound, Some(Heard::Records(10)));
        assert!(!sound.is_undecided(), "no news");
        sound.hear(node(2), Trust::Sound, Some(Heard::Records(11)));
        assert!(sound.is_undecided());
    }

    #[test]
    fn a_folder_is_sound_once_all_others_said_so_or_did_not_answer_in_time() {
        let others = [alive(2), alive(3)];
        let mut asking = own(10);
        asking.hear(node(2), Trust::Sound, Some(Heard::Records(10)));
        assert_eq!(asking.judge(Tick(0), Some(&others)), None);
        asking.hear(node(3), Trust::Asking, None);
        assert_eq!(asking.judge(Tick(0), Some(&others)), None, "it was not asked yet");
        let late = Tick(0).plus_ms(ASK_MS);
        assert_eq!((asking.until(), asking.is_asking()), (Some(late), true));
        asking.hear(node(3), Trust::Asking, Some(Heard::Nothing));
        assert_eq!(asking.judge(Tick(0), Some(&others)), SOUND);
        assert_eq!((asking.judge(Tick(0), Some(&others)), asking.is_asking()), (None, false), "said once");
        assert_eq!(own(10).judge(late, Some(&others)), SOUND, "nobody answers");
        let one_dead = [alive(2), Other { is_dead: true, ..alive(3) }];
        let mut asking = own(10);
        assert_eq!(asking.judge(Tick(0), Some(&one_dead)), None, "nobody alive answered");
        asking.hear(node(2), Trust::Sound, Some(Heard::Nothing));
        assert_eq!(asking.judge(Tick(0), Some(&one_dead)), SOUND);
        assert_eq!(own(10).judge(Tick(0), Some(&[])), SOUND, "alone");
        assert_eq!(OwnFolder::new(FOLDER, 2).judge(Tick(0), None), SOUND, "in no ring");
        let mut reading = OwnFolder::new(FOLDER, 2);
        reading.ask(Tick(0));
        reading.grow(0, Some(9));
        assert_eq!((reading.judge(late, Some(&[])), reading.until()), (None, None), "not read back yet");
    }

    #[test]
    fn a_folder_of_which_more_is_remembered_is_old_for_good() {
        let others = [alive(2), alive(3)];
        let old = |replaceable| Some(FolderTrust::Old { replaceable });
        for heard in [Heard::Records(11), Heard::Replaced] {
            let mut own = own(10);
            own.hear(node(3), Trust::Asking, Some(heard));
            assert_eq!(own.judge(Tick(0), Some(&others)), old(false), "{heard:?}");
            own.grow(0, Some(100));
            own.hear(node(3), Trust::Sound, Some(Heard::Records(11)));
            assert_eq!(own.judge(Tick(0), Some(&others)), None, "of the other nothing is known");
            for trust in [Trust::Asking, Trust::Unsure, Trust::Old] {
                own.hear(node(2), trust, None);
                assert_eq!(own.judge(Tick(0), Some(&others)), None, "{trust:?}");
            }
            own.hear(node(2), Trust::Sound, None);
            let one_dead = [Other { is_dead: true, ..alive(2) }, alive(3)];
            assert_eq!(own.judge(Tick(0), Some(&one_dead)), None, "it was, and is away");
            assert_eq!(own.judge(Tick(0), Some(&others)), old(true), "all others are sound");
        }
        let mut late = own(10);
        assert_eq!(late.judge(Tick(0).plus_ms(ASK_MS), Some(&others)), SOUND);
        assert_eq!(late.mark().trust, Trust::Unsure, "nobody has said so");
        late.hear(node(3), Trust::Sound, Some(Heard::Nothing));
        late.hear(node(2), Trust::Sound, Some(Heard::Records(11)));
        assert_eq!(late.judge(Tick(0).plus_ms(ASK_MS), Some(&others)), old(true));
    }

    #[test]
    fn a_folder_that_was_sound_by_the_word_of_all_is_never_set_aside() {
        let others = [alive(2), alive(3)];
        let mut own = own(10);
        others.iter().for_each(|other| own.hear(other.node, Trust::Sound, Some(Heard::Records(10))));
        assert_eq!(own.judge(Tick(0), Some(&others)), SOUND);
        // Another process took its name.
        own.hear(node(2), Trust::Sound, Some(Heard::Replaced));
        assert_eq!(own.judge(Tick(0), Some(&others)), Some(FolderTrust::Old { replaceable: false }));
    }

    #[test]
    fn a_node_says_that_it_is_sound_once_all_of_its_copies_are_whole() {
        let mut own = own(10);
        assert_eq!(own.judge(Tick(0), Some(&[])), SOUND);
        assert_eq!(own.mark().trust, Trust::Unsure, "nothing is known of its copies");
        own.refills(0, 0);
        own.refills(1, 3);
        assert_eq!(own.mark().trust, Trust::Unsure);
        own.refills(1, 0);
        assert_eq!(own.mark().trust, Trust::Sound);
    }

    #[test]
    fn a_log_that_cannot_be_read_back_keeps_no_other_shard_waiting() {
        let others = [alive(2)];
        let mut own = OwnFolder::new(FOLDER, 2);
        own.grow(0, Some(9));
        own.grow(1, None);
        own.ask(Tick(0));
        own.hear(node(2), Trust::Sound, Some(Heard::Records(100)));
        assert_eq!(own.judge(Tick(0), Some(&others)), SOUND, "nothing to compare with");
        own.hear(node(2), Trust::Sound, Some(Heard::Replaced));
        assert!(matches!(own.judge(Tick(0), Some(&others)), Some(FolderTrust::Old { .. })));
    }
}
