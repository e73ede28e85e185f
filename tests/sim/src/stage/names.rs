//! Short names that stay the same from run to run: nodes, Lives, requests, tokens; and key states written with them.
//!
//! A version is `c1.1@n1a:1 "bread"`: the first request of client 1, with the dot 1 of the first Life of node 1 that was
//! seen. Beside the versions of a state stands only what they do not say themselves.

use crate::world::World;
use anser_model::{Body as Value, Context, Dot, KeyState, Life, NodeId, Rid};
use std::collections::BTreeMap;

/// Longest value that is written out.
const VALUE_SHOWN_MAX: usize = 24;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The nodes' places in the world, in the order of their names: by data centre, then by identity.
    order: Vec<usize>,
    ids: Vec<NodeId>,
    lives: BTreeMap<usize, Vec<Life>>,
    requests: BTreeMap<Rid, String>,
    hashes: BTreeMap<u64, String>,
    tokens: Vec<String>,
    digests: BTreeMap<u64, String>,
}

impl Names {
    /// The names of a world's nodes.
    pub fn of(world: &World) -> Names {
        let mut order: Vec<usize> = (0..world.nodes.len()).collect();
        order.sort_by_key(|n| (world.nodes[*n].entry.dc.clone(), *n));
        let ids = world.nodes.iter().map(|node| node.id()).collect();
        let digests = [(KeyState::default().digest(), "nothing".to_owned())].into();
        Names { order, ids, digests, ..Names::default() }
    }

    /// All nodes' places, in the order of their names.
    pub fn nodes(&self) -> Vec<usize> {
        self.order.clone()
    }

    /// The name of the node at a place.
    pub fn node(&self, n: usize) -> String {
        let number = self.order.iter().position(|place| *place == n);
        number.map_or_else(|| "n?".into(), |number| format!("n{}", number + 1))
    }

    /// The place of the node with a name.
    pub fn place(&self, name: &str) -> Option<usize> {
        let number: usize = name.strip_prefix('n')?.parse().ok()?;
        self.order.get(number.checked_sub(1)?).copied()
    }

    /// The place of a node.
    pub fn place_of(&self, id: &NodeId) -> Option<usize> {
        self.ids.iter().position(|known| known == id)
    }

    /// The name of a node.
    pub fn id(&self, id: &NodeId) -> String {
        self.place_of(id).map_or_else(|| "n?".into(), |n| self.node(n))
    }

    /// Gives a request its name.
    pub fn christen(&mut self, rid: Rid, name: String) {
        self.hashes.insert(rid.hash64(), name.clone());
        self.requests.insert(rid, name);
    }

    /// A request's name.
    pub fn request(&self, rid: &Rid) -> String {
        self.requests.get(rid).cloned().unwrap_or_else(|| "?".into())
    }

    /// A token's name, by when it was seen first.
    pub fn token(&mut self, text: &str) -> String {
        let known = self.tokens.iter().position(|token| token == text);
        let number = known.unwrap_or_else(|| {
            self.tokens.push(text.to_owned());
            self.tokens.len() - 1
        });
        format!("T{}", number + 1)
    }

    /// The token with a name.
    pub fn token_named(&self, name: &str) -> Option<&str> {
        let number: usize = name.strip_prefix('T')?.parse().ok()?;
        self.tokens.get(number.checked_sub(1)?).map(String::as_str)
    }

    /// Which state a digest is of, by its dots.
    pub fn digest(&self, digest: u64) -> String {
        self.digests.get(&digest).cloned().unwrap_or_else(|| "?".into())
    }

    fn actor(&mut self, id: &NodeId, life: Life) -> String {
        let place = self.place_of(id).unwrap_or(usize::MAX);
        let lives = self.lives.entry(place).or_default();
        let number = lives.iter().position(|known| *known == life).unwrap_or_else(|| {
            lives.push(life);
            lives.len() - 1
        });
        let letter = char::from(b'a' + u8::try_from(number % 26).unwrap_or(0));
        format!("{}{letter}", self.id(id))
    }

    fn dot(&mut self, dot: &Dot) -> String {
        format!("{}:{}", self.actor(&dot.actor.node, dot.actor.life), dot.counter)
    }

    /// A key's state; of one that can't be read, that.
    pub fn encoded(&mut self, state: &[u8]) -> String {
        KeyState::decode(state).map_or_else(|_| "{unreadable}".into(), |state| self.state(&state))
    }

    /// A key's state.
    pub fn state(&mut self, state: &KeyState) -> String {
        let mut said = Context::default();
        let (mut versions, mut all_dots) = (Vec::new(), Vec::new());
        for (rid, version) in state.live() {
            let dots: Vec<String> = version.dots.iter().map(|dot| self.dot(dot)).collect();
            version.dots.iter().for_each(|dot| said.insert(dot));
            versions.push(format!("{}@{} {}", self.request(rid), dots.join("+"), value(&version.body)));
            all_dots.extend(dots);
        }
        let dots = if all_dots.is_empty() { "nothing".to_owned() } else { all_dots.join(" ") };
        self.digests.insert(state.digest(), dots);
        let seen = state.context().entries().iter().filter(|(actor, counter)| said.get(actor) != *counter);
        let seen: Vec<_> = seen.map(|(actor, counter)| Dot { actor: *actor, counter: *counter }).collect();
        let seen: Vec<String> = seen.iter().map(|dot| self.dot(dot)).collect();
        let mut settled: Vec<String> = state
            .settled()
            .iter()
            .map(|(hash, _)| self.hashes.get(hash).cloned().unwrap_or_else(|| "?".into()))
            .collect();
        settled.sort();
        let mut parts = vec![versions.join(" | ")];
        if !seen.is_empty() {
            parts.push(format!("seen {}", seen.join(" ")));
        }
        if !settled.is_empty() {
            parts.push(format!("settled {}", settled.join(" ")));
        }
        parts.retain(|part| !part.is_empty());
        format!("{{{}}}", parts.join("; "))
    }
}

/// What a write wrote.
pub(super) fn value(body: &Value) -> String {
    match body {
        Value::Tombstone => "deleted".into(),
        Value::Value(bytes) => text(bytes),
    }
}

/// A value's bytes.
pub(super) fn text(bytes: &[u8]) -> String {
    if bytes.len() > VALUE_SHOWN_MAX {
        format!("<{} bytes>", bytes.len())
    } else {
        format!("{:?}", String::from_utf8_lossy(bytes))
    }
}
