//! The network between nodes and clients: delays with a long tail, distances, loss, doubles, and cuts, each way on its own.

use crate::dice::Dice;
use crate::schedule::MS;
use anser_proto::Class;

/// Microseconds that a message takes in a steady network.
const STEADY_US: u64 = 100;

/// What becomes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It arrives after so many microseconds; perhaps again.
    Arrives { us: u64, again_us: Option<u64>, late: bool },
    /// It never arrives.
    Lost,
}

/// The way of every pair of ends.
#[derive(Debug)]
pub(crate) struct Network {
    dice: Dice,
    /// The data centre of each end.
    dcs: Vec<usize>,
    /// Microseconds between two data centres, one way.
    distance_us: u64,
    /// How many cuts lie on each way.
    cuts: Vec<Vec<u32>>,
    /// In a million.
    pub loss: u64,
    pub late: u64,
    /// In a million: requests that can't be sent, of which their sender is told.
    pub not_sent: u64,
    /// Whether every message takes the same time.
    pub steady: bool,
}

impl Network {
    /// A whole one between ends in these data centres.
    pub fn new(mut dice: Dice, dcs: Vec<usize>, loss: u64, late: u64) -> Network {
        let distance_us = dice.between(5, 60) * MS;
        let cuts = vec![vec![0; dcs.len()]; dcs.len()];
        Network { dice, dcs, distance_us, cuts, loss, late, not_sent: 500_000, steady: false }
    }

    /// Cuts a way, or takes one cut away.
    pub fn cut(&mut self, from: usize, to: usize, cut: bool) {
        let cuts = &mut self.cuts[from][to];
        *cuts = if cut { *cuts + 1 } else { cuts.saturating_sub(1) };
    }

    /// Whether nothing passes.
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts[from][to] > 0
    }

    /// Whether two ends are in one data centre.
    pub fn are_near(&self, a: usize, b: usize) -> bool {
        self.dcs[a] == self.dcs[b]
    }

    /// Decides on a message. Streams lose nothing unless their connection ends; they double nothing, but an answer may be
    /// given twice, and so may a question that does not mint (`doubles`).
    pub fn pass(&mut self, from: usize, to: usize, class: Class, doubles: bool) -> Passage {
        let loss = match class {
            Class::Datagram => self.loss,
            Class::Control | Class::Data => self.loss / 8,
        };
        if self.is_cut(from, to) || self.dice.chance(loss) {
            return Passage::Lost;
        }
        let late = self.dice.chance(self.late);
        let us = self.delay_us(from, to, late);
        let again = doubles && self.dice.chance(self.loss / 4);
        let again_us = again.then(|| us + self.dice.wait(20 * MS));
        Passage::Arrives { us, again_us, late }
    }

    fn delay_us(&mut self, from: usize, to: usize, late: bool) -> u64 {
        if self.steady {
            return STEADY_US;
        }
        let far = if self.are_near(from, to) { 0 } else { self.distance_us };
        let tail = if late { self.dice.wait(60 * MS).min(1500 * MS) } else { 0 };
        far + 40 + self.dice.wait(120) + tail
    }
}
