//! Random operations over crashes: what was acknowledged is there, and no dot is ever on two requests (I-1, I-3).

use super::*;
use anser_model::Dot;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Action {
    /// A new write: key, and what it has seen.
    Mint(u8, Sight),
    /// The n-th write once more.
    Retry(u8),
    /// A version that another copy minted, merged with all that the model knows of the key, or not.
    Store(u8, bool),
    Read(u8, bool),
    Sync,
    ServeDisk,
    ServeOne,
    Crash,
}

#[derive(Clone, Copy, Debug)]
enum Sight {
    Present,
    Nothing,
    LastShown,
}

fn action() -> impl Strategy<Value = Action> {
    let sight = prop_oneof![Just(Sight::Present), Just(Sight::Nothing), Just(Sight::LastShown)];
    prop_oneof![
        6 => (0..4u8, sight).prop_map(|(key, sight)| Action::Mint(key, sight)),
        2 => any::<u8>().prop_map(Action::Retry),
        2 => (0..4u8, any::<bool>()).prop_map(|(key, all)| Action::Store(key, all)),
        4 => (0..4u8, any::<bool>()).prop_map(|(key, full)| Action::Read(key, full)),
        4 => Just(Action::Sync),
        2 => Just(Action::ServeDisk),
        2 => Just(Action::ServeOne),
        1 => Just(Action::Crash),
    ]
}

/// What was asked, to judge the answer by.
enum Asked {
    Write { key: u8, rid: Rid },
    Store { key: u8, state: KeyState },
    Read { key: u8 },
}

/// Who watches: it believes only what was said.
#[derive(Default)]
struct Watcher {
    asked: BTreeMap<u64, Asked>,
    writes: Vec<(u8, Write)>,
    /// All that was said of a key to be durable: a later read must know it.
    promised: BTreeMap<u8, KeyState>,
    /// The states that mints told of, until they are durable.
    told: BTreeMap<u64, KeyState>,
    shown: BTreeMap<u8, Bytes>,
    owners: BTreeMap<Dot, Rid>,
    elsewhere: u64,
}

impl Watcher {
    fn hear(&mut self, answers: Vec<Answer>) {
        for (seq, body) in answers {
            match body {
                Body::Replicated(ReplicaReply::Minted { state, .. }) => {
                    let decoded = self.check(&state);
                    let Some(Asked::Write { key, rid }) = self.asked.get(&seq) else { panic!() };
                    assert!(decoded.knows(rid));
                    self.shown.insert(*key, state);
                    self.told.insert(seq, decoded);
                }
                Body::Replicated(ReplicaReply::Durable) => {
                    let (key, state) = match self.asked.remove(&seq).unwrap() {
                        Asked::Write { key, .. } => (key, self.told.remove(&seq).unwrap()),
                        Asked::Store { key, state } => (key, state),
                        Asked::Read { .. } => panic!("a read is not answered so"),
                    };
                    self.promised.entry(key).or_default().merge(&state);
                }
                Body::Replicated(ReplicaReply::State { state, .. }) => {
                    let decoded = self.check(&state);
                    let Some(Asked::Read { key }) = self.asked.remove(&seq) else { panic!() };
                    self.promised.entry(key).or_default().merge(&decoded);
                    self.shown.insert(key, state);
                }
                Body::Replicated(ReplicaReply::Digest { .. }) => {
                    self.asked.remove(&seq).unwrap();
                }
                Body::Refused(Refusal::Busy) => {
                    self.asked.remove(&seq).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads a state, and that no dot in it was ever on another request.
    fn check(&mut self, state: &[u8]) -> KeyState {
        let state = KeyState::decode(state).unwrap();
        for (rid, version) in state.live() {
            for dot in &version.dots {
                assert_eq!(self.owners.entry(*dot).or_insert(*rid), rid, "{dot} is on two requests");
            }
        }
        state
    }

    /// Everything promised is known to the copy: merging it in changes nothing but what could be forgotten.
    fn audit(&mut self, bench: &mut Bench) {
        for key in 0..4 {
            let (seq, mut answers) = bench.read(&name(key), Want::Full);
            answers.extend(bench.serve_disk());
            answers.extend(bench.sync());
            answers.retain(|(answered, _)| *answered == seq);
            let [(_, Body::Replicated(ReplicaReply::State { state, .. }))] = &answers[..] else {
                panic!("{answers:?}")
            };
            let mut found = self.check(state);
            if let Some(promised) = self.promised.get(&key) {
                let before = found.clone();
                found.merge(promised);
                let live =
                    |state: &KeyState| state.live().iter().map(|(rid, _)| *rid).collect::<BTreeSet<_>>();
                assert_eq!(live(&found), live(&before), "an acknowledged version is lost, or was undone");
                assert!(before.context().covers(promised.context()));
            }
        }
    }
}

fn name(key: u8) -> String {
    format!("key-{key}")
}

fn run(actions: Vec<Action>, memtable_bytes: usize) {
    let mut lives = 1;
    let start = |life: u64, disk: FakeDisk| {
        let mut config = config(life);
        config.limits.engine.memtable_bytes = memtable_bytes;
        config.limits.pending_max = 12;
        Bench::warm(config, disk)
    };
    let mut bench = start(lives, FakeDisk::default());
    let mut watcher = Watcher::default();
    for action in actions {
        let (seq, answers) = match action {
            Action::Mint(key, sight) => {
                let seen = match (sight, watcher.shown.get(&key)) {
                    (Sight::Present, _) => Seen::Present,
                    (Sight::LastShown, Some(shown)) => seen(shown),
                    (Sight::Nothing | Sight::LastShown, _) => Seen::Nothing,
                };
                let number = u64::try_from(watcher.writes.len()).unwrap();
                let write = write(number, &format!("value {number}"), seen);
                watcher.writes.push((key, write.clone()));
                mint(&mut watcher, &mut bench, key, write)
            }
            Action::Retry(nth) => {
                let Some(at) = usize::from(nth).checked_rem(watcher.writes.len()) else { continue };
                let (key, write) = watcher.writes[at].clone();
                mint(&mut watcher, &mut bench, key, write)
            }
            Action::Store(key, all) => {
                watcher.elsewhere += 1;
                let number = 1000 + watcher.elsewhere;
                let mut state =
                    if all { watcher.promised.get(&key).cloned() } else { None }.unwrap_or_default();
                state.mint(actor(2, number), 1, &write(number, "elsewhere", Seen::Present)).unwrap();
                watcher.asked.insert(bench.seq + 1, Asked::Store { key, state: state.clone() });
                bench.store(&name(key), &state)
            }
            Action::Read(key, full) => {
                watcher.asked.insert(bench.seq + 1, Asked::Read { key });
                bench.read(&name(key), if full { Want::Full } else { Want::Digest })
            }
            Action::Sync => (0, bench.sync()),
            Action::ServeDisk => (0, bench.serve_disk()),
            Action::ServeOne => (0, bench.disk.serve_one().map_or(vec![], |feedback| bench.own(feedback))),
            Action::Crash => {
                lives += 1;
                bench.disk.crash();
                let seq = bench.seq;
                bench = start(lives, bench.disk);
                bench.seq = seq;
                watcher.asked.clear();
                watcher.told.clear();
                (0, vec![])
            }
        };
        let _ = seq;
        watcher.hear(answers);
    }
    // What is still to be said may be said now; then the power goes.
    watcher.hear(bench.serve_disk());
    let synced = bench.sync();
    watcher.hear(synced);
    assert!(bench.replica.budget.is_unused());
    bench.disk.crash();
    watcher.audit(&mut start(lives + 1, bench.disk));
}

fn mint(watcher: &mut Watcher, bench: &mut Bench, key: u8, write: Write) -> (u64, Vec<Answer>) {
    watcher.asked.insert(bench.seq + 1, Asked::Write { key, rid: write.rid });
    bench.mint(&name(key), write)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn acknowledged_writes_survive_crashes(
        actions in proptest::collection::vec(action(), 1..120),
        memtable_bytes in prop_oneof![Just(1usize), Just(1500), Just(1 << 20)],
    ) {
        run(actions, memtable_bytes);
    }
}
