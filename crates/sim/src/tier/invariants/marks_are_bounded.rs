//! With the other site away the marks grow to the number of calls, and no further.
//!
//! Source: design, "with the link down for hours the marks can only grow to the number of calls".

use crate::invariants::Violation;
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.survey.sites.marks_over_calls.first() {
        None => Ok(()),
        Some((at, site, marks, calls)) => Err(Violation {
            invariant: "marks_are_bounded",
            seen: format!("{marks} marks of {calls} calls at site {site}, at {at:?}"),
        }),
    }
}
