//! What must be true of every run, one statement a file.

use std::fmt;

use crate::world::World;

pub(crate) use no_timer_twice::fires_twice;
pub(crate) use order_of_requests::goes_back;

mod bounds;
mod copies_are_there;
mod crossed_survives;
mod dormant_fires_no_timer;
mod every_call_ends;
mod no_timer_lost;
mod no_timer_twice;
mod nothing_sent_before_stored;
mod one_active_home;
mod one_holder;
mod order_of_requests;
mod versions_never_go_back;

/// A statement that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name: its file.
    pub invariant: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.seen)
    }
}

type Check = fn(&World) -> Result<(), Violation>;

/// Checked after every event: they only look at evidence that was gathered.
const ALWAYS: &[Check] = &[
    nothing_sent_before_stored::check,
    one_holder::check,
    dormant_fires_no_timer::check,
    versions_never_go_back::check,
];

/// Checked after every look at the replicas.
const OFTEN: &[Check] =
    &[one_active_home::check, no_timer_lost::check, bounds::check, copies_are_there::check];

/// Checked when the run is over.
const AT_THE_END: &[Check] = &[
    crossed_survives::check,
    no_timer_twice::check,
    order_of_requests::check,
    every_call_ends::check,
];

fn first(checks: &[Check], world: &World) -> Result<(), Violation> {
    checks.iter().try_for_each(|check| check(world))
}

pub(crate) fn always(world: &World) -> Result<(), Violation> {
    first(ALWAYS, world)
}

pub(crate) fn often(world: &World) -> Result<(), Violation> {
    first(OFTEN, world)
}

pub(crate) fn at_the_end(world: &World) -> Result<(), Violation> {
    first(AT_THE_END, world)
}
