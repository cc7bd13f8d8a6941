//! Rules left out, one by one: the checker finds what each is there for.

use stateright::{Checker, HasDiscoveries, Model};

use crate::model::{May, Protocol, Rule};
use crate::properties;
use crate::{CALM, call};

/// Some law is broken when the protocol goes without `rule`.
fn check_that_it_is_missed(rule: Rule, protocol: Protocol) {
    let protocol = Protocol { without: Some(rule), ..protocol };
    let checker =
        protocol.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discoveries().into_keys().any(properties::is_law);
    assert!(found, "nobody misses {rule:?}");
}

const REMOVE: May = May { removes: 1, ..CALM };
const LEASE: May = May { lease_end: true, ..CALM };

fn removing(protocol: Protocol) -> Protocol {
    Protocol { removals: true, ..protocol }
}

#[test]
fn a_put_under_an_old_token_would_be_noticed() {
    check_that_it_is_missed(Rule::OldTokensAreRefused, call(2, None, LEASE));
}

#[test]
fn an_answer_in_an_old_view_would_be_noticed() {
    check_that_it_is_missed(Rule::OldViewsAreRefused, call(2, None, REMOVE));
}

#[test]
fn a_token_of_an_old_primary_would_be_noticed() {
    let may = May { removes: 1, lease_end: true, ..CALM };
    check_that_it_is_missed(Rule::ErasAreChecked, call(3, None, may));
}

#[test]
fn a_joiner_that_is_not_complete_would_be_noticed() {
    check_that_it_is_missed(Rule::JoinersAreComplete, call(1, Some(2), CALM));
}

#[test]
fn a_source_that_does_not_know_the_joiner_would_be_noticed() {
    let may = May { joins: 1, ..CALM };
    check_that_it_is_missed(Rule::SourcesHaveAdopted, call(1, None, may));
}

#[test]
fn a_process_taken_for_its_old_self_would_be_noticed() {
    let may = May { restart: true, removes: 1, ..CALM };
    check_that_it_is_missed(Rule::RestartsAreNew, call(2, None, may));
}

#[test]
fn an_unconfirmed_read_would_be_noticed() {
    check_that_it_is_missed(Rule::ReadsAreConfirmed, call(2, None, REMOVE));
}

/// The joiner becomes a member and removes its source, which hears of neither.
#[test]
fn a_read_that_the_joiner_did_not_confirm_would_be_noticed() {
    check_that_it_is_missed(Rule::JoinersConfirm, call(1, Some(2), REMOVE));
}

#[test]
fn a_put_that_counts_at_its_first_member_would_be_noticed() {
    check_that_it_is_missed(Rule::PutsReachAll, call(2, None, CALM));
}

#[test]
fn a_put_that_counts_without_the_joiner_would_be_noticed() {
    check_that_it_is_missed(Rule::PutsReachJoiners, call(1, Some(2), REMOVE));
}

#[test]
fn a_resume_that_is_not_put_again_would_be_noticed() {
    let may = May { engine_die: true, ..CALM };
    check_that_it_is_missed(Rule::ResumesArePutAgain, call(2, None, may));
}

#[test]
fn a_forgotten_resume_would_be_noticed() {
    let may = May { engine_die: true, ..CALM };
    check_that_it_is_missed(Rule::UnreleasedIsResumed, call(2, None, may));
}

#[test]
fn a_removal_without_a_tomb_while_a_replica_joins_would_be_noticed() {
    let protocol = removing(call(2, Some(2), CALM));
    let forgetful = Protocol { tombs_stay: false, ..protocol };
    check_that_it_is_missed(Rule::RemovalsLeaveTombs, forgetful);
}

/// The put of a holder whose lease ended arrives after the call was removed and forgotten.
#[test]
fn a_removal_that_is_forgotten_after_a_lease_ended_early_would_be_noticed() {
    check_that_it_is_missed(Rule::RemovalsLeaveTombs, removing(call(2, None, LEASE)));
}

/// Its removal is put and not released: nobody may be told yet that the call is not there.
#[test]
fn a_removal_that_is_not_resumed_would_be_noticed() {
    let may = May { removes: 1, lease_end: true, ..CALM };
    check_that_it_is_missed(Rule::RemovalsAreResumed, removing(call(2, None, may)));
}
