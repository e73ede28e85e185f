//! An ordered walk through a partition, page by page.
//!
//! Keeps: a page shows what the partition held at one moment, the one at which it was given: blocks of tables never change,
//! and everything else is looked at in one step. The next page is of a later moment. Between two pages a scan knows where the
//! last one ended, and holds blocks for the next: once a page's own blocks are here it asks for those behind them, so that the
//! disk reads on while the page is gathered and shown. Deliberately absent: anything that must be kept from page to page. A
//! new scan that begins behind a key shows the same.

use super::gather::gather;
use super::run::{Held, Missing, RUN_BLOCKS_MAX, Run, runs};
use super::walk::{Source, Stop, Walk, walks};
use super::{Engine, Waiting};
use crate::store_key::{StoreKey, group_of_key};
use crate::table::BLOCK_BYTES;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use anser_machine::{FETCH_BYTES_MAX, Headed, Lsn, TableId};
use anser_model::PartitionId;
use bytes::Bytes;
use core::ops::Range;

/// Blocks that are asked for beyond what a page should take of a table: it begins and ends within one.
const SPARE_BLOCKS: usize = 2;
/// What is in a block as a rule: it ends before the entry that it has no room for.
const FILLED_BYTES: usize = BLOCK_BYTES / 4 * 3;
/// A scan that holds blocks of more than so many pages does not read ahead: those of large states are large.
const HELD_PAGES_MAX: usize = 3;
/// Times that what is asked for at least is doubled.
const DOUBLINGS_MAX: u32 = 6;

/// A walk through a partition.
#[derive(Debug)]
pub struct Scan {
    /// The first key bytes to be shown.
    pub(super) from: Bytes,
    /// The first ones that are past the partition; none for the last one.
    pub(super) to: Option<Bytes>,
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
    pub(super) held: Held,
    /// Blocks that were asked for and have not come.
    asked: BTreeSet<(TableId, u32)>,
    /// Those of them that the present page should need.
    pub(super) needs: BTreeSet<(TableId, u32)>,
    /// How often the present page has asked for what it needs.
    rounds: u32,
    /// Whether it has asked for what the next one should need.
    has_read_ahead: bool,
}

/// A part of a partition, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and their whole encoded states. All keys of a page are parts of one allocation.
    pub entries: Vec<(StoreKey, Bytes)>,
    /// What it shows survives a power cut once the log is synced through here; none if it does already.
    pub lsn: Option<Lsn>,
    /// Whether the partition has more keys behind the last one.
    pub more: bool,
}

/// How a scan stands.
#[derive(Debug)]
pub enum Scanned {
    /// The next page. The scan stands behind it.
    Page(Page),
    /// These runs of blocks are to be fetched, [`Scan::hold`] each. Once it is ready, [`Engine::scan`] again: it may be at once.
    Fetch(Vec<Run>),
    /// A block that is not what a table's block can be: the copy is damaged.
    Damaged {
        /// The table.
        table: TableId,
        /// Its block.
        block: u32,
    },
}

impl Scan {
    /// Through a partition from behind a key. A page ends with so many entries or bytes, and has at least one entry if there is
    /// any.
    pub fn new(
        partition: PartitionId,
        after: Option<&StoreKey>,
        entries_max: usize,
        bytes_max: usize,
    ) -> Scan {
        let prefix = |partition: u16| Bytes::copy_from_slice(&partition.to_be_bytes());
        Scan {
            from: after.map_or_else(|| prefix(partition.0), behind),
            to: partition.0.checked_add(1).map(prefix),
            entries_max: entries_max.max(1),
            bytes_max,
            held: Held::default(),
            asked: BTreeSet::new(),
            needs: BTreeSet::new(),
            rounds: 0,
            has_read_ahead: false,
        }
    }

    /// Whether its next page begins behind this key.
    pub fn is_behind(&self, key: &StoreKey) -> bool {
        self.from.strip_suffix(&[0]).is_some_and(|from| from == key.as_bytes())
    }

    /// Takes what a run came to: all of it, its first blocks, or, if its table is gone, nothing.
    pub fn hold(&mut self, run: &Run, contents: Vec<Bytes>) {
        for place in run.places() {
            self.asked.remove(&place);
            self.needs.remove(&place);
        }
        self.held.hold(run, contents);
    }

    /// Whether no block is to come that its page needs.
    pub fn is_ready(&self) -> bool {
        self.needs.is_empty()
    }

    pub(super) fn is_past(&self, key: &[u8]) -> bool {
        self.to.as_ref().is_some_and(|to| key >= to.as_ref())
    }

    /// What to ask for, to have these blocks: nothing that was asked for.
    fn ask(&mut self, wanted: Vec<Missing>) -> Vec<Run> {
        let mut runs =
            runs(wanted.into_iter().filter(|(table, _, block)| self.asked.insert((*table, *block))));
        match (runs.pop(), runs.is_empty()) {
            (Some(only), true) => only.halves().collect(),
            (last, _) => runs.into_iter().chain(last).collect(),
        }
    }

    /// Whether what it holds leaves room for another page.
    fn may_read_ahead(&self) -> bool {
        self.held.bytes() < self.bytes_max.min(FETCH_BYTES_MAX).saturating_mul(HELD_PAGES_MAX)
    }

    /// Stands behind a page, and keeps what the next one may need.
    fn turn(&mut self, last: &StoreKey, useful: &BTreeSet<(TableId, u32)>) {
        self.from = behind(last);
        (self.rounds, self.has_read_ahead) = (0, false);
        self.held.retain(useful);
    }
}

/// The next key in order has one more byte.
fn behind(key: &StoreKey) -> Bytes {
    [key.as_bytes().as_ref(), &[0]].concat().into()
}

impl Engine {
    /// Gathers the next page as of now, as far as its blocks are here.
    pub fn scan(&mut self, scan: &mut Scan) -> Scanned {
        if !scan.is_ready() {
            return Scanned::Fetch(Vec::new());
        }
        let mut sources = self.sources(scan);
        if scan.rounds == 0 {
            let runs = self.needed(&sources, 0, scan);
            if !runs.is_empty() || !scan.is_ready() {
                return Scanned::Fetch(runs);
            }
        }
        if !core::mem::replace(&mut scan.has_read_ahead, true) && scan.may_read_ahead() {
            let runs = self.ahead(&sources, scan);
            if !runs.is_empty() {
                return Scanned::Fetch(runs);
            }
        }
        match gather(&mut sources, scan, &self.cache) {
            Ok(page) => {
                if let Some((last, _)) = page.entries.last().filter(|_| page.more) {
                    let useful = walks(&sources).flat_map(Walk::next_blocks).collect();
                    scan.turn(last, &useful);
                }
                Scanned::Page(page)
            }
            Err(Stop::Missing { bytes }) => Scanned::Fetch(self.needed(&sources, bytes, scan)),
            Err(Stop::Bad(table, block)) => Scanned::Damaged { table, block },
        }
    }

    /// What a scan looks at, the newest first: of equal keys the first source has the newest state.
    fn sources(&self, scan: &Scan) -> Vec<Source<'_>> {
        let start = Headed::from(scan.from.clone());
        let mut sources: Vec<Source<'_>> = Vec::new();
        sources.push(Source::Memory(self.active.range(&start).peekable()));
        let group = group_of_key(&scan.from);
        let counts = |waiting: &&Waiting| group.is_none_or(|group| !waiting.void.contains(&group));
        for waiting in self.waiting.iter().rev().filter(counts) {
            sources.push(Source::Memory(waiting.frozen.entries.range(start.clone()..).peekable()));
        }
        let walks = self.tables.of(&scan.from).iter().filter_map(|open| Walk::new(open, scan));
        sources.extend(walks.map(Source::Table));
        sources
    }

    /// The runs that a page of so many bytes so far goes on with: of each table its share of what is left of the page. Where
    /// that was too little, more and more.
    fn needed(&self, sources: &[Source<'_>], bytes: usize, scan: &mut Scan) -> Vec<Run> {
        let least = SPARE_BLOCKS << scan.rounds.min(DOUBLINGS_MAX);
        scan.rounds += 1;
        let share = shares(sources, bytes, scan);
        let next = |walk: &Walk<'_>| 0..share(walk).max(least).min(RUN_BLOCKS_MAX);
        let missing = self.missing(sources, scan, next);
        scan.needs.extend(missing.iter().map(|(table, _, block)| (*table, *block)));
        scan.ask(missing)
    }

    /// The runs behind those of a page, as many.
    fn ahead(&self, sources: &[Source<'_>], scan: &mut Scan) -> Vec<Run> {
        let share = shares(sources, 0, scan);
        let missing = self.missing(sources, scan, |walk| share(walk)..2 * share(walk));
        scan.ask(missing)
    }

    /// Those of these blocks of each table, counted from where a scan stands in it, that are not here.
    fn missing(
        &self,
        sources: &[Source<'_>],
        scan: &Scan,
        blocks: impl Fn(&Walk<'_>) -> Range<usize>,
    ) -> Vec<Missing> {
        walks(sources).flat_map(|walk| walk.missing(blocks(walk), scan, &self.cache)).collect()
    }
}

/// How many blocks of each table a page of so many bytes so far should take: a share by those that it has left.
fn shares(sources: &[Source<'_>], bytes: usize, scan: &Scan) -> impl Fn(&Walk<'_>) -> usize + use<> {
    let left = walks(sources).map(Walk::left).sum::<usize>().max(1);
    let block_bytes = scan.held.average().unwrap_or_default().max(FILLED_BYTES);
    let wanted = scan.bytes_max.saturating_sub(bytes).min(FETCH_BYTES_MAX).div_ceil(block_bytes);
    move |walk| ((wanted * walk.left()).div_ceil(left) + SPARE_BLOCKS).min(RUN_BLOCKS_MAX)
}
