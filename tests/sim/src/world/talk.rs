//! The talk of clients with nodes: operations begin, are tried, are answered, end; the invariants of what clients see are
//! judged.

use super::node::true_wall_ms;
use super::route::CLIENT_BACKOFF_US;
use super::{Job, World};
use crate::clients::{Answer, Given, Operation, Session, Token, What, Wish, answer};
use crate::coverage::Situation;
use crate::invariants::{Read, ReadStart, acks_are_durable, acks_outlast_losses};
use crate::invariants::{failed_leaves_nothing, nothing_from_nowhere};
use crate::invariants::{quorums_intersect, reads_see_acked_writes, receipts_tell_the_truth};
use crate::invariants::{retries_make_no_sibling, sessions_go_forward};
use crate::invariants::{
    settled_stays_settled, shown, shown_is_durable, siblings_are_concurrent, strict_reads_never_go_back,
};
use crate::schedule::MS;
use crate::truth::Fate;
use crate::verdicts::Invariant;
use anser_model::{Body as Value, Level, Need, NodeId, Rid, minter_order};
use anser_proto::client::{ClientRequest, ContextArg, Failure, GetReply, GetRequest, PutReply, PutRequest};
use anser_proto::frame;
use anser_proto::{Address, Body, Envelope, OpId, Role, Tick};

/// With less time than this left, no attempt is begun.
const ATTEMPT_US_MIN: u64 = 2 * MS;

/// Whether a level asks one data centre alone.
fn is_local(level: Level) -> bool {
    matches!(level, Level::LocalOne | Level::LocalQuorum)
}

impl World {
    /// A client begins something, if it wants to.
    pub(crate) fn begin(&mut self, c: usize) {
        let slots = self.truth.slots.len();
        let turn = (self.now() / MS).checked_div(self.profile.turn_ms);
        let client = &mut self.clients[c];
        if let Some(turn) = turn {
            client.hot = usize::try_from(turn).ok().map(|turn| turn % slots);
        }
        client.sessions.resize(slots, Session::default());
        client.generation += 1;
        let Some(wish) = client.next_wish(slots, self.profile.dcs) else { return };
        let slot = &self.truth.slots[wish.slot];
        let usual = if wish.what == What::Get { slot.read } else { slot.write };
        let level = wish.level.unwrap_or(usual);
        // But for local levels it is the same wherever it is asked from.
        let from = if is_local(level) { slot.sites.len() } else { 1 };
        let needed = slot.sites.iter().take(from).filter_map(|site| level.need(&slot.sites, &site.dc).ok());
        let needed = needed.map(|need| Need::total(&need)).min().unwrap_or(1);
        let at = self.schedule.now();
        let mut start = ReadStart { at, slot: wish.slot, needed, ..ReadStart::default() };
        if wish.what == What::Get {
            start.acked.clone_from(&slot.acked[(slot.sites.len() + 1).saturating_sub(needed)]);
            start.shown.clone_from(&slot.shown);
        }
        let (request, write, rid) = self.request(c, &wish);
        let candidates = self.candidates(c, wish.slot, rid);
        self.clients[c].current = Some(Operation {
            deadline: at + wish.timeout_us,
            wish,
            level,
            request,
            write,
            start,
            candidates,
            attempts: 0,
            asked: None,
            maybe: false,
        });
        self.attempt(c);
    }

    fn request(&mut self, c: usize, wish: &Wish) -> (ClientRequest, Option<usize>, Rid) {
        let wall_ms = true_wall_ms(self.schedule.now());
        let client = &mut self.clients[c];
        let slot = &self.truth.slots[wish.slot];
        let (keyspace, key) = (slot.keyspace_name.clone(), slot.key.clone());
        let (given, is_delete) = match wish.what {
            What::Get => {
                let rid = Rid { writer: client.dice.u128(), seq: 0 };
                return (ClientRequest::Get(GetRequest { keyspace, key, level: wish.level }), None, rid);
            }
            What::Put(given) => (given, false),
            What::Delete(given) => (given, true),
        };
        client.writes += 1;
        let rid = Rid { writer: client.writer, seq: client.writes };
        client.clock = client.clock.tick(wall_ms.saturating_add_signed(client.offset_ms));
        let issued = client.clock;
        let token = client.sessions[wish.slot].token.as_ref().filter(|_| given == Given::Token);
        if token.is_some_and(|token| token.shown > 1) {
            self.coverage.sometimes(Situation::SiblingsSettled);
        }
        let context = match (token, given) {
            (Some(token), _) => ContextArg::Token(token.text.clone()),
            (None, Given::Sibling) => ContextArg::Sibling,
            (None, Given::Blind | Given::Token) => ContextArg::Blind,
        };
        let seen = match token {
            Some(Token { seen: Some((context, rids)), .. }) => self.truth.seen(wish.slot, context, rids),
            Some(Token { text, .. }) => {
                let (context, rids) = self.truth.open(wish.slot, text).unwrap_or_default();
                let seen = self.truth.seen(wish.slot, &context, &rids);
                self.truth.note_named_by_id(&seen, &context);
                seen
            }
            None => Vec::new(),
        };
        let number = self.truth.begin(rid, wish.slot, issued, is_delete, seen);
        let body = if is_delete { Value::Tombstone } else { Value::Value(client.value(number).into()) };
        if let Value::Value(value) = &body {
            self.truth.writes[number].length = value.len();
        }
        let put = PutRequest {
            keyspace,
            key,
            rid,
            issued,
            expires: None,
            body,
            context,
            level: wish.level,
            retry: false,
        };
        (ClientRequest::Put(put), Some(number), rid)
    }

    /// The nodes to ask: replicas in the order of minters, the near ones first; now and then any order.
    fn candidates(&mut self, c: usize, slot: usize, rid: Rid) -> Vec<usize> {
        let nodes: Vec<NodeId> = self.truth.slots[slot].sites.iter().map(|site| site.node).collect();
        let mut order: Vec<usize> = minter_order(rid, &nodes).iter().map(|id| self.truth.node(id)).collect();
        let end = self.nodes.len() + c;
        order.sort_by_key(|n| !self.network.are_near(end, *n));
        for n in 0..self.nodes.len() {
            if !order.contains(&n) {
                order.push(n);
            }
        }
        if self.clients[c].dice.below(3) == 0 {
            self.clients[c].dice.shuffle(&mut order);
        }
        order
    }

    fn attempt(&mut self, c: usize) {
        let at = self.schedule.now();
        let end = self.nodes.len() + c;
        let client = &mut self.clients[c];
        client.generation += 1;
        client.asks += 1;
        let (generation, seq) = (client.generation, client.asks);
        let Some(operation) = &mut client.current else { return };
        let left = operation.deadline.saturating_sub(at);
        if left < ATTEMPT_US_MIN {
            return self.give_up(c);
        }
        let slice = if left <= 250 * MS { left } else { left * 2 / 5 };
        let n = operation.candidates[operation.attempts % operation.candidates.len()];
        operation.attempts += 1;
        if let ClientRequest::Put(put) = &mut operation.request {
            put.retry = operation.maybe;
        }
        if let Some(write) = operation.write {
            self.truth.writes[write].attempts += 1;
            if operation.maybe {
                self.coverage.sometimes(Situation::LostAnswer);
            }
        }
        let op = OpId { life: c as u32, seq };
        operation.asked = Some((n, op));
        let id = self.nodes[n].id();
        let envelope = Envelope {
            from: Address { node: id, role: Role::Session, slot: c as u32 },
            to: Address { node: id, role: Role::Coordinator, slot: 0 },
            op,
            step: anser_model::Step(0),
            deadline: Tick(at + slice),
            body: Body::Client(operation.request.clone()),
        };
        let told = client.dice.chance(700_000);
        self.schedule.after(slice, Job::Client { client: c, generation });
        if !self.transmit(end, n, &envelope, Tick(at)) && told {
            self.schedule.after(MS, Job::ClientNotSent { client: c, generation });
        }
    }

    /// A client's pause or patience ends.
    pub(super) fn client_wakes(&mut self, c: usize, generation: u64) {
        if self.clients[c].generation != generation {
            return;
        }
        match &mut self.clients[c].current {
            None => self.begin(c),
            Some(operation) => {
                if operation.asked.take().is_some() {
                    operation.maybe = true;
                }
                if operation.wish.once && operation.attempts > 0 {
                    return self.give_up(c);
                }
                self.attempt(c);
            }
        }
    }

    /// A request never left.
    pub(super) fn client_not_sent(&mut self, c: usize, generation: u64) {
        if self.clients[c].generation == generation {
            self.after_answer(c, Answer::Nothing(Failure::NotReady));
        }
    }

    /// A node is gone, and its connections with it: some clients notice at once.
    pub(super) fn clients_lose(&mut self, n: usize) {
        for c in 0..self.clients.len() {
            let client = &mut self.clients[c];
            let asked = client.current.as_ref().and_then(|operation| operation.asked);
            if asked.is_some_and(|(node, _)| node == n) && client.dice.chance(500_000) {
                let generation = client.generation;
                self.schedule.after(MS, Job::Client { client: c, generation });
            }
        }
    }

    /// A frame arrives at a client.
    pub(super) fn client_hears(&mut self, c: usize, from: usize, bytes: &[u8]) {
        let at = self.schedule.now();
        let id = self.nodes[from].id();
        let envelope = frame::decode(bytes, id, id, Tick(at)).expect("what machines say can be decoded");
        let asked = self.clients[c].current.as_ref().and_then(|operation| operation.asked);
        self.journal.line(at, || {
            format!("node {from} -> client {c}: op {} {:?}", envelope.op.seq, envelope.body)
                .chars()
                .take(200)
                .collect()
        });
        if asked != Some((from, envelope.op)) {
            return;
        }
        if let Body::ClientReply(reply) = &envelope.body {
            self.clients[c].clock = self.clients[c].clock.max(reply.clock);
        }
        self.after_answer(c, answer(envelope.body));
    }

    fn after_answer(&mut self, c: usize, answer: Answer) {
        let Some(operation) = &mut self.clients[c].current else { return };
        operation.asked = None;
        match answer {
            Answer::Put(reply) => self.put_done(c, &reply),
            Answer::Got(reply) => self.get_done(c, &reply),
            Answer::Unsure => {
                operation.maybe = true;
                if operation.wish.once {
                    return self.give_up(c);
                }
                self.attempt(c);
            }
            Answer::Nothing(_) if operation.wish.once => self.give_up(c),
            Answer::Nothing(failure) => {
                if matches!(failure, Failure::Unavailable { .. }) {
                    self.coverage.sometimes(Situation::Unavailable);
                }
                let client = &mut self.clients[c];
                client.generation += 1;
                let generation = client.generation;
                let us = client.dice.between(CLIENT_BACKOFF_US / 2, CLIENT_BACKOFF_US * 4);
                self.schedule.after(us, Job::Client { client: c, generation });
            }
            Answer::Denied(failure) => {
                if let Failure::BadClock { node_ms } = failure {
                    self.correct_clock(c, node_ms);
                }
                self.give_up(c);
            }
        }
    }

    /// A client's clock was refused: it follows the node's, and does the same anew once, as another write.
    fn correct_clock(&mut self, c: usize, node_ms: u64) {
        self.coverage.sometimes(Situation::BadClock);
        let wall_ms = true_wall_ms(self.schedule.now());
        let client = &mut self.clients[c];
        client.offset_ms = node_ms as i64 - wall_ms as i64;
        client.clock = anser_model::Hlc::from_ms(node_ms);
        if let Some(operation) = &mut client.current
            && !operation.maybe
            && !operation.wish.corrected
        {
            client.script.push_front(Wish { corrected: true, ..operation.wish });
            operation.wish.must = false;
        }
    }

    /// An operation ends without success.
    fn give_up(&mut self, c: usize) {
        let Some(operation) = self.clients[c].current.take() else { return };
        if operation.wish.must {
            let what =
                format!("client {c} could not do {:?} (attempts: {})", operation.wish, operation.attempts);
            self.judge(Invariant::HealedClusterAnswers, Err(what));
        }
        if let Some(write) = operation.write {
            let fate = if operation.maybe { Fate::Unknown } else { Fate::Failed };
            self.truth.writes[write].fate = fate;
            let situation = if operation.maybe { Situation::Unknown } else { Situation::Failed };
            self.coverage.sometimes(situation);
            let result = failed_leaves_nothing::check(&self.truth, write);
            self.judge(Invariant::FailedLeavesNothing, result);
            let (at, rid) = (self.now(), self.truth.writes[write].rid);
            self.journal.line(at, || format!("client {c}: write {} ends {fate:?}", shown(&rid)));
        }
        self.rest(c);
    }

    fn put_done(&mut self, c: usize, reply: &PutReply) {
        let Some(operation) = self.clients[c].current.take() else { return };
        let (Some(write), at, level) = (operation.write, self.now(), operation.level) else { return };
        let slot = operation.wish.slot;
        let held_by = self.truth.acknowledgers(slot, write);
        let holders: Vec<NodeId> = held_by.iter().map(|n| self.nodes[*n].id()).collect();
        let result = acks_are_durable::check(&self.truth, write, level, &holders);
        self.judge(Invariant::AcksAreDurable, result);
        let result =
            receipts_tell_the_truth::check_put(&self.truth, write, level, holders.len(), &reply.receipt);
        self.judge(Invariant::ReceiptsTellTheTruth, result);
        if operation.wish.again {
            return self.forget_answer(c, operation);
        }
        let result = acks_outlast_losses::check(&self.truth, write, operation.start.needed);
        self.judge(Invariant::AcksOutlastLosses, result);
        self.truth.acknowledge(write, operation.start.needed, at, held_by);
        let rid = self.truth.writes[write].rid;
        self.journal.line(at, || {
            format!(
                "client {c}: write {} (number {write}, key {slot}) is acknowledged at {level}",
                shown(&rid)
            )
        });
        let session = &mut self.clients[c].sessions[slot];
        session.token = Some(Token { text: reply.context.clone(), shown: 1, seen: None });
        session.wrote.insert(operation.start.needed, write);
        self.succeed(c, &operation);
    }

    /// An acknowledgement is taken as lost: the write is tried again, and must be acknowledged again.
    fn forget_answer(&mut self, c: usize, mut operation: Operation) {
        operation.wish.again = false;
        operation.maybe = true;
        self.clients[c].current = Some(operation);
        self.attempt(c);
    }

    fn get_done(&mut self, c: usize, reply: &GetReply) {
        let Some(operation) = self.clients[c].current.take() else { return };
        let (slot, level) = (operation.wish.slot, operation.level);
        let result = receipts_tell_the_truth::check_get(&self.truth, slot, level, &reply.receipt);
        self.judge(Invariant::ReceiptsTellTheTruth, result);
        let shown = nothing_from_nowhere::check(&self.truth, slot, reply);
        let seen = shown.and_then(|shown| Ok((shown, self.truth.open(slot, &reply.context)?)));
        let read = match seen {
            Ok((shown, (context, rids))) => Read { start: &operation.start, reply, context, rids, shown },
            Err(what) => return self.judge(Invariant::NothingFromNowhere, Err(what)),
        };
        self.judge(Invariant::NothingFromNowhere, Ok(()));
        self.judge_read(c, &read, slot, level);
        self.cover_read(&read);
        let seen = Some((read.context, read.rids));
        self.clients[c].sessions[slot].token =
            Some(Token { text: reply.context.clone(), shown: reply.versions.len(), seen });
        self.succeed(c, &operation);
    }

    fn judge_read(&mut self, c: usize, read: &Read<'_>, slot: usize, level: Level) {
        let results = [
            (Invariant::ReadsSeeAckedWrites, reads_see_acked_writes::check(&self.truth, read)),
            (Invariant::SiblingsAreConcurrent, siblings_are_concurrent::check(&self.truth, &read.shown)),
            (Invariant::RetriesMakeNoSibling, retries_make_no_sibling::check(&self.truth, &read.shown)),
            (Invariant::SettledStaysSettled, settled_stays_settled::check(&self.truth, read)),
            (
                Invariant::SessionsGoForward,
                sessions_go_forward::check(&self.truth, read, &self.clients[c].sessions[slot]),
            ),
            (Invariant::QuorumsIntersect, quorums_intersect::check(&self.truth, read)),
        ];
        for (invariant, result) in results {
            self.judge(invariant, result);
        }
        for write in &read.shown {
            let holders = self.truth.acknowledgers(slot, *write).len();
            let result = shown_is_durable::check(&self.truth, read.start, *write, holders);
            self.judge(Invariant::ShownIsDurable, result);
        }
        let known = &self.truth.slots[slot];
        let meets_itself = 2 * read.start.needed > known.sites.len();
        if known.strict && meets_itself && !is_local(level) {
            self.judge(
                Invariant::StrictReadsNeverGoBack,
                strict_reads_never_go_back::check(&self.truth, read),
            );
            self.clients[c].sessions[slot].saw.clone_from(&read.shown);
            let at = self.now();
            for version in &read.reply.versions {
                self.truth.slots[slot].shown.insert(&version.dot);
            }
            for write in &read.shown {
                self.truth.slots[slot].shown_writes.entry(*write).or_insert(at);
            }
        }
    }

    fn succeed(&mut self, c: usize, operation: &Operation) {
        if operation.wish.must {
            self.judge(Invariant::HealedClusterAnswers, Ok(()));
        }
        self.rest(c);
    }

    /// A client does nothing for a while.
    fn rest(&mut self, c: usize) {
        let client = &mut self.clients[c];
        client.generation += 1;
        let generation = client.generation;
        let us = if client.script.is_empty() { client.think_us() } else { 1 };
        self.schedule.after(us, Job::Client { client: c, generation });
    }
}
