//! A twin: a second machine, made as the first one was and given the same events, whose timeouts are called early and twice
//! besides.
//!
//! Keeps, exactly: a call before a timeout is due has no effect, and moves no timeout. A call when it is due moves the next
//! one past that moment, or there is none any more, so that no host can spin. A second call at once is as an early one. So
//! whatever else happens, both machines do the same, and want to be woken at the same times.
//!
//! Calls in vain are given the wall clock as the sibling knew it last. A machine that stamps what it says follows the wall
//! clock whenever it is called, in vain or not; if that clock goes back later, the stamps tell, and may.

use anser_machine::{Event, Machine, Now, Outbox};
use anser_proto::Tick;

/// See the module.
pub struct Twin {
    machine: Box<dyn Machine>,
    /// When it was stepped last.
    last: Now,
}

impl Twin {
    /// The twin of a machine that has not been stepped yet.
    pub fn new(machine: Box<dyn Machine>) -> Twin {
        Twin { machine, last: Now::default() }
    }

    /// Follows its sibling through one step: an event, if there is one, then a timeout, if one is due. `early` are moments;
    /// those between its last step and this one, at which nothing is due, are tried. `said` is what the sibling did, `next`
    /// when it wants to be woken. `Err` says in what they differ.
    pub fn follow(
        &mut self,
        now: Now,
        event: Option<Event>,
        early: &[Tick],
        said: &Outbox,
        next: Option<(Tick, &'static str)>,
    ) -> Result<(), String> {
        let last = self.last;
        for tick in early.iter().filter(|tick| (last.tick..now.tick).contains(*tick)) {
            self.call_in_vain(Now { tick: *tick, ..last }, "early")?;
        }
        if event.is_none() && self.due(now).is_none() {
            // Its host was woken too early, and left the sibling alone.
            return self.call_in_vain(Now { tick: now.tick, ..last }, "early");
        }
        self.last = now;
        let mut out = Outbox::new();
        if let Some(event) = event {
            self.machine.handle(now, event, &mut out);
        }
        if let Some((due, why)) = self.due(now) {
            self.machine.handle_timeout(now, &mut out);
            if let Some((due_again, why_again)) = self.due(now) {
                return Err(format!("a timeout is stuck: {due:?} ({why}), then {due_again:?} ({why_again})"));
            }
        }
        self.call_in_vain(now, "a second time")?;
        let (its, own) = (format!("{:?}", said), format!("{out:?}"));
        if its != own {
            return Err(format!("its twin, called early and twice, did {own} instead of {its}"));
        }
        let own = self.machine.next_timeout();
        if own == next {
            Ok(())
        } else {
            Err(format!("its twin wants to be woken at {own:?} instead of {next:?}"))
        }
    }

    /// The timeout that is due.
    fn due(&self, now: Now) -> Option<(Tick, &'static str)> {
        self.machine.next_timeout().filter(|(at, _)| *at <= now.tick)
    }

    /// Calls a timeout that is not due: nothing may come of it.
    fn call_in_vain(&mut self, now: Now, how: &str) -> Result<(), String> {
        if self.due(now).is_some() {
            return Ok(());
        }
        let (before, mut out) = (self.machine.next_timeout(), Outbox::new());
        self.machine.handle_timeout(now, &mut out);
        let after = self.machine.next_timeout();
        if !out.is_empty() {
            return Err(format!("a timeout called {how} at {:?}, due at {before:?}, did {out:?}", now.tick));
        }
        if before != after {
            return Err(format!(
                "a timeout called {how} at {:?} moved from {before:?} to {after:?}",
                now.tick
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_machine::Fact;
    use anser_model::NodeId;

    /// Wakes every ten ticks, and has a fault.
    struct Clock {
        next: u64,
        looks: bool,
        moves: u64,
    }

    fn fact() -> Fact {
        Fact::PeerSeen { node: NodeId([1; 16]), address: ([127, 0, 0, 1], 1).into() }
    }

    impl Machine for Clock {
        fn handle(&mut self, _: Now, _: Event, _: &mut Outbox) {}

        fn next_timeout(&self) -> Option<(Tick, &'static str)> {
            Some((Tick(self.next), "tick"))
        }

        fn handle_timeout(&mut self, now: Now, out: &mut Outbox) {
            if !self.looks || now.tick.0 >= self.next {
                self.next += self.moves;
                out.publish(fact());
            }
        }
    }

    /// What a twin says of 20 ticks of a clock.
    fn faults(looks: bool, moves: u64) -> Option<String> {
        let clock = || Clock { next: 10, looks, moves };
        let (mut plain, mut twin) = (clock(), Twin::new(Box::new(clock())));
        for at in [10, 20] {
            let (now, mut out) = (Now { tick: Tick(at), wall_ms: 0 }, Outbox::new());
            plain.handle_timeout(now, &mut out);
            let next = plain.next_timeout();
            if let Err(fault) = twin.follow(now, None, &[Tick(at - 5), Tick(at - 1), Tick(at)], &out, next) {
                return Some(fault);
            }
        }
        None
    }

    #[test]
    fn faults_are_noticed() {
        assert_eq!(faults(true, 10), None);
        assert!(faults(false, 10).is_some_and(|fault| fault.contains("called early")));
        assert!(faults(true, 0).is_some_and(|fault| fault.contains("stuck")));
    }
}
