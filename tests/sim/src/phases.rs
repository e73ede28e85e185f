//! A run: the cluster is founded, suffers faults (safety is judged all along), is healed, and must then agree and answer in
//! bounded virtual time. At the end the books are checked.

use crate::clients::{Given, What, Wish};
use crate::coverage::Situation;
use crate::invariants::{
    acked_write_survives, nothing_is_left_over, old_folders_are_known, replicas_agree, views_agree,
};
use crate::profile::Profile;
use crate::schedule::{MS, SECOND};
use crate::truth::Folder;
use crate::verdicts::{Invariant, Violation};
use crate::world::World;
use crate::world::cell::Actor;
use crate::{Options, Report};
use anser_model::Level;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A founding takes no longer.
const FOUNDING_US: u64 = 10 * SECOND;
/// After the faults are over, the nodes' views agree within this.
const AGREEMENT_US: u64 = 40 * SECOND;
/// And all copies are refilled within this: two of a partition's that are lost leave each other out after 90 s only.
const REFILL_US: u64 = 130 * SECOND;
/// An operation on a healed cluster takes no longer.
const HEALED_TIMEOUT_US: u64 = 4 * SECOND;

/// Runs one seed.
pub fn run(seed: u64, profile: &Profile, options: &Options) -> Report {
    let mut world = World::new(seed, profile.with(options), options.clone());
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(panic) = ran {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        world.judge(Invariant::MachinesDontPanic, Err(said.unwrap_or_default()));
    } else {
        world.judge(Invariant::MachinesDontPanic, Ok(()));
    }
    world.report()
}

impl World {
    fn run(&mut self) {
        let phases: [fn(&mut World); 5] =
            [World::found_cluster, World::suffer, World::recover, World::answer_all, World::check_books];
        for phase in phases {
            phase(self);
            if self.verdicts.broken().is_some() {
                return;
            }
        }
    }

    /// Starts all processes, and founds the cluster at each.
    pub(crate) fn found_cluster(&mut self) {
        for n in 0..self.nodes.len() {
            self.start_after(n, 1 + n as u64 * MS);
        }
        let (loss, late) = (self.network.loss, self.network.late);
        (self.network.loss, self.network.late) = (0, 0);
        let founded = self.wait_for(FOUNDING_US, |world| {
            world.founded.iter().all(|founded| *founded) && world.views().is_ok()
        });
        self.judge(Invariant::ViewsAgree, founded);
        (self.network.loss, self.network.late) = (loss, late);
    }

    fn suffer(&mut self) {
        self.plan_faults();
        for c in 0..self.clients.len() {
            self.begin(c);
        }
        self.check_leaves();
        self.suffer_until = self.now() + self.profile.faults_ms * MS;
        while self.now() < self.suffer_until && self.verdicts.broken().is_none() {
            self.run_until(self.suffer_until);
        }
    }

    fn recover(&mut self) {
        let at = self.now();
        self.journal.line(at, || "the faults are over".to_owned());
        self.heal();
        // What has stopped by then is an operator's to start again, or to set aside.
        self.run_until(self.now() + 3 * SECOND);
        for n in 0..self.nodes.len() {
            self.restart_if_stopped(n);
        }
        self.run_until(self.now() + SECOND);
        let agreed = self.wait_for(AGREEMENT_US, |world| world.views().is_ok() && world.all_serve());
        let agreed = agreed.and_then(|()| self.views());
        self.judge(Invariant::ViewsAgree, agreed);
        self.await_old_folders();
        self.await_refilled();
        self.replace_damaged();
        for client in &mut self.clients {
            client.stopping = true;
        }
        let idle = self.wait_for(10 * SECOND, |world| world.clients.iter().all(|client| client.is_idle()));
        self.judge(Invariant::HealedClusterAnswers, idle);
        self.check_leaves();
    }

    fn await_old_folders(&mut self) {
        let put_back = |world: &World| -> Vec<usize> {
            (0..world.nodes.len()).filter(|n| world.nodes[*n].put_back).collect()
        };
        // In time or not: what is left is judged.
        let _late = self.wait_for(AGREEMENT_US, |world| put_back(world).is_empty());
        let result = old_folders_are_known::check_end(&put_back(self));
        self.judge(Invariant::OldFoldersAreKnown, result);
    }

    fn await_refilled(&mut self) {
        let refilled = self.wait_for(REFILL_US, World::all_are_refilled);
        let refilled = refilled.map_err(|late| format!("{late}: {}", self.not_refilled()));
        self.judge(Invariant::LostCopiesAreRefilled, refilled);
    }

    /// Damage that nobody has met yet: the operator replaces the disk, and the node is refilled.
    fn replace_damaged(&mut self) {
        self.settle_folders();
        for n in 0..self.nodes.len() {
            if self.truth.folders[n] == Folder::Damaged && self.verdicts.broken().is_none() {
                self.kill(n, false);
                self.lose_folder(n);
                self.start_after(n, MS);
                self.run_until(self.now() + SECOND);
                self.await_refilled();
            }
        }
    }

    /// Every key is read from all replicas, which repairs them: they must agree. Then it is written, as if the
    /// first answer were lost, and read again.
    fn answer_all(&mut self) {
        let slots = 0..self.truth.slots.len();
        let gets: Vec<Wish> = slots.map(|slot| self.get_of_all(slot)).collect();
        let put = |get: Wish| Wish { what: What::Put(Given::Token), level: None, again: true, ..get };
        self.do_all(gets.clone());
        self.check_replicas();
        self.do_all(gets.into_iter().flat_map(|get| [put(get), get]).collect());
    }

    fn get_of_all(&self, slot: usize) -> Wish {
        Wish {
            slot,
            what: What::Get,
            level: Some(Level::All),
            timeout_us: HEALED_TIMEOUT_US,
            must: true,
            once: false,
            corrected: false,
            again: false,
        }
    }

    /// A client does all of this, in bounded time; then the last repairs arrive.
    fn do_all(&mut self, wishes: Vec<Wish>) {
        let bound = 2 * HEALED_TIMEOUT_US * (wishes.len() as u64 + 1);
        self.clients[0].script.extend(wishes);
        self.begin(0);
        let answered = self.wait_for(bound, |world| world.clients[0].is_idle());
        self.judge(Invariant::HealedClusterAnswers, answered);
        self.run_until(self.now() + SECOND);
    }

    fn check_replicas(&mut self) {
        for slot in 0..self.truth.slots.len() {
            let result = replicas_agree::check(&self.truth, slot);
            self.judge(Invariant::ReplicasAgree, result);
        }
        self.check_leaves();
        self.check_roots();
    }

    fn check_books(&mut self) {
        for slot in 0..self.truth.slots.len() {
            let result = acked_write_survives::check(&self.truth, slot, &self.truth.merged(slot));
            self.judge(Invariant::AckedWriteSurvives, result);
        }
        self.check_replicas();
        for n in 0..self.nodes.len() {
            let now = self.nodes[n].tick(self.now());
            for actor in 0..self.nodes[n].cells.len() {
                let cell = &mut self.nodes[n].cells[actor];
                cell.expire(now);
                let operations = match &cell.actor {
                    Some(Actor::Coordinator(machine)) => machine.inflight(),
                    Some(Actor::Membership(_) | Actor::Replica(_) | Actor::Compactor(_)) | None => 0,
                };
                let result = nothing_is_left_over::check(
                    &format!("actor {actor} of node {n}"),
                    operations,
                    cell.requests(),
                );
                self.judge(Invariant::NothingIsLeftOver, result);
            }
        }
    }

    fn views(&self) -> Result<(), String> {
        let views: Vec<_> = self.nodes.iter().map(|node| (node.id(), node.view.clone())).collect();
        views_agree::check(&views)
    }

    fn all_serve(&self) -> bool {
        self.nodes.iter().all(|node| node.up && node.serving.values().all(|serving| *serving))
    }

    /// Lets time pass until something is so. `Err` if it is not within the bound.
    fn wait_for(&mut self, within: u64, is_so: impl Fn(&World) -> bool) -> Result<(), String> {
        let end = self.now() + within;
        while !is_so(self) {
            if self.now() >= end || self.verdicts.broken().is_some() {
                return Err(format!("not within {} s", within / SECOND));
            }
            self.run_until((self.now() + 100 * MS).min(end));
        }
        Ok(())
    }

    fn report(self) -> Report {
        let violation: Option<Violation> = self.verdicts.broken().cloned();
        Report {
            seed: self.seed,
            profile: self.profile.name,
            hash: self.journal.hash(),
            events: self.journal.events(),
            virtual_us: self.schedule.now(),
            faults: self.coverage.injected().collect(),
            checks: self.verdicts.evaluated().collect(),
            met: self.coverage.met().collect(),
            occurred: self.faults.occurred,
            violation,
            lines: self.journal.into_lines(),
        }
    }
}

/// Every situation that a run may meet, by name.
pub fn situations() -> impl Iterator<Item = &'static str> {
    Situation::ALL.iter().map(|situation| situation.name())
}
