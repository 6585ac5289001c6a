//! Thousands of schedules through the simulated world. `BARNABAS_SIMULATIONS` sets how many for each temper,
//! `BARNABAS_SIMULATION_SEED` runs a single one and prints its trace.

use std::panic::catch_unwind;

use super::world::{Temper, World};

/// Schedules for each temper: what two cores do in some ten seconds without optimisation.
const SCHEDULES: u64 = 5_000;
/// Of so many schedules, one is run twice to see whether it is the same.
const SAMPLE: usize = 50;

#[test]
fn clean_hand_overs_lose_nothing_and_repeat_nothing() {
    run_all(Temper::Gentle);
}

#[test]
fn crashes_lose_nothing_and_repeat_only_what_was_open_or_not_committed() {
    run_all(Temper::Rough);
}

#[test]
fn the_same_seed_gives_the_same_actions() {
    for seed in seeds().step_by(SAMPLE) {
        for temper in [Temper::Gentle, Temper::Rough] {
            let traces = [World::run(seed, temper), World::run(seed, temper)];
            assert_eq!(traces[0], traces[1], "{temper:?} seed {seed}");
        }
    }
}

fn run_all(temper: Temper) {
    for seed in seeds() {
        if catch_unwind(|| World::run(seed, temper)).is_err() {
            World::watch();
            let again = catch_unwind(|| World::run(seed, temper));
            let trace = World::trace();
            panic!("{trace}{temper:?} seed {seed}: {}", what_failed(again));
        }
    }
}

fn what_failed(run: std::thread::Result<u64>) -> String {
    let Err(fault) = run else { return "not again".to_owned() };
    let text = fault.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| fault.downcast_ref::<&str>().copied()).unwrap_or("?").to_owned()
}

fn seeds() -> std::ops::Range<u64> {
    if let Some(seed) = number_in("BARNABAS_SIMULATION_SEED") {
        return seed..seed + 1;
    }
    0..number_in("BARNABAS_SIMULATIONS").unwrap_or(SCHEDULES)
}

fn number_in(variable: &str) -> Option<u64> {
    std::env::var_os(variable)?.to_str()?.parse().ok()
}
