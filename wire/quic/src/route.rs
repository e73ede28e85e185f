//! The way out: which queue a message goes to, and what happens to one that can't be sent.
//!
//! Keeps: what is refused as not sent or busy has not left this process. Datagrams that do not fit go by the control lane.

use crate::network::Source;
use crate::peer::{Link, Peer};
use crate::shared::Shared;
use crate::stats::{Direction, Traffic};
use anser_model::NodeId;
use anser_proto::frame::{self, DATAGRAM_BYTES_MAX, LANE_FRAME_BYTES_MAX, LENGTH_BYTES};
use anser_proto::{Body, Class, Envelope, Refusal, Role, Tick};
use bytes::{Buf, BytesMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The answer to a request that was not carried out; nothing, if it was no request.
pub(crate) fn refusal(envelope: &Envelope, why: Refusal) -> Option<Envelope> {
    envelope.body.is_request().then(|| Envelope {
        from: envelope.to,
        to: envelope.from,
        op: envelope.op,
        step: envelope.step,
        deadline: envelope.deadline,
        body: Body::Refused(why),
    })
}

impl Shared {
    /// Routes a batch. Never waits.
    pub fn send(self: &Arc<Shared>, batch: Vec<Envelope>) {
        let now = self.now();
        let mut touched: Vec<(Arc<Peer>, Arc<Link>)> = Vec::new();
        let mut last: Option<Arc<Peer>> = None;
        for envelope in batch {
            let to = envelope.to;
            if to.node == self.me && to.role == Role::Session {
                self.sessions.answer(envelope, now, &self.stats);
                continue;
            }
            let peer = match last.take() {
                Some(peer) if peer.node == to.node => Some(peer),
                Some(_) | None => self.peer(to.node),
            };
            let Some(peer) = peer else {
                self.unsent(vec![envelope], Refusal::NotSent);
                continue;
            };
            if let Some(link) = self.send_to(&peer, envelope, now)
                && !touched.iter().any(|(_, known)| Arc::ptr_eq(known, link))
            {
                touched.push((Arc::clone(&peer), Arc::clone(link)));
            }
            last = Some(peer);
        }
        for (peer, link) in &touched {
            self.poke(peer, link);
        }
    }

    /// Queues one message, or sends it as a datagram. The link whose writer is to be woken.
    fn send_to<'a>(&self, peer: &'a Peer, envelope: Envelope, now: Tick) -> Option<&'a Arc<Link>> {
        let link = match envelope.body.class() {
            Class::Datagram => {
                if self.send_datagram(peer, &envelope, now) {
                    return None;
                }
                &peer.control
            }
            Class::Control => &peer.control,
            Class::Data if envelope.body.payload_bytes() > LANE_FRAME_BYTES_MAX => &peer.bulk,
            Class::Data => &peer.data,
        };
        match link.queue.push(envelope, now) {
            Ok(()) => Some(link),
            Err(envelope) => {
                self.unsent(vec![*envelope], Refusal::Busy);
                None
            }
        }
    }

    /// Sends it now, if there is a connection and it fits.
    fn send_datagram(&self, peer: &Peer, envelope: &Envelope, now: Tick) -> bool {
        if !peer.control.is_connected() {
            return false;
        }
        let Some(kept) = peer.control.kept() else { return false };
        let mut buffer = BytesMut::with_capacity(DATAGRAM_BYTES_MAX);
        let limit = kept.connection.max_datagram_size().unwrap_or(0).min(DATAGRAM_BYTES_MAX);
        if frame::encode(envelope, now, &mut buffer).is_err() || buffer.len() - LENGTH_BYTES > limit {
            return false;
        }
        // A datagram has its own length.
        buffer.advance(LENGTH_BYTES);
        let bytes = buffer.len();
        let sent = kept.connection.send_datagram(buffer.freeze()).is_ok();
        if sent {
            self.stats.count(Traffic::Datagram, Direction::Sent, 1, bytes);
        }
        sent
    }

    /// A message too large for a lane goes by the bulk connection.
    pub fn send_large(self: &Arc<Shared>, node: NodeId, envelope: Envelope) {
        let Some(peer) = self.peer(node) else {
            self.unsent(vec![envelope], Refusal::NotSent);
            return;
        };
        match peer.bulk.queue.push(envelope, self.now()) {
            Ok(()) => self.poke(&peer, &peer.bulk),
            Err(envelope) => self.unsent(vec![*envelope], Refusal::Busy),
        }
    }

    /// Something waits in a link's queue: wakes its writer, or sees to a connection.
    pub fn poke(self: &Arc<Shared>, peer: &Arc<Peer>, link: &Arc<Link>) {
        if link.is_connected() {
            link.queue.wake();
        } else if !self.is_closing() && !link.dialling.swap(true, Ordering::AcqRel) {
            let task = crate::dial::keep_dialling(Arc::clone(self), Arc::clone(peer), Arc::clone(link));
            self.half(link.purpose).runtime.spawn(task);
        }
    }

    /// A peer listens elsewhere now: what waits for it is tried there at once.
    pub fn address_changed(self: &Arc<Shared>, node: NodeId) {
        let Some(peer) = self.peer(node) else { return };
        for link in peer.links() {
            link.forget_failures();
            if !link.queue.is_empty() {
                self.poke(&peer, link);
            }
        }
    }

    /// These will not be sent: requests are answered so, the rest is dropped.
    pub fn unsent(&self, batch: Vec<Envelope>, why: Refusal) {
        let all = batch.len();
        let refusals: Vec<Envelope> = batch.iter().filter_map(|envelope| refusal(envelope, why)).collect();
        self.stats.count_refused(refusals.len());
        self.stats.count_dropped(all - refusals.len());
        if !refusals.is_empty() {
            self.inbound.deliver(Source::Own, refusals);
        }
    }

    /// Gives up on what has waited too long for a connection.
    pub fn sweep(&self) {
        let now = self.now();
        let wait_us = self.limits.unconnected_wait_ms.saturating_mul(1000);
        let before = Tick(now.0.saturating_sub(wait_us));
        if now.0 < wait_us {
            return;
        }
        for peer in self.all_peers() {
            for link in peer.links() {
                if !link.is_connected() {
                    let expired = link.queue.expire(before, now);
                    if !expired.is_empty() {
                        self.unsent(expired, Refusal::NotSent);
                    }
                }
            }
        }
    }
}
