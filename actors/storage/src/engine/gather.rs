//! Filling a page: a merge of all sources, of which the newest state of each key counts.

use super::scan::{Page, Scan};
use super::walk::{Source, Stop};
use crate::cache::Cache;
use crate::store_key::StoreKey;
use crate::table::block::StateIn;
use alloc::vec::Vec;
use anser_machine::Lsn;
use bytes::Bytes;
use core::cmp::Ordering;

/// What was gathered: all keys one behind the other, where each ends, and its state.
#[derive(Default)]
struct Gathered {
    keys: Vec<u8>,
    entries: Vec<(usize, Bytes)>,
    bytes: usize,
}

impl Gathered {
    fn push(&mut self, key: &[u8], state: Bytes) {
        self.bytes += key.len() + state.len();
        self.keys.extend_from_slice(key);
        self.entries.push((self.keys.len(), state));
    }

    fn last_key(&self) -> &[u8] {
        let before = self.entries.len().checked_sub(2).and_then(|place| self.entries.get(place));
        self.keys.get(before.map_or(0, |(end, _)| *end)..).unwrap_or_default()
    }

    fn into_entries(self) -> Vec<(StoreKey, Bytes)> {
        let keys = Bytes::from(self.keys);
        let mut start = 0;
        let entry = |(end, state): (usize, Bytes)| {
            let key = keys.slice(core::mem::replace(&mut start, end)..end);
            // What is no store key was never written.
            Some((StoreKey::parse(key)?, state))
        };
        self.entries.into_iter().filter_map(entry).collect()
    }
}

/// The smallest key that sources stand at, the newest of them first.
struct Smallest<'a> {
    source: usize,
    key: &'a [u8],
    state: StateIn<'a>,
    lsn: Option<Lsn>,
    /// Whether another source stands at it too.
    is_shared: bool,
}

fn smallest<'a>(sources: &'a mut [Source<'_>]) -> Option<Smallest<'a>> {
    let mut smallest: Option<Smallest<'a>> = None;
    for (source, entry) in sources.iter_mut().map(Source::peek).enumerate() {
        let Some((key, state, lsn)) = entry else { continue };
        match smallest.as_mut().map(|smallest| (key.cmp(smallest.key), smallest)) {
            Some((Ordering::Greater, _)) => {}
            Some((Ordering::Equal, smallest)) => smallest.is_shared = true,
            Some((Ordering::Less, _)) | None => {
                smallest = Some(Smallest { source, key, state, lsn, is_shared: false });
            }
        }
    }
    smallest
}

/// Fills a page.
pub(super) fn gather(sources: &mut [Source<'_>], scan: &Scan, cache: &Cache) -> Result<Page, Stop> {
    for source in &mut *sources {
        if let Source::Table(walk) = source {
            walk.settle(scan, cache)?;
        }
    }
    let (mut page, mut gathered) = (Page::default(), Gathered::default());
    while let Some(next) = smallest(sources).filter(|next| !scan.is_past(next.key)) {
        let is_full = gathered.entries.len() >= scan.entries_max || gathered.bytes >= scan.bytes_max;
        if is_full && !gathered.entries.is_empty() {
            page.more = true;
            break;
        }
        gathered.push(next.key, next.state.share());
        page.lsn = page.lsn.max(next.lsn);
        let (source, is_shared) = (next.source, next.is_shared);
        // The older ones have it no further down.
        for (place, other) in sources.iter_mut().enumerate().skip(source) {
            let has_it = |other: &mut Source<'_>| {
                is_shared && other.peek().is_some_and(|(key, ..)| key == gathered.last_key())
            };
            if place == source || has_it(other) {
                other.advance(scan, cache).map_err(|stop| stop.after(gathered.bytes))?;
            }
        }
    }
    page.entries = gathered.into_entries();
    Ok(page)
}
