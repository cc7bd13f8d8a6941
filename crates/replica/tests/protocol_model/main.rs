//! The protocol of the state tier, small enough to look at every run of it.
//!
//! One call, two engines, two replicas, and at most one each of: an engine that dies, a replica
//! that dies, a lease that ends too early, a view change (rightly or wrongly proposed). Words
//! between them may overtake each other and may never arrive. The checker visits every state and
//! holds the properties against each; planted faults show that it would find one.
//!
//! This is a model of the rules, not of the code in `replica`: batches, timers and other sites are
//! not in it, and neither is a joining replica.

mod engine;
mod member;
mod model;
mod properties;
mod words;

use stateright::{Checker, HasDiscoveries, Model};

use crate::model::{May, Protocol, Rule};
use crate::words::Place;
/// The engine whose inputs may begin the call; the other's are in-dialog.
const BEGINNER: Place = 0;

/// Nothing goes wrong.
const CALM: May = May { engine_die: false, member_die: false, lease_end: false, remove: false };

/// Visits every state of engines that get so many `inputs` and of faults that `may` happen once.
///
/// They are at least `states_min`: a model that quietly stopped moving fails. All faults at once
/// make more states than a build can visit each time, so each test names a few.
fn check(inputs: [u8; 2], may: May, states_min: usize) -> impl Checker<Protocol> {
    let checker = Protocol::sound(inputs, may).checker().threads(2).spawn_bfs().join();
    let broken: Vec<_> = checker
        .discoveries()
        .into_iter()
        .filter(|(name, _)| properties::is_law(name))
        .map(|(name, path)| (name, path.into_actions()))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(checker.is_done());
    let states = checker.unique_state_count();
    assert!(states >= states_min, "only {states} states were visited");
    checker
}

#[test]
fn turns_follow_one_another() {
    check([2, 2], CALM, 5_000);
}

#[test]
fn an_engine_dies() {
    check([2, 1], May { engine_die: true, ..CALM }, 30_000);
}

#[test]
fn an_engine_dies_and_a_lease_ends_early() {
    check([1, 1], May { engine_die: true, lease_end: true, ..CALM }, 100_000);
}

#[test]
fn a_replica_dies_or_is_only_taken_for_dead() {
    check([2, 1], May { member_die: true, remove: true, ..CALM }, 150_000);
}

#[test]
fn an_engine_and_a_replica_die() {
    let may = May { engine_die: true, member_die: true, remove: true, ..CALM };
    check([1, 1], may, 100_000);
}

#[test]
fn a_lease_ends_early_while_a_replica_is_removed() {
    let may = May { lease_end: true, member_die: true, remove: true, ..CALM };
    // Every case that the protocol is there for does come up.
    check([1, 1], may, 400_000).assert_properties();
}

/// The checker finds `broken` when the protocol goes without `rule`.
fn check_that_it_is_missed(rule: Rule, may: May, broken: &'static str) {
    let found = HasDiscoveries::AnyOf([broken].into());
    let protocol = Protocol::sound([1, 1], may).without(rule);
    let checker = protocol.checker().threads(2).finish_when(found).spawn_bfs().join();
    assert!(checker.discovery(broken).is_some(), "nobody misses {rule:?}");
}

#[test]
fn a_put_under_an_old_token_would_be_noticed() {
    let may = May { lease_end: true, ..CALM };
    check_that_it_is_missed(Rule::OldTokensAreRefused, may, properties::FITTING_BASE);
}

#[test]
fn a_broken_lock_without_a_fence_would_be_noticed() {
    let may = May { lease_end: true, ..CALM };
    check_that_it_is_missed(Rule::BrokenLocksAreFenced, may, properties::FITTING_BASE);
}

#[test]
fn an_unconfirmed_read_would_be_noticed() {
    let may = May { remove: true, ..CALM };
    check_that_it_is_missed(Rule::ReadsAreConfirmed, may, properties::TRUE_READS);
}

#[test]
fn a_confirmation_of_an_old_view_would_be_noticed() {
    let may = May { remove: true, ..CALM };
    check_that_it_is_missed(Rule::OldViewsAreRefused, may, properties::TRUE_READS);
}

#[test]
fn a_put_that_counts_at_its_first_member_would_be_noticed() {
    check_that_it_is_missed(Rule::PutsReachAll, CALM, properties::STORED_FIRST);
}

#[test]
fn a_forgotten_resume_would_be_noticed() {
    let may = May { engine_die: true, ..CALM };
    check_that_it_is_missed(Rule::UnreleasedIsResumed, may, properties::RESUMED);
}

#[test]
fn a_grant_that_does_not_tell_its_view_would_be_noticed() {
    let may = May { remove: true, lease_end: true, ..CALM };
    check_that_it_is_missed(Rule::GrantsTellTheirView, may, properties::ONE_HOLDER);
}
