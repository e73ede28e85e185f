//! The commands of a story.
//!
//! | command | what it does |
//! |---|---|
//! | `cluster nodes=3 [dcs=1] [memtable=BYTES]` | a new cluster, founded; so many nodes in each data centre |
//! | `tell clients nodes disks facts gossip Kind` | what is told of from now on; `tell` alone: all but gossip |
//! | `put c1 KEY VALUE`, `delete c1 KEY`, `get c1 KEY` | a client asks a node: `at=n1 minter=n2 context=T1\|none level=all keyspace=strict within=300ms` |
//! | `retry c1 [at=n2]` | the client tries its last write again |
//! | `hold [n1 -> n2] [Kind]`, `hold n1 <-> n2`, `free` | holds what is on such a way from now on; holds nothing more, and delivers what was |
//! | `deliver`, `drop`, `twice`, `newest` `[n1 -> n2] [Kind]` | delivers held messages, loses them, delivers them and keeps them, delivers the newest first |
//! | `way` | what is held |
//! | `cut n1 -> n2`, `cut n1`, `cut n1 n2 \| n3`, `mend` | nothing passes one way, from and to a node, between two sides; all passes again |
//! | `disk slow n1 n2`, `disk fast n1`, `sync n1`, `table n1` | disks end nothing by themselves; do again; end one sync; end one step of their work on tables |
//! | `crash n1 n2 [keep=all]`, `start n1`, `pause n1`, `resume n1` | processes end (and lose what was not synced), start, stop, go on |
//! | `panic n1.coordinator`, `panic n1.replica KEY` | the next step of an actor panics |
//! | `time 500ms` | time passes |
//! | `where KEY`, `show KEY [keyspace=quick]`, `beliefs` | who has a key; what they hold of it; what nodes believe of each other |
//!
//! A value `x*3000` is so many of the letter.

use super::client::Extras;
use super::wires::{Held, Wire};
use super::{CLIENTS, COMMAND_US, KEYS_MAX, Stage, Telling};
use crate::disk::{Stays, Turn};
use crate::faults::Undo;
use crate::schedule::MS;
use crate::world::Job;
use crate::world::node::{COORDINATOR, MEMBERSHIP};
use anser_model::{Body as Value, Key, KeyState};
use anser_proto::client::ContextArg;
use anser_storage::StoreKey;
use std::mem::take;

/// Runs one command; gives what it tells.
pub(super) fn run(stage: &mut Option<Stage>, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let (plain, named): (Vec<&str>, Vec<&str>) = words.iter().copied().partition(|word| !word.contains('='));
    let done = match (plain.as_slice(), stage) {
        (["cluster"], stage) => cluster(&named).map(|new| *stage = Some(new)).map(|()| Vec::new()),
        (_, None) => Err("there is no cluster yet".to_owned()),
        ([verb, rest @ ..], Some(stage)) => stage.run(verb, rest, &named),
        ([], Some(_)) => Err("no command".to_owned()),
    };
    match done {
        Ok(lines) if lines.is_empty() => "ok".to_owned(),
        Ok(lines) => lines.join("\n"),
        Err(why) => format!("error: {why}"),
    }
}

fn cluster(named: &[&str]) -> Result<Stage, String> {
    let (mut dcs, mut nodes, mut memtable) = (1, 3, None);
    for word in named {
        match word.split_once('=') {
            Some(("dcs", count)) => dcs = number(count)?,
            Some(("nodes", count)) => nodes = number(count)?,
            Some(("memtable", bytes)) => memtable = Some(number(bytes)?),
            _ => return Err(format!("{word} is unknown")),
        }
    }
    Ok(Stage::new(dcs, nodes, memtable))
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn ms(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let count: u64 = digits.parse().map_err(|_| format!("{text} is no time"))?;
    match unit {
        "ms" => Ok(count),
        "s" => Ok(count * 1000),
        _ => Err(format!("{text} is no time")),
    }
}

fn key(text: &str) -> Result<Key, String> {
    Key::new(text.to_owned()).map_err(|error| error.to_string())
}

fn client(name: &str) -> Result<usize, String> {
    let number = name.strip_prefix('c').and_then(|number| number.parse::<usize>().ok());
    number
        .filter(|number| (1..=CLIENTS).contains(number))
        .map(|n| n - 1)
        .ok_or(format!("{name} is no client"))
}

fn value(text: &str) -> Value {
    let repeated = text.split_once('*').and_then(|(what, count)| Some(what.repeat(count.parse().ok()?)));
    Value::Value(repeated.unwrap_or_else(|| text.to_owned()).into())
}

impl Stage {
    fn run(&mut self, verb: &str, plain: &[&str], named: &[&str]) -> Result<Vec<String>, String> {
        let mut us = COMMAND_US;
        match (verb, plain) {
            ("tell", telling) => self.set_telling(telling)?,
            ("put", [c, key_text, text]) => {
                self.put(client(c)?, key(key_text)?, value(text), self.extras(named)?)?;
            }
            ("delete", [c, key_text]) => {
                self.put(client(c)?, key(key_text)?, Value::Tombstone, self.extras(named)?)?;
            }
            ("get", [c, key_text]) => self.get(client(c)?, key(key_text)?, &self.extras(named)?)?,
            ("retry", [c]) => self.retry(client(c)?, &self.extras(named)?)?,
            ("hold", [a, "<->", b]) => {
                for way in [[*a, "->", *b], [*b, "->", *a]] {
                    let wire = self.wire(&way)?;
                    self.handle_held(verb, wire)?;
                }
            }
            ("hold" | "free" | "deliver" | "drop" | "twice" | "newest" | "way", wire) => {
                let wire = self.wire(wire)?;
                self.handle_held(verb, wire)?;
            }
            ("cut" | "mend", ends) => self.cut(verb == "cut", ends)?,
            ("disk", [pace @ ("slow" | "fast"), nodes @ ..]) => self.handle_disks(pace, nodes)?,
            ("sync" | "table", nodes @ [_, ..]) => self.handle_disks(verb, nodes)?,
            ("crash" | "start" | "pause" | "resume", nodes @ [_, ..]) => {
                for node in nodes {
                    self.handle_process(verb, self.node(node)?, named)?;
                }
            }
            ("panic", [actor, rest @ ..]) => self.panic(actor, rest)?,
            ("time", [text]) => {
                us = ms(text)? * MS;
                self.since = Some(self.world.now());
            }
            ("where", [text]) => self.tell_where(text)?,
            ("show", [text]) => self.show(text, named)?,
            ("beliefs", []) => self.tell_beliefs(),
            _ => return Err("no such command".to_owned()),
        }
        self.hear();
        self.pass(us);
        self.since = None;
        Ok(take(&mut self.lines))
    }

    fn node(&self, name: &str) -> Result<usize, String> {
        self.names.place(name).ok_or(format!("{name} is no node"))
    }

    fn extras(&self, named: &[&str]) -> Result<Extras, String> {
        let mut extras = Extras::default();
        for word in named {
            match word.split_once('=') {
                Some(("at", name)) => extras.at = Some(self.node(name)?),
                Some(("minter", name)) => extras.minter = Some(self.node(name)?),
                Some(("level", level)) => {
                    extras.level = Some(level.parse().map_err(|_| format!("{level} is no level"))?);
                }
                Some(("keyspace", name)) => extras.keyspace = Some(name.to_owned()),
                Some(("within", time)) => extras.within_ms = Some(ms(time)?),
                Some(("context", "none")) => extras.context = Some(ContextArg::Sibling),
                Some(("context", name)) => {
                    let token = self.names.token_named(name).ok_or(format!("{name} is no token"))?;
                    extras.context = Some(ContextArg::Token(token.to_owned()));
                }
                _ => return Err(format!("{word} is unknown")),
            }
        }
        Ok(extras)
    }

    fn set_telling(&mut self, telling: &[&str]) -> Result<(), String> {
        let usual = ["clients", "nodes", "disks", "facts"];
        let telling = if telling.is_empty() { &usual } else { telling };
        self.telling.clear();
        self.kinds.clear();
        for word in telling {
            self.telling.insert(match *word {
                "clients" => Telling::Clients,
                "nodes" => Telling::Nodes,
                "disks" => Telling::Disks,
                "facts" => Telling::Facts,
                "gossip" => Telling::Gossip,
                kind if kind.starts_with(char::is_uppercase) => {
                    self.kinds.insert(kind.to_owned());
                    continue;
                }
                other => return Err(format!("{other} can't be told of")),
            });
        }
        Ok(())
    }

    /// The end with a name: a node, or a client, which come after the nodes; none for `*`.
    fn end(&self, name: &str) -> Result<Option<usize>, String> {
        if name == "*" {
            return Ok(None);
        }
        let clients = client(name).map(|c| self.world.nodes.len() + c);
        self.node(name).or(clients).map(Some).map_err(|_| format!("{name} is neither node nor client"))
    }

    fn wire(&self, words: &[&str]) -> Result<Wire, String> {
        let kind = |words: &[&str]| words.first().map(|kind| (*kind).to_owned());
        match words {
            [from, "->", to, rest @ ..] if rest.len() < 2 => {
                Ok(Wire { from: self.end(from)?, to: self.end(to)?, kind: kind(rest) })
            }
            rest if rest.len() < 2 => Ok(Wire { from: None, to: None, kind: kind(rest) }),
            _ => Err("a way is: n1 -> n2 Kind".to_owned()),
        }
    }

    fn handle_held(&mut self, verb: &str, wire: Wire) -> Result<(), String> {
        if verb == "hold" {
            self.wires.push(wire);
            return Ok(());
        }
        if verb == "way" {
            self.lines.extend(self.held.iter().map(|held| held.text.clone()));
            return Ok(());
        }
        if verb == "free" {
            self.wires.clear();
            for held in take(&mut self.held) {
                self.deliver(&held);
            }
            return Ok(());
        }
        let mut meant: Vec<Held> = self.take_held(&wire);
        if meant.is_empty() {
            return Err("no such message is held".to_owned());
        }
        if verb == "newest" {
            meant.reverse();
        }
        for held in &meant {
            if verb == "drop" { self.lines.push(format!("x {}", held.text)) } else { self.deliver(held) }
        }
        if verb == "twice" {
            self.held.extend(meant);
        }
        Ok(())
    }

    fn cut(&mut self, cut: bool, ends: &[&str]) -> Result<(), String> {
        let nodes = self.names.nodes();
        let mut ways = Vec::new();
        match ends {
            [a, "->", b] => ways.push((self.node(a)?, self.node(b)?)),
            [a] => {
                let a = self.node(a)?;
                ways.extend(nodes.iter().filter(|b| **b != a).flat_map(|b| [(a, *b), (*b, a)]));
            }
            sides if sides.contains(&"|") => {
                let mut sides = sides.split(|word| *word == "|");
                let (left, right) = (sides.next().unwrap_or(&[]), sides.next().unwrap_or(&[]));
                for a in left {
                    for b in right {
                        let (a, b) = (self.node(a)?, self.node(b)?);
                        ways.extend([(a, b), (b, a)]);
                    }
                }
            }
            [] if !cut => {
                ways.extend(nodes.iter().flat_map(|a| nodes.iter().map(|b| (*a, *b))));
            }
            _ => return Err("what is cut: n1, or n1 -> n2, or n1 n2 | n3".to_owned()),
        }
        for (from, to) in ways {
            if cut != self.world.network.is_cut(from, to) {
                self.world.network.cut(from, to, cut);
            }
        }
        Ok(())
    }

    fn handle_disks(&mut self, verb: &str, nodes: &[&str]) -> Result<(), String> {
        for node in nodes {
            let n = self.node(node)?;
            match verb {
                "slow" => {
                    self.slow_disks.insert(n);
                }
                "fast" => {
                    self.slow_disks.remove(&n);
                    self.end_turns(n, |_| true);
                }
                _ => {
                    let meant = if verb == "sync" { Turn::Commit } else { Turn::Tables };
                    if !self.end_turns(n, |turn| turn == meant) {
                        return Err(format!("the disk of {node} has nothing of that to end"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends a disk's turns of a kind; whether there was one.
    fn end_turns(&mut self, n: usize, meant: impl Fn(Turn) -> bool) -> bool {
        let turns = self.take_turns(n, meant);
        let some = !turns.is_empty();
        for (node, boot, turn) in turns {
            self.let_happen(Job::Disk { node, boot, turn });
        }
        some
    }

    fn take_turns(&mut self, n: usize, meant: impl Fn(Turn) -> bool) -> Vec<(usize, u32, Turn)> {
        let turns = take(&mut self.turns).into_iter();
        let (meant, others) = turns.partition(|(node, _, turn)| *node == n && meant(*turn));
        self.turns = others;
        meant
    }

    fn handle_process(&mut self, verb: &str, n: usize, named: &[&str]) -> Result<(), String> {
        match verb {
            "crash" => {
                let stays = match named {
                    [] => Stays::Nothing,
                    ["keep=all"] => Stays::All,
                    _ => return Err("a crash keeps nothing, or keep=all".to_owned()),
                };
                self.world.kill_leaving(n, stays);
                self.copies[n].crash();
                (0..KEYS_MAX).for_each(|slot| self.copies[n].remember(slot));
                self.take_turns(n, |_| true);
            }
            "start" => self.world.start_after(n, 0),
            "pause" => self.world.nodes[n].paused = true,
            _ => self.world.undo(Undo::Pause(n)),
        }
        Ok(())
    }

    fn panic(&mut self, actor: &str, rest: &[&str]) -> Result<(), String> {
        let (node, role) = actor.split_once('.').ok_or("which actor of it?")?;
        let n = self.node(node)?;
        let place = match (role, rest) {
            ("membership", []) => MEMBERSHIP,
            ("coordinator", []) => COORDINATOR,
            ("replica", [text]) => Stage::shard_actor(self.locate(None, &key(text)?)?.partition.0),
            _ => return Err("an actor: n1.membership, n1.coordinator, n1.replica KEY".to_owned()),
        };
        let cells = &mut self.world.nodes[n].cells;
        cells.get_mut(place).ok_or("the node is down")?.panics = true;
        Ok(())
    }

    fn tell_where(&mut self, text: &str) -> Result<(), String> {
        let found = self.locate(None, &key(text)?)?;
        let mut replicas: Vec<String> = found.replicas.iter().map(|n| self.names.node(*n)).collect();
        replicas.sort();
        self.lines.push(format!("{text} is at {}", replicas.join(" ")));
        Ok(())
    }

    /// What the replicas of a key hold; what is in memory only stands apart.
    fn show(&mut self, text: &str, named: &[&str]) -> Result<(), String> {
        let key = key(text)?;
        let keyspace = named.iter().find_map(|word| word.strip_prefix("keyspace="));
        let found = self.locate(keyspace, &key)?;
        let slot = self.slot(StoreKey::of(&self.world.truth.record, found.id, &key).as_bytes());
        for n in self.names.nodes().into_iter().filter(|n| found.replicas.contains(n)) {
            let (durable, memory) =
                (self.copies[n].durable(slot).clone(), self.copies[n].memory(slot).clone());
            let state = self.names.state(&durable);
            let unsynced =
                |names: &mut super::Names, memory: &KeyState| format!(", in memory {}", names.state(memory));
            let more = match self.world.nodes[n].up {
                false => ", down".to_owned(),
                true if memory != durable => unsynced(&mut self.names, &memory),
                true => String::new(),
            };
            let node = self.names.node(n);
            self.lines.push(format!("{node} {state}{more}"));
        }
        Ok(())
    }

    fn tell_beliefs(&mut self) {
        for n in self.names.nodes().into_iter().filter(|n| self.world.nodes[*n].up) {
            let Some(peers) = self.beliefs.get(&n) else { continue };
            let mut words: Vec<String> = peers
                .iter()
                .map(|(id, peer)| format!("{} {} {}", self.names.id(id), peer.state.name(), peer.incarnation))
                .collect();
            words.sort();
            self.lines.push(format!("{}: {}", self.names.node(n), words.join(", ")));
        }
    }
}
