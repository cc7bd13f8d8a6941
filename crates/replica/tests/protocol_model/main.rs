//! The protocol of the state tier, small enough to look at every run of it.
//!
//! One call, two engines, three replicas, and views that change by compare-and-set: replicas join,
//! are removed, rightly or not, die and come back; engines die; leases end too early. The checker
//! visits every state and holds the properties against each; rules left out show that it would
//! find one that is missing.
//!
//! A pause needs no action of its own: whoever is paused takes no step for a while, which every
//! order of the steps contains, and anybody may take it for dead meanwhile. An answer on its way
//! needs none either: an engine that acts late is the same. What an engine says waits on its link,
//! in order; links overtake each other.
//!
//! This is a model of the rules, not of the code in `replica`: batches, timers and other sites are
//! not in it. `REHOME_TEST_SIZE=full` looks at the larger scenarios too.

mod engine;
mod member;
mod model;
mod planted;
mod properties;
mod store;
mod words;

use stateright::{Checker, Model};

use crate::model::{May, Protocol, Rule};
use crate::store::View;

/// Nothing goes wrong.
const CALM: May = May {
    engine_die: false,
    member_die: false,
    restart: false,
    lease_end: false,
    repairs: 0,
    removes: 0,
    joins: 0,
};

/// A call that has begun; each engine has an input for it.
fn call(members: u8, joining: Option<u8>, may: May) -> Protocol {
    let first = View::first(&[0, 1, 2][..usize::from(members)], joining);
    let (removals, tombs_stay) = (false, true);
    Protocol { without: None, inputs: [1, 1], removals, tombs_stay, first, begun: true, may }
}

/// Visits every state. They are at least `states_min`: a model that quietly stopped moving fails.
/// All faults at once make more states than a build can visit each time, so each test names a few.
fn check(protocol: Protocol, states_min: usize) -> impl Checker<Protocol> {
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    let broken: Vec<_> = checker
        .discoveries()
        .into_iter()
        .filter(|(name, _)| properties::is_law(name))
        .map(|(name, path)| (name, path.into_actions()))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(checker.is_done());
    let states = checker.unique_state_count();
    eprintln!("{states} states, {} steps deep", checker.max_depth());
    assert!(states >= states_min, "only {states} states were visited");
    checker
}

fn check_if_full(protocol: Protocol, states_min: usize) {
    if std::env::var("REHOME_TEST_SIZE").is_ok_and(|size| size == "full") {
        check(protocol, states_min);
    }
}

#[test]
fn a_call_begins_and_its_turns_follow_one_another() {
    let calm = Protocol { inputs: [2, 2], begun: false, ..call(2, None, CALM) };
    check(calm, 1_000);
}

#[test]
fn a_call_begins_while_its_replicas_change() {
    let may = May { removes: 1, ..CALM };
    check(Protocol { inputs: [2, 1], begun: false, ..call(2, None, may) }, 10_000);
}

#[test]
fn an_engine_dies_and_a_lease_ends_early() {
    let may = May { engine_die: true, lease_end: true, repairs: 1, ..CALM };
    check(call(2, None, may), 5_000);
    check(Protocol { inputs: [2, 1], begun: false, ..call(2, None, may) }, 10_000);
}

#[test]
fn an_engine_dies_and_a_lease_ends_early_while_a_replica_is_removed() {
    let may = May { engine_die: true, lease_end: true, removes: 1, repairs: 1, ..CALM };
    // Every case that the protocol is there for does come up.
    check(call(2, None, may), 400_000).assert_properties();
}

#[test]
fn a_replica_dies_or_is_only_taken_for_dead() {
    let may = May { member_die: true, lease_end: true, removes: 1, repairs: 1, ..CALM };
    check(call(2, None, may), 100_000);
}

#[test]
fn a_replica_comes_back_as_another() {
    let may = May { restart: true, removes: 1, joins: 1, ..CALM };
    check(Protocol { inputs: [1, 0], ..call(2, None, may) }, 10_000);
}

#[test]
fn two_of_three_replicas_are_removed() {
    let may = May { removes: 2, ..CALM };
    check(Protocol { inputs: [1, 0], ..call(3, None, may) }, 80_000);
    check_if_full(call(3, None, may), 2_000_000);
}

/// It is no different from a member that has not heard of the view yet.
#[test]
fn a_proposer_speaks_on_in_the_old_view() {
    let speaking = |protocol| Protocol { without: Some(Rule::ProposersAreMute), ..protocol };
    check(
        speaking(Protocol { inputs: [1, 0], ..call(3, None, May { removes: 2, ..CALM }) }),
        90_000,
    );
    let may = May { removes: 1, joins: 1, ..CALM };
    check_if_full(speaking(Protocol { inputs: [1, 0], ..call(2, None, may) }), 400_000);
}

#[test]
fn a_lease_ends_early_while_one_of_three_replicas_is_removed() {
    let may = May { removes: 1, lease_end: true, ..CALM };
    check(Protocol { inputs: [1, 0], ..call(3, None, may) }, 10_000);
    check_if_full(call(3, None, may), 1_000_000);
}

#[test]
fn a_replica_joins() {
    check(call(2, None, May { joins: 1, ..CALM }), 20_000);
}

#[test]
fn a_joiner_is_left_alone_by_its_source() {
    check(call(1, Some(2), May { removes: 1, ..CALM }), 30_000);
    let may = May { removes: 1, lease_end: true, ..CALM };
    check(Protocol { inputs: [1, 0], ..call(1, Some(2), may) }, 50_000);
    check_if_full(call(1, Some(2), may), 1_000_000);
}

#[test]
fn a_replica_is_removed_while_another_joins() {
    let may = May { removes: 1, ..CALM };
    check(Protocol { inputs: [1, 0], ..call(2, Some(2), may) }, 60_000);
    check_if_full(call(2, Some(2), may), 1_000_000);
    let may = May { removes: 1, joins: 1, member_die: true, ..CALM };
    check_if_full(Protocol { inputs: [1, 0], ..call(2, None, may) }, 500_000);
}

#[test]
fn a_call_is_removed_while_a_replica_joins() {
    let removing = |protocol| Protocol { removals: true, tombs_stay: false, ..protocol };
    check(removing(call(2, Some(2), CALM)), 15_000);
    check(removing(call(1, None, May { joins: 1, ..CALM })), 40_000);
    check(removing(call(2, None, May { removes: 1, ..CALM })), 20_000);
}

#[test]
fn a_call_is_removed_after_a_lease_ended_early() {
    let removing = |protocol| Protocol { removals: true, ..protocol };
    let may = May { lease_end: true, ..CALM };
    check(removing(call(2, None, may)), 4_000);
    check_if_full(removing(call(2, None, May { removes: 1, ..may })), 400_000);
}
