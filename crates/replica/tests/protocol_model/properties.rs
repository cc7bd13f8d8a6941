//! What every reachable state must keep, and what some state must show for the rest to mean much.

use stateright::{Model, Property};

use crate::engine::{Phase, Then};
use crate::member::Lock;
use crate::model::{ENGINES, Protocol, State};
use crate::store::REPLICAS;
use crate::words::Lineage;

pub(crate) const SHORT: &str = "no record is put again without end";
pub(crate) const NO_FORK: &str = "acknowledged puts are versions of one history";
pub(crate) const SURVIVES: &str =
    "what left an engine is held by every live member and complete joiner of the newest view";
pub(crate) const TRUE_READS: &str = "no read older than its ask is believed, nor such an absence";
pub(crate) const ONE_HOLDER: &str = "no two engines hold one token";
pub(crate) const FITTING_BASE: &str = "a current lock's put fits what the primary holds";
pub(crate) const DONE: &str = "at rest every put is released and unlocked, every waiter answered";
pub(crate) const AGREE: &str = "at rest members differ by no more than a put nobody acknowledged";

/// Whether a discovery under this name is a counterexample.
pub(crate) fn is_law(name: &str) -> bool {
    let property = all().into_iter().find(|property| property.name == name);
    property.is_some_and(|property| property.expectation.discovery_is_failure())
}

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(SHORT, |_, state: &State| {
            state.members.iter().all(|member| member.held.len() < 12)
        }),
        Property::always(NO_FORK, |_, state: &State| !state.broken.acknowledged_forked),
        Property::always(SURVIVES, survives),
        Property::always(TRUE_READS, |_, state: &State| !state.broken.old_read_believed),
        Property::always(ONE_HOLDER, one_holder),
        Property::always(FITTING_BASE, |_, state: &State| !state.broken.base_did_not_fit),
        Property::always(DONE, done),
        Property::always(AGREE, agree),
        Property::sometimes("a version is resumed in another's turn", |_, state: &State| {
            any_put(state, |then, _| matches!(then, Then::OwnTurn { .. }))
        }),
        Property::sometimes("a version that nobody asks for is handed over", |_, state: &State| {
            any_put(state, |then, _| then == Then::HandOver)
        }),
        Property::sometimes("a put is refused", |_, state: &State| {
            any_put(state, |_, refused| refused)
        }),
        Property::sometimes("a removed primary is believed by one of its engines", misled),
        Property::sometimes("members differ until a repair", |_, state: &State| {
            state.may.repairs == 0
        }),
    ]
}

fn any_put(state: &State, is_so: impl Fn(Then, bool) -> bool) -> bool {
    state.engines.iter().any(|engine| match engine.phase {
        Phase::Putting { then, refused, .. } => is_so(then, refused),
        Phase::Idle | Phase::Asking { .. } | Phase::Answered { .. } => false,
    })
}

/// It read less than what was acknowledged before its ask: only the others' silence saves it.
fn misled(_: &Protocol, state: &State) -> bool {
    state.engines.iter().any(|engine| match engine.phase {
        Phase::Answered { grant, floor, .. } => {
            engine.view < state.newest() && grant.is_none_or(|grant| grant.lineage.len() < floor)
        }
        Phase::Idle | Phase::Asking { .. } | Phase::Putting { .. } => false,
    })
}

fn keeps(held: Lineage, acknowledged: Lineage) -> bool {
    held.extends(acknowledged) || acknowledged.is_gone() && held.is_empty()
}

fn survives(_: &Protocol, state: &State) -> bool {
    let newest = state.view(state.newest());
    (0..REPLICAS).all(|place| {
        let member = &state.members[place];
        let complete = newest.has_member(place) || newest.is_joining(place) && member.copied;
        !member.is_there() || !complete || keeps(member.held, state.acknowledged)
    })
}

fn one_holder(_: &Protocol, state: &State) -> bool {
    let token = |engine: usize| match state.engines[engine].phase {
        Phase::Idle | Phase::Asking { .. } => None,
        Phase::Answered { grant, .. } => grant.map(|grant| grant.token),
        Phase::Putting { lineage, .. } => Some(lineage.token()),
    };
    token(0).is_none() || token(0) != token(1)
}

/// Nothing is left to do, and somebody is alive to have done it.
fn at_rest(protocol: &Protocol, state: &State) -> bool {
    let mut actions = Vec::new();
    protocol.actions(state, &mut actions);
    let newest = state.view(state.newest());
    let serving = (0..REPLICAS).all(|place| state.members[place].is_there() || !newest.has(place));
    // A death, a lease that ends and a change of view may come at any time; they are no work.
    serving
        && actions.iter().all(|action| action.is_fault())
        && state.engines.iter().any(|engine| engine.up)
}

fn done(protocol: &Protocol, state: &State) -> bool {
    if !at_rest(protocol, state) {
        return true;
    }
    let primary = &state.members[state.view(state.newest()).primary()];
    let is_released = primary.held.live() == state.acknowledged.live();
    let is_idle =
        (0..ENGINES).all(|at| !state.engines[at].up || state.engines[at].phase == Phase::Idle);
    is_idle
        && is_released
        && primary.lock == Lock::Free
        && !primary.unreleased
        && primary.waiters == [None; ENGINES]
}

fn agree(protocol: &Protocol, state: &State) -> bool {
    if !at_rest(protocol, state) {
        return true;
    }
    let newest = state.view(state.newest());
    let held = |place: usize| state.members[place].held.live();
    let ghost = |place: usize| {
        let member = &state.members[place];
        state.may.repairs == 0
            && member.unreleased
            && member.held.stamp() > state.acknowledged.stamp()
    };
    let primary = held(newest.primary());
    (0..REPLICAS)
        .filter(|&place| newest.has_member(place))
        .all(|place| held(place) == primary || ghost(place))
}
