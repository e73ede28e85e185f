//! Refilling copies that hold not all that was promised of them: from other replicas, page by page, each page merged like
//! what a coordinator sends, and durable before the next one is asked for.
//!
//! Keeps: a partition answers again only when enough of the others were read whole (see [`crate::sources`]). A restart
//! begins its partitions anew: what was merged stays. One page is out for a partition, few partitions are worked on at once;
//! one that can't go on gives its place to another.

use crate::operation::{Asker, Operation, Task};
use crate::replica::{Phase, Replica};
use crate::sources::{Standing, standing};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use anser_machine::{Now, Outbox};
use anser_model::{NodeId, PartitionId};
use anser_proto::replicate::{PageEntry, PagePlace, Place, ReplicaReply, ReplicaRequest};
use anser_proto::{Address, Body, Envelope, OpId, Role, Tick};

/// Most partitions of a shard that are refilled at once.
const ACTIVE_MAX: usize = 4;
/// How long a page may take, until it is durable here.
const PAGE_MS: u64 = 3000;
/// Between two pages of a partition: other work goes on beside it.
const PACE_MS: u64 = 4;
/// After a source that did not give its page, it is left alone for so long, doubled each time up to the longest.
const PAUSE_MS: u64 = 50;
const PAUSE_MS_MAX: u64 = 2000;
/// A source that has not given its page for so long is told of: a restart does not take as long.
const AWAITED_MS: u64 = 10_000;
/// Between two looks at who is waited for.
const LOOK_GAP_MS: u64 = 1000;
/// A group of partitions that was lost before is left alone for so long, doubled with each loss up to the longest: where
/// the disk is bad, all of it would be fetched and lost again without end.
const LOST_AGAIN_MS: u64 = 100;
const LOST_AGAIN_MS_MAX: u64 = 20_000;
/// Other replicas that can't be read are left out, if enough were, after so long: longer than any operation lasts, so that
/// none is under way any more that counted on what is lost.
const LEAVE_OUT_MS: u64 = 90_000;

/// What a partition waits for.
#[derive(Debug)]
enum Wait {
    /// The next page is asked for at this time.
    Pause(Tick),
    /// A page.
    Page { source: NodeId, op: u64, until: Tick },
    /// So many of its keys that are not durable yet.
    Merge { source: NodeId, op: u64, until: Tick, left: usize, more: bool, last: Option<PagePlace> },
}

/// A source that did not give its page.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    times: u32,
    until: Tick,
    /// Since when it gives none, if that is its own doing.
    owes_since: Option<Tick>,
}

/// A partition that is being refilled.
#[derive(Debug)]
struct Work {
    read: BTreeSet<NodeId>,
    trouble: BTreeMap<NodeId, Trouble>,
    /// The source that is being read.
    present: Option<NodeId>,
    /// Where the last page of each ended.
    ended: BTreeMap<NodeId, PagePlace>,
    wait: Wait,
}

/// A partition that is to be refilled.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Tick,
    /// Not before.
    from: Tick,
}

/// All that are being refilled.
#[derive(Debug, Default)]
pub(crate) struct Refill {
    works: BTreeMap<PartitionId, Work>,
    /// Those that wait for it, and those of them that are worked on.
    waiting: BTreeMap<PartitionId, Waiting>,
    /// Those that no source gives a page to just now: they keep what they know, and wait for a place again.
    parked: BTreeMap<PartitionId, Work>,
    last: u64,
    /// When it was last looked at who is waited for.
    looked_at: Tick,
}

/// Whose fault it is that a page did not become durable here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It did not come.
    Source,
    /// It could not be merged.
    Own,
}

/// What is to be done for a partition.
enum Next {
    Ask { source: NodeId, after: Option<PagePlace> },
    Finish,
    Nothing,
}

impl Work {
    fn new(now: Tick) -> Work {
        Work {
            read: BTreeSet::new(),
            trouble: BTreeMap::new(),
            present: None,
            ended: BTreeMap::new(),
            wait: Wait::Pause(now),
        }
    }

    fn due(&self) -> Tick {
        match self.wait {
            Wait::Pause(at) => at,
            Wait::Page { until, .. } | Wait::Merge { until, .. } => until,
        }
    }

    /// The source did not give its page, or not all of it became durable: it is asked for that page again, after a while.
    fn failed(&mut self, source: NodeId, now: Tick, fault: Fault) {
        let trouble =
            self.trouble.entry(source).or_insert(Trouble { times: 0, until: now, owes_since: None });
        trouble.owes_since = match fault {
            Fault::Source => trouble.owes_since.or(Some(now)),
            Fault::Own => None,
        };
        let pause_ms = doubled(PAUSE_MS, trouble.times, PAUSE_MS_MAX);
        trouble.times = trouble.times.saturating_add(1);
        trouble.until = now.plus_ms(pause_ms);
        self.wait = Wait::Pause(now);
    }
}

impl Refill {
    /// These partitions hold not what they did: whatever was read for them is void.
    pub fn forget(&mut self, partitions: impl Iterator<Item = PartitionId>) {
        for partition in partitions {
            self.works.remove(&partition);
            self.parked.remove(&partition);
            self.waiting.remove(&partition);
        }
    }

    /// No source gives this partition a page just now: others get its place until one is to be asked again.
    fn park(&mut self, partition: PartitionId) {
        let Some(work) = self.works.remove(&partition) else { return };
        if let Some(waiting) = self.waiting.get_mut(&partition) {
            waiting.from = work.due();
        }
        self.parked.insert(partition, work);
    }

    /// Gives free places to those that wait longest: who was never asked about comes before who could not be read.
    fn give_places(&mut self, now: Tick, wanted: &[PartitionId]) {
        let is_idle = |partition: &&PartitionId| !self.works.contains_key(partition);
        let due =
            |partition: &PartitionId| self.waiting.get(partition).map(|waiting| (waiting.from, *partition));
        let mut due: Vec<(Tick, PartitionId)> =
            wanted.iter().filter(is_idle).filter_map(due).filter(|(from, _)| *from <= now).collect();
        due.sort_unstable();
        due.truncate(ACTIVE_MAX.saturating_sub(self.works.len()));
        for (_, partition) in due {
            let work = self.parked.remove(&partition).unwrap_or_else(|| Work::new(now));
            self.works.insert(partition, work);
        }
    }

    /// How many partitions wait for a source that has not given its page for long, and by source how many.
    pub fn awaited(&self) -> (u32, BTreeMap<NodeId, u32>) {
        let (mut partitions, mut by_node) = (0, BTreeMap::new());
        let owes_long = |trouble: &Trouble| {
            trouble.owes_since.is_some_and(|since| self.looked_at.since_us(since) >= AWAITED_MS * 1000)
        };
        for work in self.works.values().chain(self.parked.values()) {
            let owing = work.trouble.iter().filter(|(_, trouble)| owes_long(trouble));
            let mut is_waiting = false;
            for (node, _) in owing {
                is_waiting = true;
                *by_node.entry(*node).or_default() += 1;
            }
            partitions += u32::from(is_waiting);
        }
        (partitions, by_node)
    }

    /// Whether it is time to look again at who is waited for.
    fn looks(&mut self, now: Tick) -> bool {
        let looks = now.since_us(self.looked_at) >= LOOK_GAP_MS * 1000;
        if looks {
            self.looked_at = now;
        }
        looks
    }

    fn next_op(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// When something is due.
    pub fn wakes_at(&self) -> Option<Tick> {
        let idle = self.waiting.iter().filter(|(partition, _)| !self.works.contains_key(partition));
        // When all places are taken, the others wait for one of them.
        let begins = idle.map(|(_, waiting)| waiting.from).filter(|_| self.works.len() < ACTIVE_MAX);
        self.works.values().map(Work::due).chain(begins).min()
    }
}

/// How long a group's partitions wait that was lost so many times. The first time is anybody's bad luck.
fn pause_after(losses: u32) -> u64 {
    losses.checked_sub(2).map_or(0, |more| doubled(LOST_AGAIN_MS, more, LOST_AGAIN_MS_MAX))
}

/// A pause, doubled so many times, up to the longest.
fn doubled(pause_ms: u64, times: u32, longest_ms: u64) -> u64 {
    2u64.checked_pow(times).map_or(longest_ms, |factor| pause_ms.saturating_mul(factor).min(longest_ms))
}

impl Replica {
    /// Does what is due: begins partitions, asks for pages, gives up on those that take too long.
    pub(crate) fn go_on_refilling(&mut self, now: Now, out: &mut Outbox) {
        if self.phase != Phase::Serving || self.holdings.is_none() {
            return;
        }
        self.begin_refilling(now);
        let due: Vec<PartitionId> = self
            .refill
            .works
            .iter()
            .filter(|(_, work)| work.due() <= now.tick)
            .map(|(partition, _)| *partition)
            .collect();
        for partition in due {
            self.next_page(now, partition, out);
        }
        self.save_copies_if_due(out);
        if self.refill.looks(now.tick) {
            self.publish_copies(out);
        }
    }

    fn begin_refilling(&mut self, now: Now) {
        let Some(holdings) = &self.holdings else { return };
        let mut to_refill = Vec::new();
        for partition in self.copies.joining() {
            let wanted = holdings.holds(*partition)
                && !holdings.is_alone(*partition)
                && self.copies.is_to_be_refilled(*partition)
                && !self.copies.is_wiping_group(anser_storage::group_of(*partition));
            if wanted {
                let losses = self.losses.get(&anser_storage::group_of(*partition)).copied().unwrap_or(0);
                let from = now.tick.plus_ms(pause_after(losses));
                self.refill.waiting.entry(*partition).or_insert(Waiting { since: now.tick, from });
                to_refill.push(*partition);
            }
        }
        self.refill.give_places(now.tick, &to_refill);
    }

    /// Asks for a partition's next page, of the present source or of another; or it is complete.
    fn next_page(&mut self, now: Now, partition: PartitionId, out: &mut Outbox) {
        let Some(work) = self.refill.works.get_mut(&partition) else { return };
        match work.wait {
            Wait::Page { source, .. } => work.failed(source, now.tick, Fault::Source),
            Wait::Merge { source, .. } => work.failed(source, now.tick, Fault::Own),
            Wait::Pause(_) => {}
        }
        match self.next_step(now, partition) {
            Next::Ask { source, after } => self.ask_page(now, partition, source, after, out),
            Next::Finish => {
                self.refill.forget(core::iter::once(partition));
                self.copies.finish(partition);
                self.begin_refilling(now);
            }
            Next::Nothing => {
                self.refill.park(partition);
                self.begin_refilling(now);
            }
        }
    }

    /// Decides what comes next, and until when there is nothing to do.
    fn next_step(&mut self, now: Now, partition: PartitionId) -> Next {
        let Some(holdings) = &self.holdings else { return Next::Nothing };
        let since = self.refill.waiting.get(&partition).map_or(now.tick, |waiting| waiting.since);
        let Some(work) = self.refill.works.get_mut(&partition) else { return Next::Nothing };
        let me = self.config.member.node;
        let profiles = holdings.sites(partition);
        let may_leave_out = now.tick.since_us(since) >= LEAVE_OUT_MS * 1000;
        let is_complete = profiles.iter().all(|sites| match standing(sites, &me, &work.read) {
            Standing::Short => false,
            Standing::Enough => may_leave_out,
            Standing::All => true,
        });
        if is_complete {
            return Next::Finish;
        }
        let troubled = |node: &NodeId| work.trouble.get(node).is_some_and(|trouble| trouble.until > now.tick);
        let mut others: Vec<NodeId> =
            profiles.iter().flatten().map(|site| site.node).filter(|node| *node != me).collect();
        others.retain(|node| !work.read.contains(node));
        // Where one source was left, it goes on; else the partitions begin with different ones.
        let turn = usize::from(partition.0).checked_rem(others.len()).unwrap_or(0);
        others.rotate_left(turn);
        others.sort_by_key(|node| Some(*node) != work.present);
        match others.iter().copied().find(|node| !troubled(node)) {
            Some(source) => Next::Ask { source, after: work.ended.get(&source).cloned() },
            None => {
                let first =
                    others.iter().filter_map(|node| work.trouble.get(node)).map(|trouble| trouble.until);
                work.wait = Wait::Pause(first.min().unwrap_or(now.tick.plus_ms(PAUSE_MS_MAX)));
                Next::Nothing
            }
        }
    }

    fn ask_page(
        &mut self,
        now: Now,
        partition: PartitionId,
        source: NodeId,
        after: Option<PagePlace>,
        out: &mut Outbox,
    ) {
        let op = self.refill.next_op();
        let until = now.tick.plus_ms(PAGE_MS);
        if let Some(work) = self.refill.works.get_mut(&partition) {
            work.present = Some(source);
            work.wait = Wait::Page { source, op, until };
        }
        let round = self.fences.of(partition).round;
        out.send(Envelope {
            from: self.address(partition, self.config.member.node),
            to: self.address(partition, source),
            op: OpId { life: self.config.life, seq: op },
            step: self.step(),
            deadline: until,
            body: Body::Replicate(ReplicaRequest::ReadPage { partition, round, after }),
        });
    }

    fn address(&self, partition: PartitionId, node: NodeId) -> Address {
        Address { node, role: Role::Replica, slot: u32::from(partition.0) }
    }

    /// An answer to this copy's own requests: to a source, or to itself where a page is merged.
    pub(crate) fn on_refill_answer(&mut self, now: Now, answer: Envelope, out: &mut Outbox) {
        let Envelope { from, to, op, body, .. } = answer;
        let Ok(partition) = u16::try_from(to.slot).map(PartitionId) else { return };
        // A shard that has stopped takes nothing in any more.
        let is_heard =
            self.phase == Phase::Serving && op.life == self.config.life && from.role == Role::Replica;
        if !is_heard {
            return;
        }
        let Some(work) = self.refill.works.get_mut(&partition) else { return };
        match (&mut work.wait, body) {
            (
                Wait::Page { source, op: asked, .. },
                Body::Replicated(ReplicaReply::Page { entries, more }),
            ) if *asked == op.seq && *source == from.node => {
                self.merge_page(now, partition, entries, more, out);
            }
            (Wait::Merge { op: asked, left, .. }, Body::Replicated(ReplicaReply::Durable))
                if *asked == op.seq =>
            {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.on_page_durable(now, partition, out);
                }
            }
            (Wait::Page { source, op: asked, .. }, Body::Refused(_)) if *asked == op.seq => {
                let source = *source;
                work.failed(source, now.tick, Fault::Source);
                self.next_page(now, partition, out);
            }
            // There is no room here just now. What was merged of the page stays.
            (Wait::Merge { source, op: asked, .. }, Body::Refused(_)) if *asked == op.seq => {
                let source = *source;
                work.failed(source, now.tick, Fault::Own);
            }
            // Late, or of an earlier attempt.
            (Wait::Pause(_) | Wait::Page { .. } | Wait::Merge { .. }, _) => {}
        }
        self.save_copies_if_due(out);
    }

    /// Merges a page, as what a coordinator sends.
    fn merge_page(
        &mut self,
        now: Now,
        partition: PartitionId,
        mut entries: Vec<PageEntry>,
        more: bool,
        out: &mut Outbox,
    ) {
        let Some(holdings) = &self.holdings else { return };
        let op = self.refill.next_op();
        let Some(work) = self.refill.works.get_mut(&partition) else { return };
        let Wait::Page { source, .. } = work.wait else { return };
        let last = entries.last().map(|entry| entry.place.clone());
        if more && last.is_none() {
            work.failed(source, now.tick, Fault::Source);
            return;
        }
        // A source may hold keys of keyspaces that are not kept here.
        entries.retain(|PageEntry { place: PagePlace { keyspace, key }, .. }| {
            holdings.takes_writes(*keyspace, partition) && holdings.partition_of(*keyspace, key) == partition
        });
        let until = now.tick.plus_ms(PAGE_MS);
        work.wait = Wait::Merge { source, op, until, left: entries.len(), more, last };
        if entries.is_empty() {
            self.on_page_durable(now, partition, out);
            return;
        }
        let own = self.address(partition, self.config.member.node);
        let op = OpId { life: self.config.life, seq: op };
        let asker = Asker { from: own, to: own, op, step: self.step(), deadline: until, partition };
        let round = self.fences.of(partition).round;
        for PageEntry { place: PagePlace { keyspace, key }, state } in entries {
            let place = Place { keyspace, partition, round };
            self.begin(now, Operation { asker, place, key, task: Task::Store(state) }, out);
        }
    }

    /// A page is durable here: the next one, or the next source.
    fn on_page_durable(&mut self, now: Now, partition: PartitionId, out: &mut Outbox) {
        let Some(work) = self.refill.works.get_mut(&partition) else { return };
        let Wait::Merge { source, more, last, .. } = &work.wait else { return };
        let (source, more, last) = (*source, *more, last.clone());
        work.trouble.remove(&source);
        if more {
            work.ended.extend(last.map(|place| (source, place)));
            work.wait = Wait::Pause(now.tick.plus_ms(PACE_MS));
            return;
        }
        work.read.insert(source);
        work.present = None;
        work.wait = Wait::Pause(now.tick);
        self.next_page(now, partition, out);
    }
}
