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
