//! Showing a partition to a copy of it that is being refilled, page by page.
//!
//! Keeps: only a copy that answers reads shows pages, and a page leaves once all that it shows is durable here.

use crate::admit::admit_page;
use crate::holdings::Holdings;
use crate::operation::Asker;
use crate::replica::Replica;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use anser_machine::{Now, Outbox, TableId, Ticket};
use anser_model::{PartitionId, Round};
use anser_proto::Refusal;
use anser_proto::replicate::{PageEntry, PagePlace, ReplicaReply};
use anser_storage::{Page, Run, Scan, Scanned, StoreKey};
use bytes::Bytes;

/// Most pages that are gathered at once.
const GATHERS_MAX: usize = 8;
/// A page ends with so many keys, or the configured bytes.
const PAGE_ENTRIES_MAX: usize = 1024;

/// A request for a page.
#[derive(Debug)]
pub(crate) struct PageRequest {
    pub asker: Asker,
    pub partition: PartitionId,
    pub round: Round,
    pub after: Option<PagePlace>,
}

/// A page that waits for blocks.
#[derive(Debug)]
struct Gather {
    request: PageRequest,
    scan: Scan,
    /// How many runs of blocks are to come.
    missing: usize,
    /// Whether a table is gone that it looked at: it begins anew.
    stale: bool,
}

/// All pages that wait for blocks.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    gathers: BTreeMap<u64, Gather>,
    tickets: BTreeMap<Ticket, (u64, Run)>,
    next: u64,
}

impl PageRequest {
    fn scan(&self, holdings: &Holdings, bytes_max: usize) -> Scan {
        let store_key = |place: &PagePlace| {
            let (_, within) = holdings.place_of(place.keyspace, &place.key);
            StoreKey::new(self.partition, place.keyspace, within, &place.key)
        };
        let after = self.after.as_ref().map(store_key);
        Scan::new(self.partition, after.as_ref(), PAGE_ENTRIES_MAX, bytes_max)
    }
}

impl Pages {
    /// The table that a fetch was of, if it was for a page.
    pub fn table_of(&self, ticket: Ticket) -> Option<TableId> {
        self.tickets.get(&ticket).map(|(_, run)| run.table())
    }

    /// A run of blocks came, or (none) will not. The page that can go on.
    fn answered(&mut self, ticket: Ticket, contents: Option<Vec<Bytes>>) -> Option<Gather> {
        let (number, run) = self.tickets.remove(&ticket)?;
        let gather = self.gathers.get_mut(&number)?;
        match contents {
            Some(contents) => gather.scan.hold(&run, contents),
            None => gather.stale = true,
        }
        gather.missing = gather.missing.saturating_sub(1);
        if gather.missing == 0 { self.gathers.remove(&number) } else { None }
    }

    /// Nothing is fetched any more: who waited.
    pub fn abandon(&mut self) -> impl Iterator<Item = Asker> + use<> {
        self.tickets.clear();
        core::mem::take(&mut self.gathers).into_values().map(|gather| gather.request.asker)
    }
}

fn reply(page: Page) -> ReplicaReply {
    let entry = |(key, state): (StoreKey, Bytes)| {
        let (_, keyspace, key) = key.parts()?;
        Some(PageEntry { place: PagePlace { keyspace, key }, state })
    };
    ReplicaReply::Page { entries: page.entries.into_iter().filter_map(entry).collect(), more: page.more }
}

impl Replica {
    /// Gathers a page, if this copy may show it.
    pub(crate) fn on_read_page(&mut self, now: Now, request: PageRequest, out: &mut Outbox) {
        if self.pages.gathers.len() >= GATHERS_MAX {
            request.asker.refuse(Refusal::Busy, self.step(), out);
            return;
        }
        // Without a ring nothing is shown.
        let Some(holdings) = &self.holdings else {
            request.asker.refuse(Refusal::NotServing, self.step(), out);
            return;
        };
        let scan = request.scan(holdings, self.config.limits.page_bytes);
        self.gather(now, Gather { request, scan, missing: 0, stale: false }, out);
    }

    fn gather(&mut self, now: Now, mut gather: Gather, out: &mut Outbox) {
        let asker = gather.request.asker;
        if asker.is_gone(now) {
            return;
        }
        if let Err(refusal) = self.may_show(&gather.request) {
            asker.refuse(refusal, self.step(), out);
            return;
        }
        if let Some(holdings) = &self.holdings
            && core::mem::take(&mut gather.stale)
        {
            gather.scan = gather.request.scan(holdings, self.config.limits.page_bytes);
        }
        match self.engine.scan(&mut gather.scan) {
            Scanned::Page(page) => self.show(&asker, page, out),
            Scanned::Fetch(runs) => self.fetch_for(gather, runs, out),
            Scanned::Damaged { table, .. } => {
                self.on_damaged_table(table, out);
                asker.refuse(Refusal::NotServing, self.step(), out);
            }
        }
    }

    fn show(&mut self, asker: &Asker, page: Page, out: &mut Outbox) {
        let lsn = page.lsn;
        let reply = reply(page);
        if lsn <= self.durable || self.budget.has_room(reply.payload_bytes()) {
            self.reply_when_durable(asker, reply, lsn, out);
        } else {
            asker.refuse(Refusal::Busy, self.step(), out);
        }
    }

    fn fetch_for(&mut self, mut gather: Gather, runs: Vec<Run>, out: &mut Outbox) {
        let number = self.pages.next;
        self.pages.next += 1;
        gather.missing = runs.len();
        for run in runs {
            let ticket = self.fetches.next_ticket();
            out.disk(run.request(ticket));
            self.pages.tickets.insert(ticket, (number, run));
        }
        self.pages.gathers.insert(number, gather);
    }

    /// A run of blocks that a page waits for came, or (none) its table is gone.
    pub(crate) fn on_page_blocks(
        &mut self,
        now: Now,
        ticket: Ticket,
        contents: Option<Vec<Bytes>>,
        out: &mut Outbox,
    ) {
        if let Some(gather) = self.pages.answered(ticket, contents) {
            self.gather(now, gather, out);
        }
    }

    fn may_show(&self, request: &PageRequest) -> Result<(), Refusal> {
        let holdings = self.serving_holdings()?;
        if !self.copies.serves(request.partition) {
            return Err(Refusal::NotServing);
        }
        admit_page(request, holdings, &self.fences)
    }
}
