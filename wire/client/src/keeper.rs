//! The task beside the operations: it learns newer rings, and finds out when a node that failed answers again, so that no
//! operation pays for that.

use crate::attempt;
use crate::bootstrap;
use crate::client::Shared;
use crate::peer::Peer;
use crate::pursuit::Answer;
use crate::route;
use crate::view::View;
use anser_proto::client::{ClientRequest, Outcome, RingReply};
use anser_proto::{Body, Role};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How often the ring is asked for while the client is used.
const REFRESH: Duration = Duration::from_secs(5);
/// How often a node that failed is probed.
const PROBE: Duration = Duration::from_millis(250);
/// How long a probe or a question for the ring may take.
const ASK: Duration = Duration::from_millis(800);
/// Most nodes probed at once.
const PROBES_MAX: usize = 16;

/// Starts it. It ends soon after the last handle of the client is gone.
pub(crate) fn spawn(shared: &Arc<Shared>) {
    let trouble = Arc::clone(&shared.trouble);
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        let mut refreshed = Instant::now();
        let mut pause = REFRESH;
        loop {
            if pause > PROBE {
                let _woken = tokio::time::timeout(pause, trouble.notified()).await;
            } else {
                tokio::time::sleep(pause).await;
            }
            match look(&shared, &mut refreshed).await {
                Some(next) => pause = next,
                None => return,
            }
        }
    });
}

/// Looks after the view once; how long to pause then, or none if the client is gone.
async fn look(shared: &Weak<Shared>, refreshed: &mut Instant) -> Option<Duration> {
    let shared = shared.upgrade()?;
    let view = shared.view();
    let failing: Vec<Arc<Peer>> =
        view.peers.iter().filter(|peer| peer.failures() > 0).take(PROBES_MAX).cloned().collect();
    let every = if failing.is_empty() { REFRESH } else { REFRESH / 5 };
    let used = shared.used.load(Ordering::Relaxed);
    if refreshed.elapsed() >= every && (used || !failing.is_empty()) {
        shared.used.store(false, Ordering::Relaxed);
        *refreshed = Instant::now();
        refresh(&shared, &view).await;
    }
    let probes: Vec<_> =
        failing.into_iter().map(|peer| tokio::spawn(probe(Arc::clone(&shared), peer))).collect();
    drop(shared);
    for probe in probes {
        let _ended = probe.await;
    }
    Some(if view.peers.iter().any(|peer| peer.failures() > 0) { PROBE } else { REFRESH })
}

/// Whether a node answers again: its peer takes note of that itself.
async fn probe(shared: Arc<Shared>, peer: Arc<Peer>) {
    let body = Body::Client(ClientRequest::DescribeCluster);
    let _noted = peer.call(&shared.endpoint, Role::Membership, body, ASK).await;
}

/// Asks for the ring: a member, and if none answers, the profile's addresses.
async fn refresh(shared: &Shared, view: &View) {
    for peer in route::any_order(view, &mut shared.random()) {
        let body = Body::Client(ClientRequest::DescribeRing);
        let (answer, clock) = attempt::answer(peer.call(&shared.endpoint, Role::Membership, body, ASK).await);
        if let Some(clock) = clock {
            shared.clock.follow(clock);
        }
        if let Answer::Done(Outcome::Ring(ring)) = answer {
            learn(shared, view, ring);
            return;
        }
    }
    for address in &shared.addresses {
        if let Ok(found) = bootstrap::ask(&shared.endpoint, *address).await {
            learn(shared, view, found.ring);
            return;
        }
    }
}

/// A newer view takes the old one's place. A reply that can't be read changes nothing: the next may be better.
fn learn(shared: &Shared, view: &View, ring: RingReply) {
    if let Ok(Some(newer)) = View::learn(Some(view), ring) {
        shared.set_view(newer);
    }
}
