//! Actors as plain machines, stepped by hand.

use crate::cast::Cast;
use crate::stage::{Entry, Place, Said, Stage, take_before};
use anser_host::{Factory, HostConfig};
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct Bare {
    now: u64,
    actors: BTreeMap<Place, Cast>,
    said: Vec<Said>,
}

impl Bare {
    /// Lets all actors do what is due.
    fn settle(&mut self) {
        for (place, actor) in &mut self.actors {
            actor.go_on(self.now);
            let (ms, place) = (self.now, *place);
            self.said.extend(actor.said.drain(..).map(|call| Said { ms, place, call }));
        }
    }
}

impl Stage for Bare {
    fn start(&mut self, place: Place, config: HostConfig, factory: Factory) {
        self.actors.insert(place, Cast::new(config, factory, self.now));
    }

    fn crash(&mut self, node: usize) {
        self.actors.retain(|place, _| place.0 != node);
    }

    fn hand(&mut self, place: Place, entry: Entry) {
        self.actors.get_mut(&place).unwrap().hand(entry);
    }

    async fn wait(&mut self, until: u64) -> u64 {
        self.settle();
        loop {
            let due = self.actors.values().filter_map(Cast::due).min();
            let heard = self.said.iter().map(|said| said.ms + 1).min();
            let next = [Some(until), due, heard].into_iter().flatten().min().unwrap();
            self.now = next.max(self.now);
            self.settle();
            if self.now == until || heard.is_some_and(|heard| heard <= self.now) {
                return self.now;
            }
        }
    }

    fn take(&mut self, before: u64) -> Vec<Said> {
        take_before(&mut self.said, before)
    }

    fn restarts(&self, place: Place) -> u64 {
        self.actors[&place].restarts
    }
}
