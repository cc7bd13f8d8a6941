//! What must be true of every run of many machines, one statement a file.

use super::scenario::Scenario;
use super::world::World;
use crate::invariants::Violation;

mod acknowledged_is_held;
mod answered_survives;
mod bounds;
mod crossed_is_kept;
mod dormant_fires_no_timer;
mod every_call_ends;
mod marks_are_bounded;
mod no_call_ended_early;
mod no_timer_lost;
mod no_timer_twice;
mod nothing_sent_before_stored;
mod one_active_home;
mod one_holder;
mod one_primary;
mod order_of_requests;
mod spilled_is_durable;
mod store_stops_no_call;
mod versions_never_go_back;
mod views_are_rare;
mod views_keep_a_member;
mod waiters_are_served;

type Check = fn(&World) -> Result<(), Violation>;

/// Checked after every event: they only look at evidence that was gathered.
const ALWAYS: &[Check] = &[
    nothing_sent_before_stored::check,
    one_holder::check,
    versions_never_go_back::check,
    acknowledged_is_held::check,
    views_keep_a_member::check,
    dormant_fires_no_timer::check,
];

/// Checked after every look at the replicas.
const OFTEN: &[Check] = &[
    one_primary::check,
    no_timer_lost::check,
    waiters_are_served::check,
    store_stops_no_call::check,
    spilled_is_durable::check,
    bounds::check,
    crossed_is_kept::check,
    one_active_home::check,
    marks_are_bounded::check,
];

/// Checked when the run is over.
const AT_THE_END: &[Check] = &[
    answered_survives::check,
    no_call_ended_early::check,
    no_timer_twice::check,
    order_of_requests::check,
    every_call_ends::check,
];

fn first(checks: &[Check], world: &World) -> Result<(), Violation> {
    checks.iter().try_for_each(|check| check(world))
}

pub(super) fn always(world: &World) -> Result<(), Violation> {
    first(ALWAYS, world)
}

pub(super) fn often(world: &World) -> Result<(), Violation> {
    first(OFTEN, world)
}

pub(super) fn at_the_end(world: &World, scenario: &Scenario) -> Result<(), Violation> {
    first(AT_THE_END, world)?;
    // With two sites whole ones come and go, and nobody counts their views.
    if world.sizes.sites > 1 { Ok(()) } else { views_are_rare::check(world, scenario) }
}
