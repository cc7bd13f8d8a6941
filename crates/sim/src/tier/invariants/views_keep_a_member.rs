//! View numbers only rise, each view keeps a complete member of the one before while one lives, and
//! each slot has one owner.
//!
//! Seen in the coordination store, map by map. Source: design, rules of views.

use crate::invariants::Violation;
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.views.broken.first() {
        None => Ok(()),
        Some(seen) => Err(Violation { invariant: "views_keep_a_member", seen: seen.clone() }),
    }
}
