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
use anser_proto::replicate::{PageEntry, PagePlace, ReplicaReply};
use anser_proto::{Refusal, Tick};
use anser_storage::{Page, Run, Scan, Scanned, StoreKey};
use bytes::Bytes;

/// Most pages that are gathered at once.
const GATHERS_MAX: usize = 8;
/// Most scans, with those whose next page is still to be asked for, and for how long they wait for that.
const SCANS_MAX: usize = 12;
const IDLE_MS: u64 = 10_000;
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

/// A scan of a partition.
#[derive(Debug)]
struct Line {
    scan: Scan,
    /// Who waits for its next page. Nobody, while the one before is on its way: the disk reads on meanwhile.
    request: Option<PageRequest>,
    /// When a page of it was asked for last.
    used: Tick,
}

/// All scans under way.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    lines: BTreeMap<u64, Line>,
    tickets: BTreeMap<Ticket, (u64, Run)>,
    next: u64,
}

impl PageRequest {
    fn after(&self, holdings: &Holdings) -> Option<StoreKey> {
        let place = self.after.as_ref()?;
        let (_, within) = holdings.place_of(place.keyspace, &place.key);
        Some(StoreKey::new(self.partition, place.keyspace, within, &place.key))
    }
}

impl Pages {
    fn gathers(&self) -> usize {
        self.lines.values().filter(|line| line.request.is_some()).count()
    }

    /// The scan that goes on behind this key, if nobody waits for it; or a new one.
    fn line_for(
        &mut self,
        now: Tick,
        request: PageRequest,
        after: Option<&StoreKey>,
        bytes_max: usize,
    ) -> u64 {
        let goes_on =
            |line: &Line| line.request.is_none() && after.is_some_and(|after| line.scan.is_behind(after));
        let found = self.lines.iter_mut().find(|(_, line)| goes_on(line));
        if let Some((number, line)) = found {
            (line.request, line.used) = (Some(request), now);
            return *number;
        }
        self.make_room(now);
        let number = self.next;
        self.next += 1;
        let scan = Scan::new(request.partition, after, PAGE_ENTRIES_MAX, bytes_max);
        self.lines.insert(number, Line { scan, request: Some(request), used: now });
        number
    }

    /// Lets go of scans that nobody goes on with: those that have waited for long, and the one that has waited longest if there
    /// are many.
    fn make_room(&mut self, now: Tick) {
        self.lines.retain(|_, line| line.request.is_some() || now < line.used.plus_ms(IDLE_MS));
        let idle = self.lines.iter().filter(|(_, line)| line.request.is_none());
        let longest = idle.min_by_key(|(_, line)| line.used).map(|(number, _)| *number);
        if let Some(longest) = longest.filter(|_| self.lines.len() >= SCANS_MAX) {
            self.lines.remove(&longest);
        }
    }

    /// The table that a fetch was of, if it was for a page.
    pub fn table_of(&self, ticket: Ticket) -> Option<TableId> {
        self.tickets.get(&ticket).map(|(_, run)| run.table())
    }

    /// A run of blocks came; none of them if its table is gone. The scan whose page can go on.
    fn answered(&mut self, ticket: Ticket, contents: Vec<Bytes>) -> Option<u64> {
        let (number, run) = self.tickets.remove(&ticket)?;
        let line = self.lines.get_mut(&number)?;
        line.scan.hold(&run, contents);
        (line.request.is_some() && line.scan.is_ready()).then_some(number)
    }

    /// Nothing is fetched any more: who waited.
    pub fn abandon(&mut self) -> impl Iterator<Item = Asker> + use<> {
        self.tickets.clear();
        let lines = core::mem::take(&mut self.lines).into_values();
        lines.filter_map(|line| line.request).map(|request| request.asker)
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
        if self.pages.gathers() >= GATHERS_MAX {
            request.asker.refuse(Refusal::Busy, self.step(), out);
            return;
        }
        // Without a ring nothing is shown.
        let Some(holdings) = &self.holdings else {
            request.asker.refuse(Refusal::NotServing, self.step(), out);
            return;
        };
        let after = request.after(holdings);
        let bytes_max = self.config.limits.page_bytes;
        let number = self.pages.line_for(now.tick, request, after.as_ref(), bytes_max);
        self.gather(now, number, out);
    }

    fn gather(&mut self, now: Now, number: u64, out: &mut Outbox) {
        let Some(Line { mut scan, request: Some(request), used }) = self.pages.lines.remove(&number) else {
            return;
        };
        if request.asker.is_gone(now) {
            return;
        }
        if let Err(refusal) = self.may_show(&request) {
            request.asker.refuse(refusal, self.step(), out);
            return;
        }
        loop {
            match self.engine.scan(&mut scan) {
                Scanned::Page(page) => {
                    if page.more {
                        self.pages.lines.insert(number, Line { scan, request: None, used });
                    }
                    return self.show(&request.asker, page, out);
                }
                Scanned::Fetch(runs) => {
                    self.fetch_for(number, runs, out);
                    if !scan.is_ready() {
                        self.pages.lines.insert(number, Line { scan, request: Some(request), used });
                        return;
                    }
                }
                Scanned::Damaged { table, .. } => {
                    self.on_damaged_table(table, out);
                    return request.asker.refuse(Refusal::NotServing, self.step(), out);
                }
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

    fn fetch_for(&mut self, number: u64, runs: Vec<Run>, out: &mut Outbox) {
        for run in runs {
            let ticket = self.fetches.next_ticket();
            out.disk(run.request(ticket));
            self.pages.tickets.insert(ticket, (number, run));
        }
    }

    /// A run of blocks that a page wants came; none of them if its table is gone.
    pub(crate) fn on_page_blocks(
        &mut self,
        now: Now,
        ticket: Ticket,
        contents: Vec<Bytes>,
        out: &mut Outbox,
    ) {
        if let Some(number) = self.pages.answered(ticket, contents) {
            self.gather(now, number, out);
        }
    }

    #[cfg(test)]
    pub(crate) fn scans_kept(&self) -> usize {
        self.pages.lines.len()
    }

    fn may_show(&self, request: &PageRequest) -> Result<(), Refusal> {
        let holdings = self.serving_holdings()?;
        if !self.copies.serves(request.partition) {
            return Err(Refusal::NotServing);
        }
        admit_page(request, holdings, &self.fences)
    }
}
