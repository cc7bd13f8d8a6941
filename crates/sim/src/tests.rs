//! The simulator's own promises: the same seed is the same run, and a planted bug is found.

use crate::{Planted, run, tier};

#[test]
fn two_runs_of_one_seed_are_the_same() {
    for seed in 0..6 {
        let (one, two) = (run(seed, false, None), run(seed, true, None));
        assert_eq!(one.trace.hash(), two.trace.hash(), "seed {seed}");
    }
}

#[test]
fn two_seeds_are_two_runs() {
    assert_ne!(run(1, false, None).trace.hash(), run(2, false, None).trace.hash());
}

#[test]
fn a_few_seeds_hold_every_invariant() {
    for seed in 0..20 {
        let outcome = run(seed, false, None);
        assert!(
            outcome.violation.is_none(),
            "{:?}\nreplay: cargo xtask sim --replay {seed}",
            outcome.violation
        );
    }
}

#[test]
fn two_runs_of_one_seed_of_the_tier_are_the_same() {
    for seed in 0..6 {
        let (one, two) = (tier::run(seed, false, None), tier::run(seed, true, None));
        assert_eq!(one.trace.hash(), two.trace.hash(), "seed {seed}");
        let other = tier::run(seed + 6, false, None);
        assert_ne!(one.trace.hash(), other.trace.hash(), "seeds {seed} and {}", seed + 6);
    }
}

#[test]
fn a_few_seeds_of_the_tier_hold_every_invariant() {
    for seed in 0..12 {
        let outcome = tier::run(seed, false, None);
        assert!(
            outcome.violation.is_none(),
            "{:?}\nreplay: cargo xtask sim --world tier --replay {seed}",
            outcome.violation
        );
    }
}

#[test]
fn every_planted_bug_has_its_own_name() {
    for planted in Planted::ALL {
        assert_eq!(Planted::by_name(planted.name()), Some(planted));
    }
    assert_eq!(Planted::by_name("none-of-them"), None);
}

#[test]
fn two_runs_of_one_seed_of_two_wide_sites_are_the_same() {
    for seed in 0..4 {
        let (one, two) = (tier::run_wide(seed, false, None), tier::run_wide(seed, true, None));
        assert_eq!(one.trace.hash(), two.trace.hash(), "seed {seed}");
    }
}

#[test]
fn a_few_seeds_of_two_wide_sites_hold_every_invariant() {
    for seed in 0..12 {
        let outcome = tier::run_wide(seed, false, None);
        assert!(
            outcome.violation.is_none(),
            "{:?}\nreplay: cargo xtask sim --world wide --replay {seed}",
            outcome.violation
        );
    }
}

/// Plays a scene with a few seeds.
fn scene(name: &str, seeds: u64) -> Vec<tier::WideOutcome> {
    let scene = tier::SCENES.iter().find(|(one, _)| *one == name).expect("there is such a scene");
    let played = (0..seeds).map(|seed| {
        let outcome = scene.1(seed, false);
        assert!(
            outcome.violation.is_none(),
            "{:?}\nreplay: cargo xtask sim --scenario {name} --replay {seed}",
            outcome.violation
        );
        outcome
    });
    played.collect()
}

#[test]
fn d26_d38_both_sites_take_over_and_each_call_is_one_again() {
    // Both put versions of the same numbers, made from one copy: the higher epoch stays.
    let split: Vec<usize> =
        scene("d38_both_sites_take_over", 4).iter().map(|outcome| outcome.split).collect();
    assert!(split.iter().all(|split| *split > 0), "{split:?}");
}

#[test]
fn d27_what_gathers_in_an_hour_without_a_link_crosses_soon_after() {
    for outcome in scene("d27_sites_cut_apart_for_an_hour", 2) {
        let (marks, took) = outcome.drained.expect("the scene says");
        assert!(marks > 0 && took.as_secs() < 360, "{marks} marks in {took:?}");
        assert!(outcome.survivors > 0, "calls lived at the site that was lost then");
    }
}

#[test]
fn d31_two_engines_wake_a_call_once() {
    scene("d31_two_engines_wake_one_call", 4);
}

#[test]
fn d34_d35_a_home_that_is_alive_answers_what_goes_astray() {
    scene("d34_calls_go_astray", 4);
}

#[test]
fn d40_no_clock_is_shared_by_two_processes() {
    scene("d40_no_clock_is_shared", 4);
}

#[test]
fn d41_one_clock_that_runs_twice_too_fast_loses_nothing() {
    scene("d41_one_clock_runs_twice_too_fast", 8);
}
