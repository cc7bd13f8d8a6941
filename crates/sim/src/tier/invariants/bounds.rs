//! Turns, locks and calls handed stay within their bounds.
//!
//! Source: `docs/operating/limits.md`; one turn a call in an engine, one lock a call in a replica.

use crate::invariants::Violation;
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.survey.over_bound.first() {
        None => Ok(()),
        Some((at, seen)) => {
            Err(Violation { invariant: "bounds", seen: format!("{seen} at {at:?}") })
        }
    }
}
