//! What every reachable state must keep, and what some state must show for the rest to mean much.

use stateright::{Model, Property};

use crate::engine::{Answer, Engine, Phase};
use crate::member::Lock;
use crate::model::{Protocol, State};
use crate::words::{Word, extends};

pub(crate) const STORED_FIRST: &str = "no effect leaves before its put is stored at a whole view";
pub(crate) const NO_FORK: &str = "acknowledged puts are versions of one history";
pub(crate) const SURVIVES: &str = "an acknowledged put is held by every live member of the view";
pub(crate) const FORWARD: &str = "no member's version goes back";
pub(crate) const TRUE_READS: &str = "no read older than its ask is believed, nor such an absence";
pub(crate) const ONE_HOLDER: &str = "no two engines hold one token";
pub(crate) const FITTING_BASE: &str = "a current lock's put fits what every member holds";
pub(crate) const RESUMED: &str = "at rest every put is unlocked and every input done";
pub(crate) const AGREE: &str = "at rest the members of the view hold the same";

/// Whether a discovery under this name is a counterexample.
pub(crate) fn is_law(name: &str) -> bool {
    let property = all().into_iter().find(|property| property.name == name);
    property.is_some_and(|property| property.expectation.discovery_is_failure())
}

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(STORED_FIRST, |_, state: &State| !state.broken.released_before_stored),
        Property::always(NO_FORK, |_, state: &State| !state.broken.acknowledged_forked),
        Property::always(SURVIVES, survives),
        Property::always(FORWARD, |_, state: &State| !state.broken.version_went_back),
        Property::always(TRUE_READS, |_, state: &State| !state.broken.old_read_believed),
        Property::always(ONE_HOLDER, one_holder),
        Property::always(FITTING_BASE, |_, state: &State| !state.broken.base_did_not_fit),
        Property::always(RESUMED, resumed),
        Property::always(AGREE, agree),
        Property::sometimes("a put is resumed by another engine", |_, state: &State| {
            let resumes = |word: &Word| {
                matches!(word, Word::Granted { grant, .. } | Word::Resume { grant, .. }
                    if grant.resume)
            };
            state.words.iter().any(resumes)
        }),
        Property::sometimes("a put under an old token is refused", |_, state: &State| {
            state.words.iter().any(|word| matches!(word, Word::Refused { .. }))
        }),
        Property::sometimes(
            "a put is stored under a token of the view before",
            |_, state: &State| {
                let of_before = |word: &Word| {
                    matches!(word, Word::Stored { view, lineage, .. }
                    if lineage.last().is_some_and(|token| token.view < *view))
                };
                state.words.iter().any(of_before)
            },
        ),
        Property::sometimes("a removed primary's word is doubted", doubted),
        Property::sometimes("two versions are acknowledged", |_, state: &State| {
            state.acknowledged.len() == 2
        }),
    ]
}

fn survives(_: &Protocol, state: &State) -> bool {
    state
        .members_of(state.view)
        .into_iter()
        .map(|place| &state.members[place])
        .filter(|member| member.up)
        .all(|member| extends(&member.held.lineage, &state.acknowledged))
}

fn one_holder(_: &Protocol, state: &State) -> bool {
    let [one, other] = &state.engines;
    let tokens =
        |engine: &Engine| [engine.token(), engine.resume.as_ref().map(|grant| grant.token)];
    tokens(one).into_iter().flatten().all(|token| !tokens(other).contains(&Some(token)))
}

/// Nothing is left to do, and somebody is alive to have done it.
fn at_rest(protocol: &Protocol, state: &State) -> bool {
    let mut actions = Vec::new();
    protocol.actions(state, &mut actions);
    // A death, a lease that ends and a change of view may come at any time; they are no work.
    let idle = actions.iter().all(|action| action.is_fault());
    idle && state.engines.iter().any(|engine| engine.up)
}

fn serving(state: &State) -> bool {
    state.members_of(state.view).into_iter().all(|place| state.members[place].up)
}

fn resumed(protocol: &Protocol, state: &State) -> bool {
    if !at_rest(protocol, state) || !serving(state) {
        return true;
    }
    let primary = &state.members[state.members_of(state.view)[0]];
    let done = |engine: &Engine| !engine.up || engine.phase == Phase::Idle;
    primary.lock == Lock::Free
        && !primary.held.unreleased
        && primary.waiters.is_empty()
        && state.engines.iter().all(done)
}

fn agree(protocol: &Protocol, state: &State) -> bool {
    if !at_rest(protocol, state) || !serving(state) {
        return true;
    }
    // An unlock may be lost with its engine on the way to one of them: that one would resume what
    // was released already, which is allowed.
    let members = state.members_of(state.view).into_iter().map(|place| &state.members[place]);
    let mut lineages = members.map(|member| &member.held.lineage);
    let first = lineages.next();
    lineages.all(|lineage| Some(lineage) == first)
}

fn doubted(_: &Protocol, state: &State) -> bool {
    state.engines.iter().any(|engine| match &engine.phase {
        Phase::Asking(asking) => {
            engine.view < state.view
                && !asking.confirmed
                && asking.answer == Some(Answer::NotHere)
                && !state.acknowledged.is_empty()
        }
        Phase::Idle | Phase::Putting { .. } => false,
    })
}
