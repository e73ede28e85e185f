//! An actor's metrics, their handles looked up once. Every label of a closed set exists from the start, at 0.
//!
//! Counts are kept aside during a drain and added at its end; one histogram takes a drain's mean time an event, so that
//! measuring costs two readings of the clock a drain and not two an event, and another one the whole time, effects included,
//! for which the actor held its thread.

use crate::supervision::Cause;
use anser_machine::Event;
use anser_proto::Body;
use metrics::{Counter, Gauge, Histogram};
use std::time::Duration;

/// The kinds of events, as the label `message` has them.
const KINDS: [&str; 13] = [
    "gossip",
    "replicate",
    "replicated",
    "forward_put",
    "forward_put_reply",
    "client",
    "client_reply",
    "admin",
    "admin_reply",
    "refused",
    "feedback",
    "fact",
    "timeout",
];
/// Where a timeout is in [`KINDS`].
pub(crate) const TIMEOUT: usize = 12;

/// An actor's counters.
pub(crate) struct Meter {
    messages: [Counter; KINDS.len()],
    tally: [u64; KINDS.len()],
    handled: u32,
    handle_seconds: Histogram,
    drain_seconds: Histogram,
    restarts: [(Cause, Counter); Cause::ALL.len()],
}

impl Meter {
    /// The metrics of the actors of this name.
    pub(crate) fn new(actor: &str) -> Meter {
        let actor = actor.to_owned();
        let messages = KINDS
            .map(|kind| metrics::counter!("anser_actor_messages_total", "actor" => actor.clone(), "message" => kind));
        let restarts = Cause::ALL.map(|cause| {
            let labels = [("actor", actor.clone()), ("cause", cause.name().to_owned())];
            (cause, metrics::counter!("anser_actor_restarts_total", &labels))
        });
        for counter in messages.iter().chain(restarts.iter().map(|(_, counter)| counter)) {
            counter.increment(0);
        }
        let handle_seconds = metrics::histogram!("anser_actor_handle_seconds", "actor" => actor.clone());
        let drain_seconds = metrics::histogram!("anser_actor_drain_seconds", "actor" => actor);
        Meter { messages, tally: [0; KINDS.len()], handled: 0, handle_seconds, drain_seconds, restarts }
    }

    /// Notes an event.
    pub(crate) fn note(&mut self, kind: usize) {
        if let Some(tally) = self.tally.get_mut(kind) {
            *tally += 1;
            self.handled += 1;
        }
    }

    /// Adds up what a drain noted.
    pub(crate) fn drained(&mut self, took: Duration) {
        if self.handled == 0 {
            return;
        }
        self.drain_seconds.record(took.as_secs_f64());
        self.handle_seconds.record(took.as_secs_f64() / f64::from(self.handled));
        self.handled = 0;
        for (tally, counter) in self.tally.iter_mut().zip(&self.messages) {
            if *tally > 0 {
                counter.increment(*tally);
                *tally = 0;
            }
        }
    }

    /// Counts a rebuild.
    pub(crate) fn restarted(&self, why: Cause) {
        for (cause, counter) in &self.restarts {
            if *cause == why {
                counter.increment(1);
            }
        }
    }
}

/// Where an event is in [`KINDS`].
pub(crate) fn kind(event: &Event) -> usize {
    match event {
        Event::Message(envelope) => match &envelope.body {
            Body::Gossip(_) => 0,
            Body::Replicate(_) => 1,
            Body::Replicated(_) => 2,
            Body::ForwardPut(_) => 3,
            Body::ForwardPutReply(_) => 4,
            Body::Client(_) => 5,
            Body::ClientReply(_) => 6,
            Body::Admin(_) => 7,
            Body::AdminReply(_) => 8,
            Body::Refused(_) => 9,
        },
        Event::Own(_) => 10,
        Event::Fact(_) => 11,
    }
}

/// One actor's share of the gauges of its name. Shares add up, so that several actors of one name tell the truth together.
pub(crate) struct Gauges {
    depth: (Gauge, u64),
    up: (Gauge, u64),
}

impl Gauges {
    /// A share of nothing yet.
    pub(crate) fn new(actor: &str) -> Gauges {
        let actor = actor.to_owned();
        let depth = metrics::gauge!("anser_actor_mailbox_depth", "actor" => actor.clone());
        let up = metrics::gauge!("anser_actor_up", "actor" => actor);
        depth.increment(0.0);
        up.increment(0.0);
        Gauges { depth: (depth, 0), up: (up, 0) }
    }

    /// Brings the share up to date.
    pub(crate) fn set(&mut self, depth: u64, up: bool) {
        for ((gauge, shown), value) in [(&mut self.depth, depth), (&mut self.up, u64::from(up))] {
            // Both are small counts, which f64 holds exactly.
            if value > *shown {
                gauge.increment((value - *shown) as f64);
            } else if value < *shown {
                gauge.decrement((*shown - value) as f64);
            }
            *shown = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_machine::{Fact, Feedback};
    use anser_proto::Refusal;
    use metrics::{Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use std::sync::Mutex;

    /// Writes down what is registered.
    #[derive(Default)]
    struct Registry(Mutex<Vec<String>>);

    impl Registry {
        fn note(&self, key: &Key) {
            let labels: Vec<String> = key.labels().map(|label| label.value().to_owned()).collect();
            self.0.lock().expect("a registry").push(format!("{} {}", key.name(), labels.join(" ")));
        }
    }

    impl Recorder for Registry {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            self.note(key);
            Counter::noop()
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            self.note(key);
            Gauge::noop()
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            self.note(key);
            Histogram::noop()
        }
    }

    #[test]
    fn every_label_exists_from_the_start() {
        let registry = Registry::default();
        metrics::with_local_recorder(&registry, || {
            let _ = (Meter::new("replica"), Gauges::new("replica"));
        });
        let mut expected: Vec<String> =
            KINDS.iter().map(|kind| format!("anser_actor_messages_total replica {kind}")).collect();
        for cause in ["panic", "build", "effects"] {
            expected.push(format!("anser_actor_restarts_total replica {cause}"));
        }
        for name in [
            "anser_actor_handle_seconds",
            "anser_actor_drain_seconds",
            "anser_actor_mailbox_depth",
            "anser_actor_up",
        ] {
            expected.push(format!("{name} replica"));
        }
        assert_eq!(registry.0.into_inner().expect("a registry"), expected);
    }

    #[test]
    fn kinds_are_named_as_their_messages() {
        let refused = Body::Refused(Refusal::Busy);
        let events = [
            (Event::Message(crate::tests::message(1, refused.clone())), refused.name()),
            (Event::Own(Feedback::DiskFailed), "feedback"),
            (Event::Fact(Fact::ShardChanged { shard: 0, serving: true }), "fact"),
        ];
        for (event, name) in events {
            assert_eq!(KINDS[kind(&event)], name);
        }
        let request = crate::tests::ask(1, "x");
        let name = request.body.name();
        assert_eq!(KINDS[kind(&Event::Message(request))], name);
        assert_eq!(KINDS[TIMEOUT], "timeout");
    }
}
