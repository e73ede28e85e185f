//! Whole clusters in virtual time: some seeds of every profile, each twice with one outcome; and the seeds that found bugs.
//!
//! `cargo sim` runs more of them, faster; so does the gate.

use anser_sim::{Options, PROFILES, Profile, Report, profile, run};

/// Seeds of each profile.
const SEEDS: std::ops::Range<u64> = 1000..1003;
/// Milliseconds of faults in each: shorter than usual, since these runs are not optimised.
const FAULTS_MS: u64 = 4_000;

fn passes(report: &Report) {
    let (seed, name) = (report.seed, report.profile);
    if let Some(violation) = &report.violation {
        panic!("seed {seed} of profile {name}: {violation:?}");
    }
}

fn twice_each(profile: &Profile) {
    for seed in SEEDS {
        let first = run(seed, profile, &Options::default());
        passes(&first);
        let again = run(seed, profile, &Options::default());
        assert_eq!((first.hash, first.events), (again.hash, again.events), "seed {seed} of {}", profile.name);
    }
}

#[test]
fn seeds_of_every_profile_pass_and_each_has_one_outcome() {
    std::thread::scope(|scope| {
        for profile in PROFILES {
            scope.spawn(|| twice_each(&profile.lasting_ms(FAULTS_MS)));
        }
    });
}

#[test]
fn a_log_changes_nothing() {
    let profile = profile("faults").expect("it is there").lasting_ms(1_000);
    let silent = run(7, &profile, &Options::default());
    let logged = run(7, &profile, &Options { log: true, ..Options::default() });
    assert_eq!(silent.hash, logged.hash);
    assert!(silent.lines.is_empty() && logged.lines.len() > 100);
}

#[test]
fn timeouts_that_come_early_or_twice_change_nothing() {
    let eager = Options { eager_timers: true, ..Options::default() };
    std::thread::scope(|scope| {
        for profile in PROFILES {
            let profile = profile.lasting_ms(FAULTS_MS / 2);
            scope.spawn({
                let eager = eager.clone();
                move || {
                    let (plain, twinned) =
                        (run(2000, &profile, &Options::default()), run(2000, &profile, &eager));
                    passes(&twinned);
                    assert_eq!(plain.hash, twinned.hash, "{}", profile.name);
                    let judged = twinned.checks.iter().find(|(name, _)| *name == "timeouts_are_harmless");
                    assert!(judged.is_some_and(|(_, times)| *times > 1_000), "{judged:?}");
                }
            });
        }
    });
}

#[test]
fn disks_that_lie_about_syncing_are_found_out() {
    let profile = profile("disks").expect("it is there").lasting_ms(FAULTS_MS);
    let options = Options { lying_disks: true, ..Options::default() };
    let broken = |seed| run(seed, &profile, &options).violation.is_some();
    assert!((0..10).any(broken), "no seed noticed");
}

/// Runs seeds that once found a bug.
fn found_once(seeds: &[(u64, &str)]) {
    for (seed, name) in seeds {
        passes(&run(*seed, &profile(name).expect("it is there"), &Options::default()));
    }
}

/// A receipt's token that could not carry the dot of its write named it by its request id alone. A copy with a full memory
/// forgot that at once when the writer's clock had gone back, or the token brought more ids than are remembered: the write
/// came back beside the one that had settled it.
#[test]
fn what_a_receipt_settles_stays_settled() {
    found_once(&[(198, "churn"), (288, "churn"), (226, "two_dcs"), (427, "faults")]);
}

/// Two writes without a context, each minted twice in the other order, settled each other: both were gone.
#[test]
fn two_writes_minted_in_both_orders_are_not_both_gone() {
    found_once(&[(27, "faults"), (48, "faults"), (178, "faults"), (23, "churn"), (27, "churn")]);
}

/// The simulator's own mistake: a copy that lost a write while its acknowledgement was on the way was held against a later
/// read, though fewer than a majority had acknowledged.
#[test]
fn what_is_lost_while_its_acknowledgement_is_on_the_way_is_no_promise() {
    found_once(&[(676, "losses")]);
}
