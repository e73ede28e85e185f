//! What a network counts: bytes and messages by kind of traffic and direction. The node turns them into metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// Gossip in datagrams.
    Datagram,
    /// Control lanes.
    Control,
    /// Data lanes.
    Data,
    /// Large messages between nodes.
    Bulk,
    /// Clients and operators.
    Session,
}

impl Traffic {
    /// Every kind.
    pub const ALL: [Traffic; 5] =
        [Traffic::Datagram, Traffic::Control, Traffic::Data, Traffic::Bulk, Traffic::Session];

    /// The name, as metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Traffic::Datagram => "datagram",
            Traffic::Control => "control",
            Traffic::Data => "data",
            Traffic::Bulk => "bulk",
            Traffic::Session => "session",
        }
    }
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// To this node.
    Received,
    /// From this node.
    Sent,
}

impl Direction {
    /// Both.
    pub const ALL: [Direction; 2] = [Direction::Received, Direction::Sent];

    /// The name, as metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Received => "received",
            Direction::Sent => "sent",
        }
    }
}

/// The counters of one network. All only grow.
#[derive(Debug, Default)]
pub struct Stats {
    cells: [[Cell; 2]; 5],
    dropped: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Cell {
    bytes: AtomicU64,
    messages: AtomicU64,
}

impl Stats {
    fn cell(&self, traffic: Traffic, direction: Direction) -> &Cell {
        let [datagram, control, data, bulk, session] = &self.cells;
        let [received, sent] = match traffic {
            Traffic::Datagram => datagram,
            Traffic::Control => control,
            Traffic::Data => data,
            Traffic::Bulk => bulk,
            Traffic::Session => session,
        };
        match direction {
            Direction::Received => received,
            Direction::Sent => sent,
        }
    }

    /// Bytes of frames.
    pub fn bytes(&self, traffic: Traffic, direction: Direction) -> u64 {
        self.cell(traffic, direction).bytes.load(Ordering::Relaxed)
    }

    /// Messages.
    pub fn messages(&self, traffic: Traffic, direction: Direction) -> u64 {
        self.cell(traffic, direction).messages.load(Ordering::Relaxed)
    }

    /// Messages dropped: answers and gossip that could not be sent in time, and datagrams that made no sense.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Requests refused to their senders by this network: busy, not sent or not allowed.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, traffic: Traffic, direction: Direction, messages: usize, bytes: usize) {
        let cell = self.cell(traffic, direction);
        cell.messages.fetch_add(messages as u64, Ordering::Relaxed);
        cell.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_dropped(&self, messages: usize) {
        self.dropped.fetch_add(messages as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self, messages: usize) {
        self.refused.fetch_add(messages as u64, Ordering::Relaxed);
    }
}
