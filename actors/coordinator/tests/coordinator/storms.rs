//! No promise is broken in any weather: acknowledged writes are durable and read, receipts are true, what failed never
//! happened, a retry makes no second version, strict reads don't go back, everything is answered once and in time.

use crate::weather::{OPERATIONS, Weather, World};
use std::collections::BTreeMap;

const FINE: Weather = Weather { lost: 0, doubled: 0, busy: 0, crash: 0, death: 0 };
const STORM: Weather = Weather { lost: 20, doubled: 30, busy: 30, crash: 4, death: 6 };

/// Copies that crash and refuse, so that attempts end in every way.
const ERUPTION: Weather = Weather { lost: 0, doubled: 0, busy: 400, crash: 60, death: 0 };

fn weather(seed: u64, weather: Weather) -> BTreeMap<&'static str, u32> {
    let mut world = World::new(seed, weather);
    world.run();
    world.check_end();
    world.tally
}

#[test]
fn in_fine_weather_everything_is_answered_well() {
    for seed in 0..5 {
        let tally = weather(seed, FINE);
        let well = tally["put"] + tally["got"];
        assert_eq!(u64::from(well), OPERATIONS, "seed {seed}: {tally:?}");
    }
}

/// Runs many seeds and adds up what happened.
fn seeds(count: u64, conditions: Weather) -> BTreeMap<&'static str, u32> {
    let mut all: BTreeMap<&'static str, u32> = BTreeMap::new();
    for seed in 0..count {
        let result = std::panic::catch_unwind(|| weather(seed, conditions));
        let tally = result.unwrap_or_else(|_| panic!("with seed {seed}"));
        for (what, count) in tally {
            *all.entry(what).or_default() += count;
        }
    }
    for what in ["put", "got", "failed", "crashes"] {
        assert!(all.contains_key(what), "no {what}: {all:?}");
    }
    all
}

#[test]
fn in_a_storm_no_promise_is_broken() {
    let all = seeds(40, STORM);
    assert!(all["put"] + all["got"] > 40 * 300, "most went well all the same: {all:?}");
}

#[test]
fn what_failed_never_happened_though_copies_crash_and_refuse() {
    seeds(40, ERUPTION);
}
